import { say } from "../vocabulary/messages.ts";
import { connectionTarget } from "./connection_target.ts";
import { clockSkewMs, type Sql } from "./database.ts";
import { takenOverTables } from "./fingerprints.ts";
import { type Blocker, blockers, blockerText } from "./blockers.ts";
import { databasePlace, isNear } from "./dsn.ts";
import { errorCode, forgetFullDisk, fullDiskNoted, passing } from "./errors.ts";
import { type JobsOptions, recentJobsReport } from "./jobs.ts";

export interface DatabaseHealth {
  /** In words, what keeps the installation from working. */
  problems: string[];
  /** In words, what somebody should look at although everything works. */
  warnings: string[];
  facts: Record<string, unknown>;
}

const RELATIONS = [
  "etl.runs",
  "etl.leases",
  "public.etl_improved_events",
  "public.etl_improved_audit",
  "public.etl_improved_metrics",
  "public.etl_improved_alerts",
  "public.mv_etl_metrics_daily",
  "public.mv_etl_alerts_daily",
  "public.v_etl_latest_metrics",
  "public.v_etl_recent_alerts",
];

/** An admitted run that no server has started for so long: there is none that executes runs. */
const UNSTARTED_SECONDS = 30;
/** What happens after a run is late when it has not begun for so long. */
const UNCONSUMED_SECONDS = 60;
/** A consumer is late when an event has waited for it for so long. */
const UNDELIVERED_SECONDS = 60;
/** A client that keeps a transaction open for so long may hold up others. */
const BLOCKING_SECONDS = 10;

/** Tables and views that do not exist, in words. Throws when the database is out of reach. */
export async function missingRelations(sql: Sql): Promise<string[]> {
  const missing = await sql<{ name: string }[]>`
    select name from unnest(${RELATIONS}::text[]) as name where to_regclass(name) is null`;
  if (missing.length === 0) return [];
  const names = missing.map((row) => row.name).join(", ");
  return [`missing: ${names}; run \`deno task setup-db\``];
}

/** What a database says of itself that takes no writes; null where it takes them. */
export function writesRefused(
  { standby, readonly }: { standby: boolean; readonly: boolean },
): string | null {
  if (standby) {
    return "the database takes no writes: this is a standby. Name the primary in KPIS_PG_DSN, or " +
      "all hosts with target_session_attrs=read-write";
  }
  return readonly
    ? "the database takes no writes: default_transaction_read_only is on, for it or this role"
    : null;
}

/**
 * Why the database takes no writes, in words: a standby, a read-only role or database, or a disk that
 * was full when something was written and still is. Throws when it is out of reach.
 */
export async function unwritable(sql: Sql): Promise<string[]> {
  const [row] = await sql<{ standby: boolean; readonly: boolean }[]>`
    select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as readonly`;
  const refused = writesRefused(row!);
  if (refused !== null) return [refused];
  if (!fullDiskNoted()) return [];
  try {
    // sorts more than fits into memory, so that files are written where its tables are
    await sql.unsafe(
      "set local work_mem = '64kB'; select count(*) from " +
        "(select from generate_series(1, 200000) as n order by md5(n::text) offset 0) as s",
    );
    forgetFullDisk();
    return [];
  } catch (error) {
    const found = passing(error);
    if (found === null || !["53100", "58030"].includes(errorCode(error) ?? "")) throw error;
    return [`${found.words}: make room there; runs wait meanwhile`];
  }
}

/** What the original's health answered under `checks`, in its names. */
export async function originalChecks(sql: Sql): Promise<Record<string, unknown>> {
  const relations = await sql<{ name: string; exists: boolean }[]>`
    select n.name, to_regclass('public.' || n.name) is not null as exists from unnest(array['etl_improved_events',
      'etl_improved_audit', 'etl_improved_metrics', 'etl_improved_alerts', 'mv_etl_metrics_daily', 'mv_etl_alerts_daily',
      'v_etl_latest_metrics']) as n (name)`;
  const exists = new Map(relations.map((each) => [each.name, each.exists]));
  const status = (there: boolean) => there ? "ok" : "error";
  const tables = Object.fromEntries(
    relations.filter(({ name }) => name.startsWith("etl_")).map(({ name, exists: there }) => [
      name,
      { status: status(there), exists: there },
    ]),
  );
  const views = exists.get("mv_etl_metrics_daily")! && exists.get("mv_etl_alerts_daily")!;
  const [latest] = !exists.get("v_etl_latest_metrics") ? [] : await sql<
    { age_minutes: number }[]
  >`select etl.iso(created_at) as at, run_label, ratio, total_rows::float8 as total_rows, expected_rows::float8 as expected_rows,
      round(extract(epoch from clock_timestamp() - created_at) / 60)::integer as age_minutes
    from public.v_etl_latest_metrics`;
  const late = latest !== undefined && latest.age_minutes > LATE_MINUTES;
  return {
    db_connectivity: { status: "ok", message: "the database answers" },
    tables,
    latest_run: latest === undefined
      ? { status: "warning", warning: "no run has reached finalize yet" }
      : {
        status: late ? "warning" : "ok",
        ...latest,
        ...(late ? { warning: `the last run is ${latest.age_minutes} minutes old` } : {}),
      },
    materialized_views: {
      status: status(views),
      exists: views,
      message: views ? "both daily views are there" : "run `deno task setup-db`",
    },
  };
}

/** A day, after which the original warned of the last run's age. */
const LATE_MINUTES = 1_440;

/**
 * Tables, views, last run and its age, queue, reactions. Throws when the database is out of reach. Asks over two connections
 * side by side: on a busy machine each answer waits for its turn.
 */
export async function databaseHealth(sql: Sql, jobs: JobsOptions): Promise<DatabaseHealth> {
  const slow = lookAtWork(sql, jobs);
  // what fails because of a relation that is missing says less than that it is
  slow.catch(() => {});
  const missing = await missingRelations(sql);
  if (missing.length > 0) return { problems: missing, warnings: [], facts: {} };
  const unwritten = await unwritable(sql);
  const overdue = await overdueSchedules(sql);
  const plain = await unencrypted(sql, jobs.dsn);
  const skew = await clockSkewMs(sql);
  const { facts, holders, tables, report } = await slow;
  const takenOver = tables.map(({ dataset, next, blocks }) =>
    `fingerprints of ${dataset}, which was taken over, are still being computed (block ${next} of ${blocks}): until then a run writes each row once`
  );
  return {
    problems: [...unwritten, ...overdue.map(overdueText), ...problemsOf(facts)],
    warnings: [
      ...warningsOf(facts),
      ...report.warnings,
      ...takenOver,
      ...plain,
      ...skewText(skew),
      ...holders.map(blockingText),
    ],
    facts: { ...facts, scheduler: report.scheduler, overdue_schedules: overdue },
  };
}

async function lookAtWork(sql: Sql, jobs: JobsOptions) {
  const facts = await healthFacts(sql);
  const holders = await blockers(sql, BLOCKING_SECONDS);
  const tables = await takenOverTables(sql);
  return { facts, holders, tables, report: await recentJobsReport(sql, jobs) };
}

/** What the database says of runs and what follows them. */
async function healthFacts(sql: Sql): Promise<Facts> {
  const [row] = await sql<{ facts: Facts }[]>`
    select jsonb_build_object(
      'last_run', (select jsonb_build_object('run_id', run_id, 'state', state, 'run_label', run_label,
          'requested_at', etl.iso(requested_at), 'ended_at', etl.iso(ended_at),
          'age_seconds', round(extract(epoch from clock_timestamp() - coalesce(ended_at, requested_at))::numeric, 1))
        from etl.runs order by requested_at desc, run_id desc limit 1),
      'queue', (select jsonb_build_object('waiting', count(*) filter (where state = 'queued'),
          'running', count(*) filter (where state = 'running'),
          'oldest_waiting_seconds', coalesce(round(extract(epoch from clock_timestamp() - min(requested_at)
            filter (where state = 'queued'))::numeric, 1), 0),
          'unstarted_seconds', coalesce(round(extract(epoch from clock_timestamp() - min(admitted_at)
            filter (where state = 'queued' and attempt = attempt_base))::numeric, 1), 0))
        from etl.runs where state in ('queued', 'running')),
      'reactions', jsonb_build_object(
        'run_ends', (select count(*) from etl.run_ends where consumed_at is null),
        'oldest_run_end_seconds', (select coalesce(round(extract(epoch from clock_timestamp() - min(ended_at))::numeric, 1), 0)
          from etl.run_ends where consumed_at is null),
        'notifications', (select count(*) from etl.notifications where state = 'pending'),
        'deliveries', (select count(*) from etl.deliveries where state = 'pending'),
        'late_consumers', coalesce((select jsonb_agg(jsonb_build_object('consumer', l.consumer, 'oldest_seconds', l.seconds,
            'deliveries', l.deliveries) order by l.consumer) from (
          select consumer, count(*) as deliveries, round(extract(epoch from clock_timestamp() - min(coalesce(redelivered_at, created_at)))::numeric, 1) as seconds
          from etl.deliveries where state = 'pending' group by consumer) as l where l.seconds > ${UNDELIVERED_SECONDS}::integer), '[]'),
        'oldest_delivery_seconds', (select coalesce(round(extract(epoch from clock_timestamp() - min(coalesce(redelivered_at, created_at)))::numeric, 1), 0)
          from etl.deliveries where state = 'pending'),
        'exports', (select count(*) from etl.exports where state = 'pending')),
      'views', (select jsonb_build_object('refreshed_at', etl.iso(refreshed_at), 'refresh_ms', round(duration_ms::numeric, 1),
          'waiting', requested > done) from etl.view_refresh),
      'open_alerts', (select count(*) from etl.alert_states where resolved_at is null),
      'vanished_channels', coalesce((select jsonb_agg(distinct n.channel) from etl.notifications as n, etl.reaction_settings as s
        where n.state = 'sent' and n.sent_at > now() - interval '7 days' and n.channel <> all (s.channels)), '[]'),
      'channels', coalesce((select jsonb_agg(jsonb_build_object('channel', channel, 'failing_since', etl.iso(failing_since),
          'failures', failures, 'last_error', last_error) order by channel) from etl.notification_channels), '[]'),
      'failed_exports', coalesce((select jsonb_agg(f) from (
          select target, count(*) as runs, max(error) as last_error from etl.exports
          where updated_at > now() - interval '24 hours' and error is not null and state in ('failed', 'pending')
          group by target order by target) as f), '[]'),
      'maintenance', (select jsonb_build_object('maintenance_id', maintenance_id, 'state', state,
          'requested_at', etl.iso(requested_at), 'ended_at', etl.iso(ended_at), 'error', error)
        from etl.maintenance_runs order by maintenance_id desc limit 1)) as facts`;
  return row!.facts;
}

/** A clock that is wrong by so much is told of. */
const SKEW_MS = 5_000;

function skewText({ aheadMs, uncertainMs }: { aheadMs: number; uncertainMs: number }): string[] {
  if (Math.abs(aheadMs) - uncertainMs < SKEW_MS) return [];
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  return [
    `this server's clock is ${seconds} s ${
      aheadMs > 0 ? "behind" : "ahead of"
    } the database's, which ` +
    "schedules, deadlines and retentions use: synchronize both with NTP",
  ];
}

/** A connection that was meant to be encrypted where possible, and is not. */
async function unencrypted(sql: Sql, dsn: string): Promise<string[]> {
  if (isNear(dsn) || connectionTarget(dsn).ssl !== "prefer") return [];
  const [row] = await sql<{ ssl: boolean }[]>`
    select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), true) as ssl`;
  return row!.ssl ? [] : [
    `the connection to ${
      databasePlace(dsn)
    } is not encrypted: add sslmode=verify-full to KPIS_PG_DSN, ` +
    "or sslmode=disable where the network between is your own",
  ];
}

const blockingText = (blocker: Blocker) =>
  `${blockerText(blocker)} ${
    blocker.turn
      ? "holds a lock by which the servers take turns, so that runs, schedules or alerts stand still"
      : "keeps a transaction open, which may hold up others"
  }: end it, or select pg_terminate_backend(${blocker.pid})`;

interface Facts extends Record<string, unknown> {
  last_run: { run_id: string; state: string } | null;
  queue: { unstarted_seconds: number };
  reactions: {
    run_ends: number;
    oldest_run_end_seconds: number;
    late_consumers: { consumer: string; oldest_seconds: number; deliveries: number }[];
  };
  open_alerts: number;
  vanished_channels: string[];
  channels: {
    channel: string;
    failing_since: string | null;
    failures: number;
    last_error: string | null;
  }[];
  failed_exports: { target: string; runs: number; last_error: string }[];
  maintenance: { maintenance_id: string; state: string; error: string | null } | null;
}

interface Overdue {
  schedule: string;
  due_at: string;
}

async function overdueSchedules(sql: Sql): Promise<Overdue[]> {
  const [known] = await sql<{ exists: boolean }[]>`
    select to_regprocedure('etl.overdue_schedules()') is not null as exists`;
  if (!known!.exists) return [];
  return await sql<Overdue[]>`
    select schedule, etl.iso(due_at) as due_at from etl.overdue_schedules() order by due_at limit 20`;
}

const overdueText = ({ schedule, due_at }: Overdue) =>
  `schedule ${schedule} was due at ${due_at} and has made no run`;

function problemsOf({ queue, reactions }: Facts): string[] {
  const problems: string[] = [];
  if (queue.unstarted_seconds > UNSTARTED_SECONDS) {
    problems.push(
      `a run has had its place in its pool for ${queue.unstarted_seconds} s and no server has started it: is one with ETL_ROLE=all or worker running?`,
    );
  }
  if (reactions.oldest_run_end_seconds > UNCONSUMED_SECONDS) {
    problems.push(
      `etl_consumer is ${reactions.oldest_run_end_seconds} s behind: ${reactions.run_ends} ended runs wait for it`,
    );
  }
  return problems;
}

function warningsOf(facts: Facts): string[] {
  const { last_run: lastRun, open_alerts: open, channels, failed_exports, maintenance } = facts;
  const warnings: string[] = [];
  if (maintenance?.state === "failed") {
    warnings.push(`the last maintenance failed: ${maintenance.error}`);
  }
  if (lastRun?.state === "failed") warnings.push(`the last run failed: ${lastRun.run_id}`);
  for (const { consumer, oldest_seconds, deliveries } of facts.reactions.late_consumers) {
    warnings.push(
      `consumer ${consumer} is late: the oldest of its ${deliveries} pending events waits for ${oldest_seconds} s`,
    );
  }
  if (open > 0) warnings.push(say("alerts-open", { n: open }));
  for (const channel of facts.vanished_channels) {
    warnings.push(
      `no server sends alerts to ${channel} any more, where messages went within the last 7 days: is its variable missing?`,
    );
  }
  for (const { channel, failing_since, failures, last_error } of channels) {
    if (failing_since === null) continue;
    warnings.push(
      say("channel-failing", {
        channel,
        at: failing_since,
        n: failures,
        error: String(last_error),
      }),
    );
  }
  for (const { target, runs, last_error } of failed_exports) {
    warnings.push(say("exports-failing", { n: runs, target, error: String(last_error) }));
  }
  return warnings;
}
