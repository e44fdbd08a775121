import type { PgBoss } from "pg-boss";
import type { Sql } from "../store/database.ts";
import { type JobDefinition, readJobFiles } from "../store/job_files.ts";
import type { Log } from "../telemetry/log.ts";
import { ensureQueue, periodicQueue } from "./queues.ts";
import { runJobCommand } from "../store/boss_jobs.ts";

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
  for (const { name, schedule } of jobs) await ensureQueue(boss, name, periodicQueue(schedule));
  return jobs;
}
