import { createHash } from "node:crypto";
import { type Client, quoteIdent } from "./pg.ts";

/** pg_cron as it was found, with a connection to the database that it lives in. */
export interface PgCron {
  client: Client;
  /** pg_cron's database. */
  database: string;
  /** The database that the jobs are for. */
  target: string;
  /** The role of the connection. */
  role: string;
  superuser: boolean;
  mayUse: boolean;
  /** Whether it may schedule for another database than pg_cron's. */
  maySchedule: boolean;
}

const SCHEDULE_IN_DATABASE = "cron.schedule_in_database(text,text,text,text,text,boolean)";
const ALTER_JOB = "cron.alter_job(bigint,text,text,text,text,boolean)";
/** Whether pg_cron lives in the very database that the jobs are for. */
export function isHere({ database, target }: Pick<PgCron, "database" | "target">): boolean {
  return database === target;
}

/** The statements that give a role what it lacks to look after the jobs, to be run in pg_cron's database. */
export function missingGrants(cron: PgCron, role = cron.role): string[] {
  const who = quoteIdent(role);
  return [
    ...(cron.mayUse && role === cron.role ? [] : [`grant usage on schema cron to ${who}`]),
    ...(isHere(cron) || (cron.maySchedule && role === cron.role)
      ? []
      : [`grant execute on function ${SCHEDULE_IN_DATABASE}, ${ALTER_JOB} to ${who}`]),
  ];
}

/** Gives a role what it needs to look after the jobs. */
export async function grantCron(cron: PgCron, role: string): Promise<void> {
  const { client, database } = cron;
  const grants = [
    `grant connect on database ${quoteIdent(database)} to ${quoteIdent(role)}`,
    ...missingGrants(cron, role),
  ];
  await client.query(grants.join("; "));
}

/** The name of a job in pg_cron: with our database's where several installations may share one pg_cron. */
export function cronName(cron: Pick<PgCron, "database" | "target">, name: string): string {
  if (isHere(cron)) return name;
  const { target } = cron;
  // names of jobs have 63 bytes
  const short = new TextEncoder().encode(target).length <= 30
    ? target
    : `${target.slice(0, 15)}_${createHash("md5").update(target).digest("hex").slice(0, 8)}`;
  return `${short}.${name}`;
}

export interface CronJob {
  jobid: string;
  jobname: string;
  schedule: string;
  command: string;
  database: string;
  username: string;
  active: boolean;
}

/** The jobs of these names that this role may see: its own, or all for a superuser. */
export async function cronJobs({ client }: PgCron, names: string[]): Promise<CronJob[]> {
  const { rows } = await client.query<CronJob>(
    `select jobid, jobname::text, schedule, command, database, username, active from cron.job
     where jobname::text = any($1) order by jobid`,
    [names],
  );
  return rows;
}

/** Makes a job, or brings the one of that name up to date; whether it is switched on stays as it is. */
export async function putCronJob(
  cron: PgCron,
  job: Omit<CronJob, "jobid" | "active"> & { jobid?: string | undefined },
): Promise<void> {
  const { client, role } = cron;
  const { jobid, jobname, schedule, command, database, username } = job;
  if (isHere(cron) && username === role) {
    await client.query("select cron.schedule($1::text, $2, $3)", [jobname, schedule, command]);
  } else if (jobid !== undefined) {
    await client.query(
      "select cron.alter_job(job_id => $1, schedule => $2, command => $3, database => $4)",
      [jobid, schedule, command, database],
    );
  } else {
    await client.query("select cron.schedule_in_database($1, $2, $3, $4, $5)", [
      jobname,
      schedule,
      command,
      database,
      username === role ? null : username,
    ]);
  }
}

export async function dropCronJob({ client }: PgCron, jobid: string): Promise<void> {
  await client.query("select cron.unschedule($1::bigint)", [jobid]);
}

/** One run of a job, as a scheduler noted it. */
export interface JobRun {
  started_at: string | null;
  ended_at: string | null;
  /** succeeded, failed, or what it is doing. */
  status: string;
  message: string | null;
  /** Seconds since it started. */
  age_seconds: number | null;
}

/** The last runs of a job, newest first. */
export async function cronRuns(
  { client }: PgCron,
  jobid: string,
  limit: number,
): Promise<JobRun[]> {
  const iso = (column: string) =>
    `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
  const { rows } = await client.query<JobRun>(
    `select ${iso("start_time")} as started_at, ${
      iso("end_time")
    } as ended_at, status, return_message as message,
       extract(epoch from clock_timestamp() - start_time)::double precision as age_seconds
     from cron.job_run_details where jobid = $1 order by runid desc limit $2`,
    [jobid, limit],
  );
  return rows;
}
