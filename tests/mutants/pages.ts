import type { Mutant } from "./mutant.ts";

/** What the pages of the dashboard show. */
export const PAGES: Mutant[] = [
  {
    id: "pages/pipelines-problems-first",
    file: "store/pipelines.ts",
    find: "case when k.incidents > 0 or k.bad then 2",
    replace: "case when k.bad then 2",
    breaks: "a pipeline with an open incident is listed first",
    tests: ["integration/pipelines_test.ts: the list of pipelines"],
  },
  {
    id: "pages/pipelines-never-succeeded",
    file: "sql/runs/tables.sql",
    find:
      "where state = 'succeeded' and not dry_run;\ncreate index if not exists runs_schedule_succeeded",
    replace: "where run_label = '';\ncreate index if not exists runs_schedule_succeeded",
    breaks: "a label that never succeeds costs the list of pipelines as much as another",
    tests: ["integration/pipelines_test.ts: the list of pipelines"],
  },
  {
    id: "pages/dataset-values",
    file: "routes/dashboard/dataset_page.tsx",
    find: 'mayRead={identity !== undefined && mayAct(identity.role, "operator")}',
    replace: "mayRead={identity !== undefined}",
    breaks: "what rows hold is shown to whoever may preview only",
    tests: ["browser/dataset_test.ts: a dataset says"],
  },
  {
    id: "pages/dataset-sample",
    file: "sql/datasets/profile.sql",
    find: "part := estimate > 4 * sample;",
    replace: "part := false;",
    breaks: "the page of a large dataset says that it shows a sample",
    tests: ["browser/dataset_test.ts: a dataset says"],
  },
  {
    id: "pages/search-records",
    file: "store/search.ts",
    find: "where strpos(lower(q.raw), lower(${literal})) > 0\n      limit",
    replace: "where strpos(q.raw, ${literal}) > 0\n      limit",
    breaks: "a rejected record is found by its key, in any case",
    tests: ["browser/search_test.ts: everything is found"],
  },
  {
    id: "pages/bulk-fits",
    file: "islands/history.ts",
    find: 'cancel: ["queued", "running"]',
    replace: 'cancel: ["queued", "running", "failed"]',
    breaks: "only what still runs is offered to be cancelled",
    tests: ["browser/search_test.ts: everything is found"],
  },
  {
    id: "pages/failing-field",
    file: "islands/run/field_span.ts",
    find: "if (cells.length === names.length) return cells[index]!;",
    replace: "if (cells.length === names.length) return cells[0]!;",
    breaks: "the failing field is marked in the record as it was read",
    tests: ["unit/field_span_test.ts: the failing field is found in a line"],
  },
  {
    id: "pages/failure-first",
    file: "islands/run.tsx",
    find: '{run.state === "failed" ? [...causes',
    replace: '{run.state === "queued" ? [...causes',
    breaks: "of a run that failed, what says why comes first",
    tests: ["browser/run_page_test.ts: a failed run says why"],
  },
];
