import type { Sql } from "./database.ts";

export interface DatabaseHealth {
  /** In words, what keeps the database from serving. */
  problems: string[];
  facts: Record<string, unknown>;
}

const RELATIONS = [
  "etl.runs",
  "pgboss.job",
  "public.etl_improved_events",
  "public.etl_improved_audit",
  "public.etl_improved_metrics",
  "public.etl_improved_alerts",
  "public.mv_etl_metrics_daily",
  "public.mv_etl_alerts_daily",
  "public.v_etl_latest_metrics",
  "public.v_etl_recent_alerts",
];

/** Connectivity, tables, views, last run and its age, queue. Throws when the database is out of reach. */
export async function databaseHealth(sql: Sql): Promise<DatabaseHealth> {
  const missing = await sql<{ name: string }[]>`
    select name from unnest(${RELATIONS}::text[]) as name where to_regclass(name) is null`;
  if (missing.length > 0) {
    return {
      problems: [
        `missing: ${missing.map((row) => row.name).join(", ")}; run \`deno task setup-db\``,
      ],
      facts: {},
    };
  }
  const [row] = await sql<{ facts: Record<string, unknown> }[]>`
    select jsonb_build_object(
      'last_run', (select jsonb_build_object('run_id', run_id, 'state', state, 'run_label', run_label,
          'requested_at', etl.iso(requested_at),
          'age_seconds', round(extract(epoch from clock_timestamp() - coalesce(ended_at, requested_at))::numeric, 1))
        from etl.runs order by requested_at desc, run_id desc limit 1),
      'queue', (select jsonb_build_object('waiting', count(*) filter (where state = 'queued'),
          'running', count(*) filter (where state = 'running'),
          'oldest_waiting_seconds', coalesce(round(extract(epoch from clock_timestamp() - min(requested_at)
            filter (where state = 'queued'))::numeric, 1), 0))
        from etl.runs where state in ('queued', 'running')),
      'pg_cron', exists (select from pg_extension where extname = 'pg_cron')) as facts`;
  return { problems: [], facts: row!.facts };
}
