import type { Sql } from "./database.ts";
import {
  type CronJob,
  cronJobs,
  cronName,
  cronRuns,
  findPgCron,
  type JobRun,
  type PgCron,
} from "./pg_cron.ts";
import type { Queryable } from "./pg.ts";

export interface JobView {
  name: string;
  description: string;
  schedule: string;
  command: string;
  scheduler: "pg_cron" | "servers";
  /** off: somebody has switched it off; changed: not as its file says; unknown: this role cannot see it. */
  state: "scheduled" | "off" | "changed" | "missing" | "unknown";
  last_runs: JobRun[];
}

/** Who runs the jobs, in words and parts. */
export interface SchedulerView {
  /** "pg_cron", "pg_cron in database postgres" or "servers". */
  in_use: string;
  kind: JobScheduler["kind"];
  database: string | null;
  role: string | null;
  reason: string | null;
  /** Statements that would let pg_cron be used. */
  grants: string[];
}

export interface JobsReport {
  scheduler: SchedulerView;
  items: JobView[];
  /** In words, what somebody should look at. */
  warnings: string[];
}

export interface JobsOptions {
  dsn: string;
  cronDsn?: string | undefined;
}

const RUNS_SHOWN = 5;
const TICK = "etl_schedule_tick";
const TICK_LATE_SECONDS = 180;

/** The periodic jobs with their last runs. */
export async function jobsReport(sql: Sql, options: JobsOptions): Promise<JobsReport> {
  const [noted] = await sql<
    (JobScheduler & JobWishes & { target: string; untold_seconds: number; of_another: boolean })[]
  >`
    select coalesce(database_identity <> etl.database_identity(), false) as of_another, kind, cron_database, cron_role, reason, grants, current_database() as target,
      schedules, ${sql.unsafe(WISHES)} as wishes,
      extract(epoch from clock_timestamp() - greatest(decided_at, ticked_at))::double precision as untold_seconds
    from etl.job_scheduler`;
  const decided = noted?.of_another ? undefined : noted;
  const jobs = (await readJobFiles()).map((job) => ({
    ...job,
    schedule: decided?.schedules[job.name] ?? job.schedule,
  }));
  const takenOver = decided?.kind === "servers" && decided.cron_role !== null;
  const cron = decided?.cron_database == null ? null : await lookIntoCron(jobs, options, decided);
  const own = await ownJobs(sql);
  const items: JobView[] = [];
  for (const job of jobs) {
    const seen = cron?.get(job.name);
    if (decided?.kind === "pg_cron" || seen !== undefined && (!takenOver || job.pgCronOnly)) {
      items.push(viewOf(job, "pg_cron", seen ?? (cron === null ? UNKNOWN : MISSING)));
    } else if (!job.pgCronOnly) {
      const state = own.has(job.name) ? "scheduled" : "missing";
      items.push(
        viewOf(job, "servers", { state, runs: await ownJobRuns(sql, job.name, RUNS_SHOWN) }),
      );
    }
  }
  const scheduler = schedulerView(decided);
  // before the first server has started nothing is late
  const warnings = decided === undefined ? [] : warningsOf(items, decided.untold_seconds);
  if (takenOver) warnings.unshift(decided.reason!);
  for (const [name, wish] of Object.entries(decided?.wishes ?? {})) {
    const job = jobs.find((each) => each.name === name);
    if (job?.schedule === tidied(wish) || job?.pgCronOnly && decided!.kind === "servers") continue;
    warnings.push(
      `variable ${JOB_VARIABLE}${name} is not in use: ${
        job === undefined
          ? `there is no such job; there are ${jobs.map((each) => each.name).join(", ")}`
          : "a server applies it within a minute, unless it is invalid or for the tick, which runs each minute"
      }`,
    );
  }
  if (noted?.of_another) {
    warnings.unshift(
      "nobody runs the periodic jobs: this database is a copy of another one; start a server or run `deno task setup-db`",
    );
  }
  return { scheduler, items, warnings };
}

function tidied(wish: unknown): string {
  return String(wish).trim().toLowerCase().split(/\s+/).join(" ");
}

/** A report may be so old where many ask for it. */
const RECENT_MS = 10_000;
const last = new WeakMap<Sql, { at: number; report: Promise<JobsReport> }>();

/** The report as it was within the last ten seconds. */
export function recentJobsReport(sql: Sql, options: JobsOptions): Promise<JobsReport> {
  const known = last.get(sql);
  if (known !== undefined && performance.now() - known.at < RECENT_MS) return known.report;
  const report = jobsReport(sql, options);
  last.set(sql, { at: performance.now(), report });
  report.catch(() => last.delete(sql));
  return report;
}

interface Seen {
  state: JobView["state"];
  runs: JobRun[];
}
const UNKNOWN: Seen = { state: "unknown", runs: [] };
const MISSING: Seen = { state: "missing", runs: [] };

function viewOf(
  { name, description, schedule, command }: JobDefinition,
  scheduler: JobView["scheduler"],
  { state, runs }: Seen,
): JobView {
  return { name, description, schedule, command, scheduler, state, last_runs: runs };
}

/** What this role sees of the jobs in pg_cron; null where it sees none. */
async function lookIntoCron(
  jobs: JobDefinition[],
  { dsn, cronDsn }: JobsOptions,
  decided: JobScheduler,
): Promise<Map<string, Seen> | null> {
  const found = await findPgCron(dsn, { cronDsn, remembered: decided.cron_database ?? undefined });
  if ("reason" in found) return null;
  try {
    const foreign = decided.cron_role !== null && decided.cron_role !== found.role &&
      !found.superuser;
    if (!found.mayUse || foreign) return null;
    return await seenJobs(found, jobs);
  } finally {
    await found.client.end().catch(() => {});
  }
}

async function seenJobs(cron: PgCron, jobs: JobDefinition[]): Promise<Map<string, Seen>> {
  const present = await cronJobs(cron, jobs.map(({ name }) => cronName(cron, name)));
  const seen = new Map<string, Seen>();
  for (const job of jobs) {
    const own = present.find(({ jobname }) => jobname === cronName(cron, job.name));
    if (own === undefined) continue;
    seen.set(job.name, {
      state: stateOf(own, job),
      runs: await cronRuns(cron, own.jobid, RUNS_SHOWN),
    });
  }
  return seen;
}

function stateOf(own: CronJob, { schedule, command }: JobDefinition): JobView["state"] {
  if (!own.active) return "off";
  return own.schedule === schedule && own.command === command ? "scheduled" : "changed";
}

function schedulerView(decided: (JobScheduler & { target: string }) | undefined): SchedulerView {
  const { kind = "servers", cron_database: database = null, reason = null } = decided ?? {};
  return {
    in_use: kind === "servers"
      ? "servers"
      : database === decided!.target
      ? "pg_cron"
      : `pg_cron in database ${database}`,
    kind,
    database,
    role: decided?.cron_role ?? null,
    reason,
    grants: decided?.grants ?? [],
  };
}

/** `untoldSeconds`: since the last tick, or since it was decided who ticks. */
function warningsOf(items: JobView[], untoldSeconds: number): string[] {
  const late = untoldSeconds > TICK_LATE_SECONDS
    ? [
      `job ${TICK} has not run for ${Math.round(untoldSeconds)} s: schedules start no runs`,
    ]
    : [];
  return [...late, ...items.flatMap(warningsOfJob)];
}

function warningsOfJob({ name, state, scheduler, last_runs: runs }: JobView): string[] {
  if (state === "unknown") return [];
  if (state === "missing") {
    return [
      `job ${name} is missing in ${scheduler}: start a server or run \`deno task setup-db\``,
    ];
  }
  if (state === "off") {
    return [
      `job ${name} is switched off in pg_cron: unless this is intended, switch it on with cron.alter_job(job_id, active => true)`,
    ];
  }
  const ended = runs.find(({ status }) => ["succeeded", "failed"].includes(status));
  return [
    ...(state === "changed"
      ? [
        `job ${name} differs from sql/cron/${name}.sql and variable ${JOB_VARIABLE}${name}: the next server that starts corrects its command; its schedule stays until that variable changes`,
      ]
      : []),
    ...(ended?.status === "failed"
      ? [
        `job ${name} failed at ${ended.ended_at ?? ended.started_at}: ${
          ended.message ?? "no reason given"
        }`,
      ]
      : []),
  ];
}

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
async function ownJobs(sql: Sql): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`select name from etl.jobs`;
  return new Set(rows.map((row) => row.name));
}

/** Notes that a job which is due has begun; null where it is not. The caller holds its lease. */
export async function beginDueJob(
  sql: Sql,
  name: string,
): Promise<{ run: string; now: Date; schedule: string; failures: number } | null> {
  const [row] = await sql<{ run: string; now: Date; schedule: string; failures: number }[]>`
    with due as (select name, next_at, schedule, failures from etl.jobs where name = ${name} and next_at <= clock_timestamp()),
    begun as (insert into etl.job_runs (name, due_at) select name, next_at from due returning job_run_no)
    select begun.job_run_no as run, clock_timestamp() as now, due.schedule, due.failures from due, begun`;
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
async function ownJobRuns(sql: Sql, name: string, limit: number): Promise<JobRun[]> {
  return await sql<JobRun[]>`
    select etl.iso(started_at) as started_at, etl.iso(ended_at) as ended_at, status, message,
      extract(epoch from clock_timestamp() - started_at)::double precision as age_seconds
    from etl.job_runs where name = ${name} order by job_run_no desc limit ${limit}`;
}

/** Who runs the periodic jobs, as it was decided last. */
export interface JobScheduler {
  kind: "pg_cron" | "servers";
  /** pg_cron's database and the role that the jobs belong to. */
  cron_database: string | null;
  cron_role: string | null;
  /** Why it is not pg_cron, or what somebody should know. */
  reason: string | null;
  grants: string[];
}

/** What was decided last; null before the first time, and in a copy of the database that noted it. */
export async function readJobScheduler(db: Queryable): Promise<JobScheduler | null> {
  const { rows } = await db.query<JobScheduler>(
    `select kind, cron_database, cron_role, reason, grants from etl.job_scheduler
     where coalesce(database_identity = etl.database_identity(), true)`,
  );
  return rows[0] ?? null;
}

/**
 * Since when pg_cron, which has the jobs, has not called etl.tick_schedules(); null within three minutes. `given`: it has
 * just been given them. Whatever an installation notes of pg_cron, what counts is that it ticks.
 */
export async function cronSilence(db: Queryable, given: boolean): Promise<string | null> {
  const { rows } = await db.query<{ since: string | null }>(
    `with known as (
       update etl.job_scheduler set cron_since = case
         when $1 or cron_since is null or database_identity is distinct from etl.database_identity() then clock_timestamp() else cron_since end
       returning *)
     select to_char(greatest(cron_since, cron_ticked_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since from known as s where ${SILENT}`,
    [given],
  );
  return rows[0]?.since ?? null;
}

const SILENT =
  "greatest(s.cron_since, s.cron_ticked_at) < clock_timestamp() - interval '3 minutes'";

/** What names of variables that say when a job runs begin with. */
export const JOB_VARIABLE = "etl_job__";
/** Jobs that they may name: schedules need the tick each minute. */
export const SETTABLE_JOBS = ["etl_maintenance", "etl_purge_cron_details", "etl_refresh_mvs"];
const WISHES = `coalesce((select jsonb_object_agg(substr(v.name, ${
  JOB_VARIABLE.length + 1
}), v.value) from etl.variables as v where starts_with(v.name, '${JOB_VARIABLE}')), '{}')`;

/** When jobs run, by name. */
export interface JobWishes {
  /** What variables say, whatever that is. */
  wishes: Record<string, unknown>;
  /** What was made of them last; a job that is missing runs as its file says. */
  schedules: Record<string, string>;
}

/** What is wished; where this role may not see variables, as they were seen last. */
export async function readJobWishes(db: Queryable): Promise<JobWishes> {
  const { rows: [row] } = await db.query<JobWishes & { sees: boolean }>(
    `select coalesce(s.wishes, '{}') as wishes, coalesce(s.schedules, '{}') as schedules,
      has_table_privilege('etl.variables', 'select') as sees
    from (values (1)) as one left join etl.job_scheduler as s on true`,
  );
  const { wishes, schedules, sees } = row!;
  if (!sees) return { wishes, schedules };
  const { rows: [now] } = await db.query<{ wishes: JobWishes["wishes"] }>(
    `select ${WISHES} as wishes`,
  );
  return { wishes: now!.wishes, schedules };
}

export async function writeJobWishes(db: Queryable, wishes: JobWishes): Promise<void> {
  await db.query(
    `update etl.job_scheduler set wishes = $1, schedules = $2 where (wishes, schedules) is distinct from ($1::jsonb, $2::jsonb)`,
    [JSON.stringify(wishes.wishes), JSON.stringify(wishes.schedules)],
  );
}

/**
 * Whether pg_cron has fallen silent, or ticks again, since it was decided who runs the jobs, or somebody wishes them at
 * other times.
 */
export async function schedulerIsWrong(sql: Sql): Promise<boolean> {
  const rows = await sql.unsafe(`select from etl.job_scheduler as s
    where s.cron_role is not null and (s.kind = 'pg_cron') = coalesce(${SILENT}, false) or s.wishes <> ${WISHES}`);
  return rows.length > 0;
}

/** Whether servers log in as this role, as a set-up was told. */
export async function isServerRole(db: Queryable, role: string): Promise<boolean> {
  const { rowCount } = await db.query("select from etl.server_roles where role_name = $1", [role]);
  return rowCount === 1;
}

/** Notes a decision; its time changes only if the decision does. */
export async function writeJobScheduler(db: Queryable, scheduler: JobScheduler): Promise<void> {
  await db.query(
    `insert into etl.job_scheduler as s (kind, cron_database, cron_role, reason, grants, cron_since, database_identity)
     select kind, cron_database, cron_role, reason, grants, clock_timestamp(), etl.database_identity()
     from jsonb_populate_record(null::etl.job_scheduler, $1::jsonb)
     on conflict (singleton) do update set kind = excluded.kind, cron_database = excluded.cron_database,
       cron_role = excluded.cron_role, reason = excluded.reason, grants = excluded.grants,
       database_identity = excluded.database_identity, decided_at = now(), decided_by = current_user
     where (s.kind, s.cron_database, s.cron_role, s.reason, s.grants, s.database_identity) is distinct from
       (excluded.kind, excluded.cron_database, excluded.cron_role, excluded.reason, excluded.grants, excluded.database_identity)`,
    [JSON.stringify(scheduler)],
  );
}

/**
 * Begins the transaction of a decision, which one of several servers that start at once makes at a time; a lock of a
 * session would be lost behind PgBouncer.
 */
export async function beginDecision(db: Queryable): Promise<void> {
  await db.query("begin; select pg_advisory_xact_lock(hashtextextended('etl jobs', 0))");
}

export async function commitDecision(db: Queryable): Promise<void> {
  await db.query("commit");
}

/** A periodic job, as a file of sql/cron describes it; psql can run the file where pg_cron is. */
export interface JobDefinition {
  name: string;
  /** Five fields of cron or @weekly and its like, UTC. */
  schedule: string;
  /** One SQL statement. */
  command: string;
  description: string;
  /** Makes sense only for pg_cron, in pg_cron's own database. */
  pgCronOnly: boolean;
}

const DIRECTORY = new URL("../sql/cron/", import.meta.url);
const FORM = /^((?:-- .*\n)+)select cron\.schedule\('(\w+)', '([^']+)', \$\$([^$]+)\$\$\);\s*$/;
const PG_CRON_ONLY = "pg_cron only";

/** The jobs of sql/cron, by name. Throws when a file has another form. */
export async function readJobFiles(directory: URL = DIRECTORY): Promise<JobDefinition[]> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name)
    .filter((name) => name.endsWith(".sql")).sort();
  return await Promise.all(
    names.map(async (file) =>
      parseJobFile(file, await Deno.readTextFile(new URL(file, directory)))
    ),
  );
}

/** Reads one file: comments, then one `select cron.schedule('name', 'schedule', $$command$$);`. */
export function parseJobFile(file: string, text: string): JobDefinition {
  const [, comments, name, schedule, command] = FORM.exec(text) ?? [];
  if (name === undefined || `${name}.sql` !== file) {
    throw new Error(
      `sql/cron/${file} must be comments and select cron.schedule('${
        file.replace(/\.sql$/, "")
      }', 'schedule', $$command$$);`,
    );
  }
  const lines = comments!.trim().split("\n").map((line) => line.replace(/^-- /, ""));
  return {
    name,
    schedule: schedule!,
    command: command!.trim(),
    description: lines.filter((line) => line !== PG_CRON_ONLY).join(" "),
    pgCronOnly: lines.includes(PG_CRON_ONLY),
  };
}

/** Carries a job's statement out. Answers its first value as JSON; null where there is none. */
export async function runJob(sql: Sql, command: string): Promise<string | null> {
  const [row] = await sql.unsafe(command);
  const value = row === undefined ? null : Object.values(row)[0];
  return value === null || value === "" ? null : JSON.stringify(value);
}
