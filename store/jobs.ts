import type { Sql } from "./database.ts";
import { type JobDefinition, readJobFiles } from "./job_files.ts";
import { type JobScheduler } from "./job_scheduler.ts";
import { type CronJob, cronJobs, cronName, cronRuns, type JobRun, type PgCron } from "./pg_cron.ts";
import { ownJobRuns, ownJobs } from "./own_jobs.ts";
import { findPgCron } from "./find_pg_cron.ts";

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
  const jobs = await readJobFiles();
  const [decided] = await sql<(JobScheduler & { target: string; untold_seconds: number })[]>`
    select kind, cron_database, cron_role, reason, grants, current_database() as target,
      extract(epoch from clock_timestamp() - greatest(decided_at, ticked_at))::double precision as untold_seconds
    from etl.job_scheduler`;
  const cron = decided?.cron_database == null ? null : await lookIntoCron(jobs, options, decided);
  const own = await ownJobs(sql);
  const items: JobView[] = [];
  for (const job of jobs) {
    const seen = cron?.get(job.name);
    if (decided?.kind === "pg_cron" || seen !== undefined) {
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
  return { scheduler, items, warnings };
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
      `job ${name} is switched off in pg_cron: switch it on with cron.alter_job(job_id, active => true), if nobody wants it so`,
    ];
  }
  const ended = runs.find(({ status }) => ["succeeded", "failed"].includes(status));
  return [
    ...(state === "changed"
      ? [
        `job ${name} is not as sql/cron/${name}.sql says: the next server that starts puts it right`,
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
