import type { METRIC_COUNTERS } from "../vocabulary/words.ts";
import type { Sql } from "./database.ts";

/** A row of etl_improved_metrics, of any schema, as the API shows it; times are ISO 8601 in UTC. */
export interface MetricsRow extends Record<(typeof METRIC_COUNTERS)[number], number> {
  run_id: string;
  run_label: string;
  status: string;
  total_rows: number | null;
  expected_rows: number | null;
  ratio: number | null;
  min_acceptance_ratio: number | null;
  low_ratio: boolean;
  num_chunks: number | null;
  dry_run: boolean;
  replay_of: string | null;
  schema_name: string | null;
  table_name: string | null;
  /** What attempts worked on it. */
  duration_ms: number | null;
  /** What lay before, between and after them; null where a run of version 0.1.0 ended. */
  waited_ms: number | null;
  stages: Record<string, unknown>;
  attempt: number;
  requested_at: string | null;
  started_at: string | null;
  created_at: string;
  /** Deadlines that the run missed: run, or names of stages. */
  sla_missed: string[];
}

function rowJson(sql: Sql) {
  return sql`to_jsonb(m) - array['id', 'at'] || jsonb_build_object('created_at', etl.iso(m.created_at),
    'requested_at', etl.iso(m.requested_at), 'started_at', etl.iso(m.started_at),
    'sla_missed', coalesce((select jsonb_agg(d.scope order by d.deadline_at) from etl.deadlines as d
      where d.run_id = m.run_id and d.missed_at is not null), '[]'))`;
}

/** The newest run with a ratio, dry runs included; null where there is none. */
export async function latestMetrics(sql: Sql): Promise<MetricsRow | null> {
  const [row] = await sql<{ metrics: MetricsRow }[]>`
    select ${rowJson(sql)} as metrics from public.v_etl_latest_metrics as m`;
  return row?.metrics ?? null;
}

export interface HistoryFilter {
  limit: number;
  /** ISO 8601; from here on. */
  start?: string | undefined;
  /** ISO 8601; up to this millisecond, included. */
  end?: string | undefined;
  runLabel?: string | undefined;
  dryRun?: boolean | undefined;
  status?: string | undefined;
  /** The position of the last row of the page before. */
  before?: { createdAt: string; runId: string } | undefined;
}

/** Metrics of all schemas, newest first; `position` is where the next page begins. */
export async function metricsHistory(
  sql: Sql,
  filter: HistoryFilter,
): Promise<{ metrics: MetricsRow; position: string }[]> {
  const { limit, start, end, runLabel, dryRun, status, before } = filter;
  const when = (value: unknown, condition: ReturnType<Sql>) =>
    value === undefined ? sql`` : condition;
  return await sql<{ metrics: MetricsRow; position: string }[]>`
    select ${rowJson(sql)} as metrics, m.created_at::text as position
    from (
      select * from public.etl_improved_metrics
      where true
        ${when(start, sql`and created_at >= ${start!}::text::timestamptz`)}
        ${when(end, sql`and created_at < ${end!}::text::timestamptz + interval '1 millisecond'`)}
        ${when(runLabel, sql`and run_label = ${runLabel!}`)}
        ${dryRun === undefined ? sql`` : dryRun ? sql`and dry_run` : sql`and not dry_run`}
        ${when(status, sql`and status = ${status!}`)}
        ${
    before === undefined ? sql`` : sql`and (created_at, run_id) <
      (${before.createdAt}::text::timestamptz, ${before.runId}::uuid)`
  }
      order by created_at desc, run_id desc
      limit ${limit}) as m
    order by m.created_at desc, m.run_id desc`;
}

/** What GET /api/etl/metrics shows of the database. */
export interface Scrape {
  latest: {
    total_rows: number | null;
    expected_rows: number | null;
    ratio: number;
    num_chunks: number | null;
    dry_run: boolean;
    age_seconds: number;
  } | null;
  daily: {
    day: string;
    runs: number;
    total_rows: number | null;
    ratio_avg: number;
    low_ratio_count: number;
  }[];
  /** Alerts of the last 24 h by kind. */
  alerts: Record<string, number>;
  totals: { runs: number; low_ratio_runs: number; ratio_avg: number | null };
  pools: { pool: string; slots: number; active: number; waiting: number }[];
  /** Runs that servers execute, or could if there were more of them. */
  runnable_runs: number;
  /** Seconds since 1970. */
  last_success: number | null;
  pending: { run_ends: number; notifications: number; deliveries: number; exports: number };
  views_refreshed: number | null;
}

/** One cheap query, whatever the history holds. */
export async function scrape(sql: Sql): Promise<Scrape> {
  const [row] = await sql<{ scrape: Scrape }[]>`select etl.scrape() as scrape`;
  return row!.scrape;
}
