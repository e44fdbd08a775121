import { executeClaimed, type RunDeps } from "../pipeline/run.ts";
import type { Sql } from "../store/database.ts";
import { acceptRun, admitRuns, applyCancels, claimOwnRun, claimRun } from "../store/runs.ts";
import type { WorkLoop } from "./work_loop.ts";

/**
 * Does what requests, cancellations and ended runs leave to servers: makes destinations of runs asked for in SQL,
 * cancels, and gives free slots to waiting runs.
 */
export function workOnRequests(loop: WorkLoop, sql: Sql): void {
  const settle = async () => {
    const failures: unknown[] = [];
    const attempt = (part: () => Promise<unknown>) => part().catch((error) => failures.push(error));
    await attempt(async () => {
      while (await acceptRun(sql));
    });
    await attempt(() => applyCancels(sql));
    await attempt(async () => {
      if (await admitRuns(sql) > 0) loop.wake("runs");
    });
    if (failures.length > 0) throw failures[0];
    return null;
  };
  loop.on("requests", settle);
}

/** Executes admitted runs, `slots` at once; with `ownOnly` those that this process asked for. */
export function workOnRuns(
  loop: WorkLoop,
  deps: RunDeps,
  { slots, ownOnly }: { slots: number; ownOnly: boolean },
): void {
  const claim = ownOnly ? claimOwnRun : claimRun;
  const { sql, serverId, settings: { maxAttempts } } = deps;
  loop.on("runs", async () => {
    const run = await claim(sql, { serverId, maxAttempts });
    return run === null ? null : () => executeClaimed(run, deps);
  }, slots);
}
