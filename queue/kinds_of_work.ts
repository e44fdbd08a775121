import { fillAllFingerprints } from "../pipeline/fingerprints.ts";
import { type MaintenanceDeps, runMaintenance } from "../pipeline/maintenance/run.ts";
import { Helping } from "../pipeline/helping.ts";
import { executeRun, type RunDeps } from "../pipeline/run.ts";
import type { Sql } from "../store/database.ts";
import { beginDueJob, endJob, readJobFiles, runJob } from "../store/jobs.ts";
import { dueMaintenance, restMaintenance } from "../store/maintenance.ts";
import { acceptRun, admitRuns, applyCancels, claimOwnRun, claimRun } from "../store/runs.ts";
import type { Log } from "../telemetry/log.ts";
import { nextTime } from "../timers/jobs.ts";
import type { WorkLoop } from "./work_loop.ts";

/** Milliseconds for which requests are accepted before those that may go on are admitted. */
const MAX_ADMISSION_PAUSE_MS = 100;

/**
 * Does what requests, cancellations and ended runs leave to servers: makes destinations of runs asked for in SQL,
 * cancels, and gives free places to waiting runs.
 */
export function workOnRequests(loop: WorkLoop, sql: Sql): void {
  const settle = async () => {
    const failures: unknown[] = [];
    const attempt = (part: () => Promise<unknown>) => part().catch((error) => failures.push(error));
    const admit = async () => {
      const found = await admitRuns(sql);
      if (found.admitted > 0) loop.wake("runs");
      return found;
    };
    // mostly a place was asked for, or became free, and that is all
    const { cancels, requests } = await admit().catch(() => ({ cancels: true, requests: true }));
    if (!cancels && !requests) return null;
    await attempt(async () => {
      let admitted = performance.now();
      while (await acceptRun(sql)) {
        // the first of a thousand requests do not wait for the last of them
        if (performance.now() - admitted < MAX_ADMISSION_PAUSE_MS) continue;
        await admit();
        admitted = performance.now();
      }
    });
    await attempt(() => applyCancels(sql));
    await attempt(admit);
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
  const inHand = new Set<string>();
  loop.on("runs", async () => {
    const claimed = await claim(sql, { serverId, maxAttempts, inHand });
    if (claimed === null) return null;
    const { run, more } = claimed;
    inHand.add(run.run_id);
    const work = () =>
      executeRun(run, { ...deps, admit: () => loop.wake("requests") })
        .finally(() => inHand.delete(run.run_id));
    return { work, more };
  }, slots);
}

/** Works on chunks of other servers' runs, with workers that this server's own do not need. */
export function workOnOthersRuns(loop: WorkLoop, deps: RunDeps): Helping {
  const helping = new Helping(deps);
  loop.on("help", async () => {
    const work = await helping.claim();
    return work === null ? null : { work, more: true };
  }, deps.workers.size);
  return helping;
}

/** Computes the fingerprints of rows that were taken over from the original, one server at a time. */
export function workOnFingerprints(loop: WorkLoop, { sql, log }: { sql: Sql; log: Log }): void {
  loop.onLeased(
    "fingerprints",
    (lease) => fillAllFingerprints({ sql, log, signal: lease.signal }),
  );
}

/** Attempts after which a maintenance that always fails is given up. */
const MAX_MAINTENANCE_ATTEMPTS = 10;

/** Carries out what etl.request_maintenance() asks for, one at a time. */
export function workOnMaintenance(loop: WorkLoop, deps: MaintenanceDeps): void {
  const { sql, log, signal } = deps;
  loop.onLeased("maintenance", async (lease) => {
    for (let id = await dueMaintenance(sql); id !== null; id = await dueMaintenance(sql)) {
      try {
        await runMaintenance(id, { ...deps, signal: lease.signal });
      } catch (error) {
        log.warn("maintenance interrupted", { maintenance_id: id, error });
        if (signal.aborted || lease.lost) return;
        const message = error instanceof Error ? error.message : String(error);
        await restMaintenance(sql, id, { error: message, maxAttempts: MAX_MAINTENANCE_ATTEMPTS });
      }
    }
  });
}

/** A job that fails comes again after 1, 2, 4, … minutes, at most so many, or at its next time. */
const MAX_PAUSE_MINUTES = 60;

/** Runs the jobs that are the servers' to run; each due time is one server's. */
export async function workOnJobs(
  loop: WorkLoop,
  { sql, log }: { sql: Sql; log: Log },
): Promise<void> {
  for (const { name, command, pgCronOnly } of await readJobFiles()) {
    if (pgCronOnly) continue;
    loop.onLeased(`job ${name}`, async () => {
      const begun = await beginDueJob(sql, name);
      if (begun === null) return;
      const next = nextTime(begun.schedule, begun.now);
      try {
        const message = await runJob(sql, command);
        await endJob(sql, name, { run: begun.run, status: "succeeded", message, next });
      } catch (error) {
        log.warn("job failed", { job: name, error });
        const pause = Math.min(2 ** begun.failures, MAX_PAUSE_MINUTES) * 60_000;
        const again = new Date(Math.min(next.getTime(), begun.now.getTime() + pause));
        const message = error instanceof Error ? error.message : String(error);
        await endJob(sql, name, { run: begun.run, status: "failed", message, next: again });
      }
    });
  }
}
