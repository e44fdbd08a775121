import { jobSchedule, SlotClock } from "../pipeline/schedules/cron.ts";
import { databaseNow, type Sql } from "../store/database.ts";
import {
  type CronJob,
  cronJobs,
  cronName,
  dropCronJob,
  findPgCron,
  grantCron,
  isHere,
  missingGrants,
  type PgCron,
  putCronJob,
} from "../store/pg_cron.ts";
import {
  beginDecision,
  commitDecision,
  cronSilence,
  dropOwnJobs,
  isServerRole,
  type JobDefinition,
  type JobScheduler,
  keepOwnJobs,
  readJobFiles,
  readJobScheduler,
  readJobWishes,
  schedulerIsWrong,
  SETTABLE_JOBS,
  writeJobScheduler,
  writeJobWishes,
} from "../store/jobs.ts";
import { type Client, connect } from "../store/pg.ts";
import type { Log } from "../telemetry/log.ts";

/** Somebody may have dropped a job, or pg_cron itself: looked at again after so long. */
const INTERVAL_MS = 600_000;
/** Whether pg_cron ticks is looked at more often. */
const SILENCE_MS = 60_000;

interface JobKeeperOptions extends ReconcileOptions {
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
  const silence = setInterval(async () => {
    if (await schedulerIsWrong(sql).catch(() => false)) await look();
  }, SILENCE_MS);
  return () => [timer, silence].forEach(clearInterval);
}

/** When a job is due next, after a time. */
export function nextTime(schedule: string, after: Date): Date {
  for (const slot of new SlotClock(schedule, "UTC").after(after)) return slot;
  throw new Error(`${schedule} has no next time`);
}

/** Has the servers run these jobs, and no others. What was due while none was up is done once when one is. */
async function scheduleJobs(
  sql: Sql,
  jobs: { name: string; schedule: string }[],
): Promise<void> {
  const now = await databaseNow(sql);
  await keepOwnJobs(
    sql,
    jobs.map(({ name, schedule }) => ({ name, schedule, next_at: nextTime(schedule, now) })),
  );
}

interface ReconcileOptions {
  dsn: string;
  cronDsn?: string | undefined;
  /** Role that pg_cron's jobs belong to, if the caller may choose; default: as they are, else the caller. */
  role?: string | undefined;
  /** Whether to create pg_cron's extension where it is loaded for this database; default false. */
  create?: boolean;
}

interface Reconciled {
  scheduler: JobScheduler;
  /** Names of the jobs that were missing or not as their file says, and are right now. */
  repaired: string[];
  /** The jobs that are the servers' to run. */
  forServers: JobDefinition[];
}

/**
 * Sees to it that pg_cron has the jobs of sql/cron, where there is one that this role may use, and
 * notes who runs them. Missing jobs are made, changed ones put right; one that somebody has switched
 * off stays off. Each job that pg_cron has is taken from the servers.
 */
export async function reconcileJobs(options: ReconcileOptions): Promise<Reconciled> {
  const db = await connect(options.dsn, { applicationName: "etl-improved jobs" });
  let cron: PgCron | undefined;
  try {
    await beginDecision(db);
    const jobs = await wishedJobs(db);
    const before = await readJobScheduler(db);
    const found = await findPgCron(options.dsn, {
      cronDsn: options.cronDsn,
      remembered: before?.cron_database ?? undefined,
      create: options.create ?? false,
    });
    if ("reason" in found) return await decide(db, jobs, serversOf(found.reason));
    cron = found;
    const owner = before?.cron_role ?? cron.role;
    if (owner !== cron.role && !cron.superuser) {
      // the servers, which have the role, see to them: to a set-up by somebody else nothing is wrong
      const looksAfter = (options.create ?? false) && await isServerRole(db, owner);
      return await decide(db, jobs, foreignJobs(cron, owner, { looksAfter }));
    }
    if (!cron.mayUse) {
      return await decide(db, jobs, { scheduler: lacking(cron), repaired: [], inCron: [] });
    }
    return await decide(db, jobs, await putJobs(cron, jobs, options.role));
  } finally {
    await cron?.client.end().catch(() => {});
    await db.end().catch(() => {});
  }
}

/** A job at the time that is wished, by the variable etl_job__<name>, else by its file. */
interface WishedJob extends JobDefinition {
  /** Whether it was to run at that time before, too. */
  isSame: boolean;
}

/** The jobs; a wish that is no schedule does not count. */
async function wishedJobs(db: Client): Promise<WishedJob[]> {
  const { wishes, schedules: last } = await readJobWishes(db);
  return (await readJobFiles()).map((job) => {
    const wish = SETTABLE_JOBS.includes(job.name) ? jobSchedule(wishes[job.name]) : undefined;
    const schedule = wish ?? job.schedule;
    return { ...job, schedule, isSame: schedule === (last[job.name] ?? job.schedule) };
  });
}

const TICK = "etl_schedule_tick";

interface Decision {
  scheduler: JobScheduler;
  repaired: string[];
  /** Names of the jobs that pg_cron has; null: all. */
  inCron: string[] | null;
  /** Whether somebody has switched the tick off; default false. */
  tickIsOff?: boolean;
}

async function decide(
  db: Client,
  jobs: WishedJob[],
  decision: Decision,
): Promise<Reconciled> {
  const { scheduler, repaired, inCron } = await unlessSilent(db, decision);
  await writeJobScheduler(db, scheduler);
  await writeJobWishes(db, {
    wishes: (await readJobWishes(db)).wishes,
    schedules: Object.fromEntries(jobs.map(({ name, schedule }) => [name, schedule])),
  });
  const taken = inCron ?? jobs.map(({ name }) => name);
  await dropOwnJobs(db, taken);
  await commitDecision(db);
  const forServers = jobs.filter(({ name, pgCronOnly }) => !pgCronOnly && !taken.includes(name));
  return { scheduler, repaired, forServers };
}

/** pg_cron is believed while it ticks: after three minutes without, the servers run the jobs until it does. */
async function unlessSilent(db: Client, decision: Decision): Promise<Decision> {
  const { scheduler, repaired, tickIsOff = false } = decision;
  if (scheduler.kind !== "pg_cron" || tickIsOff) return decision;
  const since = await cronSilence(db, repaired.length > 0);
  if (since === null) return decision;
  const reason =
    `pg_cron in database ${scheduler.cron_database} has not run etl_schedule_tick since ${since}: the servers run the ` +
    "jobs until it does. Look at cron.job_run_details and PostgreSQL's log";
  return { scheduler: { ...scheduler, kind: "servers", reason }, repaired, inCron: [] };
}

function serversOf(reason: string, grants: string[] = []): Decision {
  const scheduler: JobScheduler = {
    kind: "servers",
    cron_database: null,
    cron_role: null,
    reason,
    grants,
  };
  return { scheduler, repaired: [], inCron: [] };
}

/** pg_cron is there and this role may not use it. */
function lacking(cron: PgCron): JobScheduler {
  return {
    kind: "servers",
    cron_database: cron.database,
    cron_role: null,
    reason:
      `role ${cron.role} may not use pg_cron; run in database ${cron.database}, as its owner or a superuser: ${
        missingGrants(cron).join("; ")
      }`,
    grants: missingGrants(cron),
  };
}

/** The jobs are another role's, so they cannot be seen; a second set of them would be wrong. */
function foreignJobs(
  cron: PgCron,
  owner: string,
  { looksAfter }: { looksAfter: boolean },
): Decision {
  return {
    scheduler: {
      kind: "pg_cron",
      cron_database: cron.database,
      cron_role: owner,
      reason: looksAfter
        ? null
        : `the jobs in pg_cron belong to role ${owner}, so role ${cron.role} cannot look after them; ` +
          `\`deno task setup-db --role ${cron.role}\` as a superuser hands them over`,
      grants: [],
    },
    repaired: [],
    inCron: null,
  };
}

async function putJobs(cron: PgCron, jobs: WishedJob[], wish?: string): Promise<Decision> {
  // only a superuser may give jobs to somebody else
  const role = cron.superuser ? wish : undefined;
  const names = jobs.map(({ name }) => cronName(cron, name));
  const present = (await cronJobs(cron, names)).filter(({ database }) =>
    database === cron.target || database === cron.database
  );
  const owner = role ?? present.find(({ username }) => username === cron.role)?.username ??
    present[0]?.username ?? cron.role;
  const mayPut = cron.superuser || (owner === cron.role && (isHere(cron) || cron.maySchedule));
  if (role !== undefined && role !== cron.role) await grantCron(cron, role);
  const repaired: string[] = [];
  const inCron: string[] = [];
  for (const job of jobs) {
    const wanted = wantedJob(cron, job, owner);
    const same = present.filter(({ jobname }) => jobname === wanted.jobname);
    const mine = same.find(({ username }) => username === owner);
    // another time is somebody's wish, told by health, unless a newer wish is in a variable; another command is not
    if (mine !== undefined && job.isSame) wanted.schedule = mine.schedule;
    if (mine === undefined || differs(mine, wanted)) {
      if (mayPut) {
        await putCronJob(cron, { ...wanted, jobid: mine?.jobid });
        repaired.push(job.name);
      }
    }
    if (mine !== undefined || mayPut) inCron.push(job.name);
    for (const other of same) if (other !== mine && mayPut) await dropCronJob(cron, other.jobid);
  }
  const complete = inCron.length === jobs.length;
  if (!complete) return { scheduler: lacking(cron), repaired, inCron };
  const scheduler: JobScheduler = {
    kind: "pg_cron",
    cron_database: cron.database,
    cron_role: owner,
    reason: null,
    grants: [],
  };
  const tick = cronName(cron, TICK);
  const tickIsOff = present.some(({ jobname, active }) => jobname === tick && !active);
  return { scheduler, repaired, inCron, tickIsOff };
}

function wantedJob(
  cron: PgCron,
  job: JobDefinition,
  owner: string,
): Omit<CronJob, "jobid" | "active"> {
  return {
    jobname: cronName(cron, job.name),
    schedule: job.schedule,
    command: job.command,
    database: job.pgCronOnly ? cron.database : cron.target,
    username: owner,
  };
}

/** Whether a job is not as its file says; that it is switched off is nobody's mistake. */
function differs(job: CronJob, wanted: Omit<CronJob, "jobid" | "active">): boolean {
  return job.schedule !== wanted.schedule || job.command !== wanted.command ||
    job.database !== wanted.database;
}
