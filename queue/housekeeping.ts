import type { Sql } from "../store/database.ts";
import { purgeRuns } from "../store/runs.ts";
import { purgeSlots } from "../store/slots.ts";
import type { Log } from "../telemetry/log.ts";
import { repeat } from "./repeat.ts";

const PURGE_RUNS_MS = 600_000;
const PURGE_SLOTS_MS = 3_600_000;

export interface HousekeepingOptions {
  sql: Sql;
  log: Log;
  /** Days that the details of runs are kept. */
  retentionDays: number;
}

/**
 * Deletes what the pipeline need not know any more. Every server does. Answers a
 * function that ends it.
 */
export function startHousekeeping(
  { sql, log, retentionDays }: HousekeepingOptions,
): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const ends = [
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
