import type { Sql } from "./database.ts";

/** The newest run with a ratio; null where there is none. */
export async function latestMetrics(sql: Sql): Promise<Record<string, unknown> | null> {
  const [row] = await sql<{ metrics: Record<string, unknown> }[]>`
    select to_jsonb(m) || jsonb_build_object('created_at', etl.iso(m.created_at),
      'requested_at', etl.iso(m.requested_at), 'started_at', etl.iso(m.started_at)) as metrics
    from public.v_etl_latest_metrics as m`;
  return row?.metrics ?? null;
}
