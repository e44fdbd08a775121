import { reconcileJobs } from "../timers/jobs.ts";

export interface SetupJobsOptions {
  /** Connection string to pg_cron's database, if it has to be named. */
  cronDsn?: string | undefined;
  /** Role that the server uses: the jobs become its own. */
  role?: string | undefined;
}

/** Installs the periodic jobs in pg_cron, if there is one; answers in words what was done, or what is missing. */
export async function setUpJobs(dsn: string, options: SetupJobsOptions = {}): Promise<string[]> {
  try {
    const { scheduler, repaired } = await reconcileJobs({ dsn, ...options, create: true });
    const { kind, cron_database: database, reason } = scheduler;
    const done = repaired.map((name) => `  job ${name} in pg_cron`);
    return kind === "pg_cron"
      ? [
        ...(done.length === 0 ? [] : ["Installed:", ...done]),
        `pg_cron in database ${database} runs the periodic jobs.`,
        ...(reason === null ? [] : [`  ${reason}`]),
      ]
      : [`The servers run the periodic jobs: ${reason}.`];
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return [
      `pg_cron could not be looked at (${message}): the servers run the periodic jobs.`,
    ];
  }
}
