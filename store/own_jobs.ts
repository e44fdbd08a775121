import type { Sql } from "./database.ts";
import type { Queryable } from "./pg.ts";
import type { JobRun } from "./pg_cron.ts";

/** Keeps these jobs for the servers to run, and no others; one whose schedule is the same keeps its next time. */
export async function keepOwnJobs(
  sql: Sql,
  jobs: { name: string; schedule: string; next_at: Date }[],
): Promise<void> {
  const json = JSON.stringify(jobs);
  await sql`
    with wanted as (
      select * from jsonb_to_recordset(${json}::text::jsonb) as w (name text, schedule text, next_at timestamptz)),
    gone as (delete from etl.jobs as j where j.name not in (select name from wanted))
    insert into etl.jobs as j (name, schedule, next_at) select name, schedule, next_at from wanted
    on conflict (name) do update set schedule = excluded.schedule, next_at = excluded.next_at
    where j.schedule <> excluded.schedule`;
}

/** Keeps the servers from running jobs that pg_cron runs. */
export async function dropOwnJobs(db: Queryable, names: string[]): Promise<void> {
  await db.query("delete from etl.jobs where name = any ($1)", [names]);
}

/** The jobs that the servers run. */
export async function ownJobs(sql: Sql): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`select name from etl.jobs`;
  return new Set(rows.map((row) => row.name));
}

/** Notes that a job which is due has begun; null where it is not. The caller holds its lease. */
export async function beginDueJob(
  sql: Sql,
  name: string,
): Promise<{ run: string; now: Date; failures: number } | null> {
  const [row] = await sql<{ run: string; now: Date; failures: number }[]>`
    with due as (select name, next_at, failures from etl.jobs where name = ${name} and next_at <= clock_timestamp()),
    begun as (insert into etl.job_runs (name, due_at) select name, next_at from due returning job_run_no)
    select begun.job_run_no as run, clock_timestamp() as now, due.failures from due, begun`;
  return row ?? null;
}

/** Notes how a job went and when it is due next, and forgets all but its newest 500 times. */
export async function endJob(
  sql: Sql,
  name: string,
  { run, status, message, next }: {
    run: string;
    status: "succeeded" | "failed";
    message: string | null;
    next: Date;
  },
): Promise<void> {
  await sql`
    with ended as (
      update etl.job_runs set ended_at = clock_timestamp(), status = ${status}, message = ${message}
      where job_run_no = ${run}),
    planned as (
      update etl.jobs set next_at = ${next}, failures = case when ${status}::text = 'failed' then failures + 1 else 0 end
      where name = ${name})
    delete from etl.job_runs where name = ${name} and job_run_no <= (
      select job_run_no from etl.job_runs where name = ${name} order by job_run_no desc offset 500 limit 1)`;
}

/** The last runs of a job by the servers, newest first. */
export async function ownJobRuns(sql: Sql, name: string, limit: number): Promise<JobRun[]> {
  return await sql<JobRun[]>`
    select etl.iso(started_at) as started_at, etl.iso(ended_at) as ended_at, status, message,
      extract(epoch from clock_timestamp() - started_at)::double precision as age_seconds
    from etl.job_runs where name = ${name} order by job_run_no desc limit ${limit}`;
}
