import type { Sql } from "./database.ts";

/** A run as a point of the history charts. */
export interface HistoryPoint {
  run_id: string;
  run_label: string;
  status: string;
  dry_run: boolean;
  replay: boolean;
  ratio: number | null;
  min_acceptance_ratio: number | null;
  low_ratio: boolean;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  deleted: number;
  marked: number;
  duration_ms: number | null;
  created_at: string;
}

export interface PoolUse {
  pool: string;
  slots: number;
  running: number;
  waiting: number;
}

export interface AlertView {
  alert_id: number;
  kind: string;
  severity: string;
  message: string;
  run_id: string | null;
  run_label: string | null;
  created_at: string;
}

/** Columns of HistoryPoint, as one JSON object. */
function pointJson(sql: Sql) {
  return sql`jsonb_build_object('run_id', m.run_id, 'run_label', m.run_label, 'status', m.status,
    'dry_run', m.dry_run, 'replay', m.replay_of is not null, 'ratio', m.ratio,
    'min_acceptance_ratio', m.min_acceptance_ratio, 'low_ratio', m.low_ratio,
    'inserted', m.inserted, 'updated', m.updated, 'unchanged', m.unchanged, 'rejected', m.rejected,
    'deleted', m.deleted, 'marked', m.marked,
    'duration_ms', m.duration_ms, 'created_at', etl.iso(m.created_at))`;
}

/** The newest runs that have ended, oldest first, as points of charts. */
export async function historyPoints(sql: Sql, limit: number): Promise<HistoryPoint[]> {
  const rows = await sql<{ point: HistoryPoint }[]>`
    select ${pointJson(sql)} as point from public.etl_improved_metrics as m
    order by m.created_at desc, m.run_id desc limit ${limit}`;
  return rows.map((row) => row.point).reverse();
}

/** The same for each of these labels, in one statement; a label without runs is not there. */
export async function pointsOfLabels(
  sql: Sql,
  labels: string[],
  limit: number,
): Promise<Map<string, HistoryPoint[]>> {
  const rows = await sql<{ label: string; points: HistoryPoint[] }[]>`
    select l.label, jsonb_agg(n.point order by n.created_at, n.run_id) as points
    from unnest(${labels}::text[]) as l (label) cross join lateral (
      select m.created_at, m.run_id, ${
    pointJson(sql)
  } as point from public.etl_improved_metrics as m
      where m.run_label = l.label order by m.created_at desc, m.run_id desc limit ${limit}) as n
    group by l.label`;
  return new Map(rows.map(({ label, points }) => [label, points]));
}

/** Pools with how many runs have a place and how many wait for one. */
export async function poolUse(sql: Sql): Promise<PoolUse[]> {
  return await sql<PoolUse[]>`
    select p.pool, etl.pool_slots(p) as slots,
      count(r.run_id) filter (where r.admitted_at is not null)::integer as running,
      count(r.run_id) filter (where r.admitted_at is null)::integer as waiting
    from etl.pools as p
    left join etl.runs as r on r.pool = p.pool and r.state in ('queued', 'running')
    group by p.pool order by p.pool`;
}

/** The newest alerts. */
export async function recentAlerts(
  sql: Sql,
  { limit }: { limit: number },
): Promise<AlertView[]> {
  const rows = await sql<{ alert: AlertView }[]>`
    select jsonb_build_object('alert_id', alert_id, 'kind', kind, 'severity', severity,
      'message', message, 'run_id', run_id, 'run_label', run_label, 'created_at', etl.iso(created_at)) as alert
    from public.etl_improved_alerts order by created_at desc, alert_id desc limit ${limit}`;
  return rows.map((row) => row.alert);
}

/** Every run label, found by jumps through the index: as fast with many runs as with few. */
export async function runLabels(sql: Sql, { limit }: { limit: number }): Promise<string[]> {
  const rows = await sql<{ run_label: string }[]>`
    with recursive labels as (
      (select run_label, 1 as n from etl.runs order by run_label limit 1)
      union all
      select (select r.run_label from etl.runs as r where r.run_label > l.run_label order by r.run_label limit 1), l.n + 1
      from labels as l where l.run_label is not null and l.n < ${limit}
    )
    select run_label from labels where run_label is not null`;
  return rows.map((row) => row.run_label);
}
