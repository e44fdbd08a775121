import { createHash } from "node:crypto";
import { type Client, connect, quoteIdent } from "./pg.ts";
import { inDatabase, parseDsn } from "./dsn.ts";
import { errorCode } from "./errors.ts";

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
  const short = bytesOf(target) <= SHORT_BYTES
    ? target
    : `${beginning(target)}_${createHash("md5").update(target).digest("hex").slice(0, 8)}`;
  return `${short}.${name}`;
}

/** With a hash and the longest name of a job it makes 62. */
const SHORT_BYTES = 30;

const bytesOf = (text: string) => new TextEncoder().encode(text).length;

/** The first 15 letters of a long name, fewer where they have more than 30 bytes; never part of a letter. */
function beginning(text: string): string {
  let found = "";
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    const longer = found + segment;
    // counted as String does: jobs that were named so keep their names
    if (longer.length > 15 || bytesOf(longer) > SHORT_BYTES) break;
    found = longer;
  }
  return found;
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

export interface FindOptions {
  /** Connection string to pg_cron's database; default: the same server, found by name. */
  cronDsn?: string | undefined;
  /** pg_cron's database as somebody found it who may see settings. */
  remembered?: string | undefined;
  /** Whether to create the extension where it is loaded for this database; default false. */
  create?: boolean;
}

/** Why there is no pg_cron to use, in words. */
export interface NoPgCron {
  reason: string;
}

const INSUFFICIENT_PRIVILEGE = "42501";
const APPLICATION = { applicationName: "etl-improved jobs", connectTimeoutMs: 5_000 };

/** Looks for pg_cron: in the database itself, or in another one of the same server. The caller ends the client. */
export async function findPgCron(
  dsn: string,
  options: FindOptions = {},
): Promise<PgCron | NoPgCron> {
  const { cronDsn, remembered, create = false } = options;
  const own = await connect(dsn, APPLICATION);
  let keep = false;
  try {
    const { rows: [me] } = await own.query<
      { target: string; extension: boolean; superuser: boolean; started: string }
    >(`select current_database() as target, exists (select from pg_extension where extname = 'pg_cron') as extension,
      (select rolsuper from pg_roles where rolname = current_user) as superuser, pg_postmaster_start_time()::text as started`);
    const { target, superuser, started } = me!;
    const configured = await configuredDatabase(own);
    if (configured === null && cronDsn === undefined) {
      return { reason: "pg_cron is not loaded in this PostgreSQL (shared_preload_libraries)" };
    }
    let { extension } = me!;
    if (!extension && create && superuser && configured === target) {
      await own.query("create extension if not exists pg_cron");
      extension = true;
    }
    if (extension) {
      const found = await described(own, target);
      keep = "client" in found;
      return found;
    }
    if (configured === target) {
      return {
        reason: `pg_cron is loaded for database ${target}, but its extension is not there; ` +
          `as a superuser in database ${target}: create extension pg_cron`,
      };
    }
    const database = typeof configured === "string" ? configured : remembered ?? "postgres";
    return await elsewhere(cronDsn ?? inDatabase(dsn, database), {
      target,
      started,
      known: configured !== undefined,
    });
  } finally {
    if (!keep) await own.end().catch(() => {});
  }
}

/** cron.database_name; null where pg_cron is not loaded, undefined where this role may not see it. */
async function configuredDatabase(client: Client): Promise<string | null | undefined> {
  try {
    const { rows } = await client.query<{ name: string | null }>(
      "select current_setting('cron.database_name', true) as name",
    );
    return rows[0]!.name;
  } catch (error) {
    if (errorCode(error) === INSUFFICIENT_PRIVILEGE) return undefined;
    throw error;
  }
}

async function elsewhere(
  dsn: string,
  { target, started, known }: { target: string; started: string; known: boolean },
): Promise<PgCron | NoPgCron> {
  const name = parseDsn(dsn).database;
  const hint = known
    ? "set ETL_PG_CRON_DSN to a connection string that reaches it"
    : "set ETL_PG_CRON_DSN if it is in another one";
  let client: Client;
  try {
    client = await connect(dsn, APPLICATION);
  } catch (error) {
    return {
      reason: `pg_cron is not in this database, and database ${name} cannot be reached ` +
        `(${(error as Error).message}); ${hint}`,
    };
  }
  let keep = false;
  try {
    const { rows: [row] } = await client.query<
      { extension: boolean; started: string; database: string }
    >(`select exists (select from pg_extension where extname = 'pg_cron') as extension,
      pg_postmaster_start_time()::text as started, current_database() as database`);
    if (row!.started !== started) {
      return {
        reason:
          "ETL_PG_CRON_DSN is of another PostgreSQL server: pg_cron runs jobs in its own only",
      };
    }
    if (!row!.extension) {
      return {
        reason: `pg_cron's extension is not in database ${row!.database}; ` +
          `as a superuser in database ${row!.database}: create extension pg_cron` +
          (known ? "" : `; or ${hint}`),
      };
    }
    const found = await described(client, target);
    keep = "client" in found;
    return found;
  } finally {
    if (!keep) await client.end().catch(() => {});
  }
}

/** Jobs for another database, and the names of jobs, came with this version. */
const MIN_VERSION = [1, 4] as const;

async function described(client: Client, target: string): Promise<PgCron | NoPgCron> {
  const { rows: [extension] } = await client.query<{ version: string }>(
    "select extversion as version from pg_extension where extname = 'pg_cron'",
  );
  const [major = 0, minor = 0] = extension!.version.split(/[.-]/).map(Number);
  if (major < MIN_VERSION[0] || major === MIN_VERSION[0] && minor < MIN_VERSION[1]) {
    return {
      reason: `pg_cron ${extension!.version} is too old, ${MIN_VERSION.join(".")} is needed: ` +
        "install a newer one, then as a superuser: alter extension pg_cron update",
    };
  }
  const { rows: [row] } = await client.query<
    Pick<PgCron, "database" | "role" | "superuser" | "mayUse"> & { functions: number }
  >(`select current_database() as database, current_user as role,
      (select rolsuper from pg_roles where rolname = current_user) as superuser,
      has_schema_privilege(n.oid, 'usage') as "mayUse",
      (select count(*)::integer from pg_proc as p where p.pronamespace = n.oid
        and (p.proname, oidvectortypes(p.proargtypes)) in (values
          ('schedule_in_database', 'text, text, text, text, text, boolean'), ('alter_job', 'bigint, text, text, text, text, boolean'))
        and has_function_privilege(p.oid, 'execute')) as functions
    from pg_namespace as n where n.nspname = 'cron'`);
  const { functions, ...found } = row!;
  return { client, target, ...found, maySchedule: found.mayUse && functions === 2 };
}
