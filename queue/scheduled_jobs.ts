import type { PgBoss } from "pg-boss";
import type { Sql } from "../store/database.ts";
import { type JobDefinition, readJobFiles } from "../store/job_files.ts";
import { runJobCommand } from "../store/job_scheduler.ts";
import type { Log } from "../telemetry/log.ts";

const DAY = 86_400;
/** Runs of a job are listed for so long; of one that runs each minute, shorter. */
const KEPT_SECONDS = { often: DAY / 4, else: 35 * DAY };

const optionsOf = ({ schedule }: JobDefinition) =>
  ({
    notify: true,
    // one at a time on all servers, and none waits behind it
    policy: "exclusive",
    heartbeatSeconds: 10,
    retryLimit: 1,
    retryDelay: 5,
    expireInSeconds: 3600,
    retentionSeconds: DAY,
    deleteAfterSeconds: schedule.startsWith("* ") ? KEPT_SECONDS.often : KEPT_SECONDS.else,
  }) as const;

/** Has pg-boss schedule these jobs, in a queue each that is named as the job, and no others. */
export async function scheduleJobs(boss: PgBoss, forBoss: JobDefinition[]): Promise<void> {
  for (const job of await jobsWithQueues(boss)) {
    if (forBoss.some(({ name }) => name === job.name)) {
      // what was due while no server was up is done once when one is
      await boss.schedule(job.name, job.schedule, null, { tz: "UTC", missed: "once" });
    } else {
      await boss.unschedule(job.name);
    }
  }
}

/** Runs the jobs that pg-boss schedules; each occurrence is one server's. */
export async function workOnJobs(
  boss: PgBoss,
  { sql, log }: { sql: Sql; log: Log },
): Promise<void> {
  for (const { name, command } of await jobsWithQueues(boss)) {
    await boss.work(name, { notifyPollingIntervalSeconds: 5 }, async () => {
      try {
        return { value: await runJobCommand(sql, command) };
      } catch (error) {
        log.warn("job failed", { job: name, error });
        throw error;
      }
    });
  }
}

async function jobsWithQueues(boss: PgBoss): Promise<JobDefinition[]> {
  const jobs = (await readJobFiles()).filter(({ pgCronOnly }) => !pgCronOnly);
  for (const job of jobs) {
    const existing = await boss.getQueue(job.name);
    if (existing === null) await boss.createQueue(job.name, optionsOf(job));
  }
  return jobs;
}
