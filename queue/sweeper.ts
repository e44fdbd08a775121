import type { Sql } from "../store/database.ts";
import { purgeReactions, sweepConditions, sweepDeadlines } from "../store/reactions.ts";
import type { Log } from "../telemetry/log.ts";
import { repeat } from "./repeat.ts";

/** Deadlines are looked at so often: a missed one is told well within 5 s. */
const DEADLINES_MS = 1_500;
const CONDITIONS_MS = 5_000;
const PURGE_MS = 3_600_000;

export interface SweeperOptions {
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
