import type { Sql } from "../store/database.ts";
import { purgeRuns, recoverRuns } from "../store/runs.ts";
import { purgeSlots } from "../store/slots.ts";
import type { Log } from "../telemetry/log.ts";
import { repeat } from "./repeat.ts";

const RECOVERY_MS = 5_000;
const PURGE_RUNS_MS = 600_000;
const PURGE_SLOTS_MS = 3_600_000;

export interface HousekeepingOptions {
  sql: Sql;
  log: Log;
  /** Days that the details of runs are kept. */
  retentionDays: number;
}

/**
 * Queues runs that lost their job, and deletes what the pipeline need not know
 * any more. Every server does. Answers a function that ends it.
 */
export async function startHousekeeping(
  { sql, log, retentionDays }: HousekeepingOptions,
): Promise<() => Promise<void>> {
  const stopping = new AbortController();
  const { signal } = stopping;
  await recoverRuns(sql);
  const ends = [
    repeat(() => recoverRuns(sql), {
      everyMs: RECOVERY_MS,
      log,
      warning: "recovery of runs failed",
    }),
    repeat(() => purgeRuns(sql, { retentionDays, signal }), {
      everyMs: PURGE_RUNS_MS,
      log,
      warning: "purge failed",
    }),
    repeat(() => purgeSlots(sql, { signal }), {
      everyMs: PURGE_SLOTS_MS,
      log,
      warning: "old slots could not be deleted",
    }),
  ];
  return async () => {
    stopping.abort();
    await Promise.all(ends.map((end) => end()));
  };
}
