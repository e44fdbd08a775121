import type { Mutant } from "./mutant.ts";

export const MUTANTS: Mutant[] = [
  {
    id: "x/probe",
    file: "store/retry.ts",
    find: "attempt >= policy.attempts",
    replace: "attempt > policy.attempts",
    breaks: "x",
    tests: ["unit/retry_test.ts: withRetry() counts attempts"],
  },
  {
    id: "x/upsert",
    file: "pipeline/publish.ts",
    find: "where t.source = excluded.source and",
    replace: "where",
    breaks: "x",
    tests: ["integration/races_load_test.ts: a run that loses the race to another source"],
  },
  {
    id: "x/sql",
    file: "sql/functions/39_finish_run.sql",
    find: "low := run.ratio < min_ratio",
    replace: "low := run.ratio <= min_ratio",
    breaks: "x",
    tests: ["integration/numbers_counters_test.ts: below min_acceptance_ratio"],
  },
];
