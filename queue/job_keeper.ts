import type { Sql } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { reconcileJobs, type ReconcileOptions } from "./reconcile_jobs.ts";
import { scheduleJobs } from "./job_work.ts";

/** Somebody may have dropped a job, or pg_cron itself: looked at again after so long. */
const INTERVAL_MS = 600_000;

export interface JobKeeperOptions extends ReconcileOptions {
  sql: Sql;
  log: Log;
}

/**
 * Sees to the periodic jobs now and every ten minutes: in pg_cron where that can be used, else run
 * by the servers. A failure is logged: jobs are no reason not to serve. Answers a function that ends it.
 */
export async function keepJobs({ sql, log, ...options }: JobKeeperOptions): Promise<() => void> {
  let told: string | null = null;
  const look = async () => {
    try {
      const { scheduler, repaired, forServers } = await reconcileJobs(options);
      await scheduleJobs(sql, forServers);
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
