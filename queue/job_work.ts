import { SlotClock } from "../pipeline/schedules/cron.ts";
import type { Sql } from "../store/database.ts";
import { readJobFiles } from "../store/job_files.ts";
import { beginDueJob, endJob, keepOwnJobs } from "../store/own_jobs.ts";
import type { Log } from "../telemetry/log.ts";
import type { WorkLoop } from "./work_loop.ts";

/** A job that fails comes again after 1, 2, 4, … minutes, at most so many, or at its next time. */
const MAX_PAUSE_MINUTES = 60;

/** When a job is due next, after a time. */
function nextTime(schedule: string, after: Date): Date {
  for (const slot of new SlotClock(schedule, "UTC").after(after)) return slot;
  throw new Error(`${schedule} has no next time`);
}

/** Has the servers run these jobs, and no others. What was due while none was up is done once when one is. */
export async function scheduleJobs(
  sql: Sql,
  jobs: { name: string; schedule: string }[],
): Promise<void> {
  const now = new Date();
  await keepOwnJobs(
    sql,
    jobs.map(({ name, schedule }) => ({ name, schedule, next_at: nextTime(schedule, now) })),
  );
}

/** Runs the jobs that are the servers' to run; each due time is one server's. */
export async function workOnJobs(
  loop: WorkLoop,
  { sql, log }: { sql: Sql; log: Log },
): Promise<void> {
  for (const { name, command, schedule, pgCronOnly } of await readJobFiles()) {
    if (pgCronOnly) continue;
    loop.onLeased(`job ${name}`, async () => {
      const begun = await beginDueJob(sql, name);
      if (begun === null) return;
      const next = nextTime(schedule, begun.now);
      try {
        const [row] = await sql.unsafe(command);
        const value = row === undefined ? null : Object.values(row)[0];
        const message = value === null || value === "" ? null : JSON.stringify(value);
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
