import { repeat } from "./repeat.ts";
import type { Sql } from "../store/database.ts";
import { purgeReactions, sweepConditions, sweepDeadlines } from "../store/reactions.ts";
import { purgeRuns } from "../store/runs.ts";
import { purgeSlots } from "../store/schedules.ts";
import type { Log } from "../telemetry/log.ts";

/** Deadlines are looked at so often: a missed one is told well within 5 s. */
const DEADLINES_MS = 1_500;
const CONDITIONS_MS = 5_000;
const PURGE_MS = 3_600_000;

interface SweeperOptions {
  sql: Sql;
  log: Log;
  /** Told each deadline that was missed, by the server that found it. */
  onMissed?: (missed: { run_id: string; scope: string }) => void;
  /** Called every 5 s. */
  onTick?: () => void;
}

/**
 * Looks again and again at what no event tells of: deadlines, stale datasets,
 * overdue schedules, reactions that lost their job. Every server does; the SQL
 * functions see to it that each finding is one server's. Answers a function
 * that ends it and resolves when no look is under way any more.
 */
export function startSweeper({ sql, log, onMissed, onTick }: SweeperOptions): () => Promise<void> {
  const look = (what: string, everyMs: number, work: () => Promise<unknown>) =>
    repeat(work, { everyMs, firstMs: 0, log, warning: `${what} could not be looked at` });
  const ends = [
    look("deadlines", DEADLINES_MS, async () => {
      for (const missed of await sweepDeadlines(sql)) {
        log.warn("deadline missed", { ...missed });
        onMissed?.(missed);
      }
    }),
    look("conditions", CONDITIONS_MS, async () => {
      onTick?.();
      await sweepConditions(sql);
    }),
    look("old reactions", PURGE_MS, () => purgeReactions(sql)),
  ];
  return async () => {
    await Promise.all(ends.map((end) => end()));
  };
}

const PURGE_RUNS_MS = 600_000;
const PURGE_SLOTS_MS = 3_600_000;

interface HousekeepingOptions {
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
