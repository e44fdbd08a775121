import type { PgBoss } from "pg-boss";
import type { Log } from "../telemetry/log.ts";
import { reconcileJobs, type ReconcileOptions } from "./reconcile_jobs.ts";
import { scheduleJobs } from "./scheduled_jobs.ts";

/** Somebody may have dropped a job, or pg_cron itself: looked at again after so long. */
const INTERVAL_MS = 600_000;

export interface JobKeeperOptions extends ReconcileOptions {
  boss: PgBoss;
  log: Log;
}

/**
 * Sees to the periodic jobs now and every ten minutes: in pg_cron where that can be used, else in
 * pg-boss. A failure is logged: jobs are no reason not to serve. Answers a function that ends it.
 */
export async function keepJobs({ boss, log, ...options }: JobKeeperOptions): Promise<() => void> {
  let told: string | null = null;
  const look = async () => {
    try {
      const { scheduler, repaired, forBoss } = await reconcileJobs(options);
      await scheduleJobs(boss, forBoss);
      if (repaired.length > 0) log.info("jobs in pg_cron put right", { jobs: repaired });
      const { kind, cron_database: database, reason } = scheduler;
      const text = JSON.stringify(scheduler);
      if (text !== told) log.info("periodic jobs", { scheduler: kind, database, reason });
      told = text;
    } catch (error) {
      log.warn("periodic jobs could not be looked after", { error });
    }
  };
  await look();
  const timer = setInterval(look, INTERVAL_MS);
  return () => clearInterval(timer);
}
