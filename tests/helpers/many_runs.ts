import type { Queryable } from "../../store/pg.ts";

/**
 * Puts 100,000 runs of 60 labels into the database, most of them of one label that runs every few minutes and always
 * fails: "busy". The others are "label 1" … "label 59".
 */
export async function seedManyRuns(client: Queryable, count = 100_000): Promise<void> {
  await client.query(
    `with made as (
      select gen_random_uuid() as run_id, case when n % 4 = 0 then 'label ' || 1 + n / 4 % 59 else 'busy' end as label,
        case when n % 4 > 0 or n % 28 = 0 then 'failed' else 'succeeded' end as state,
        now() - n * interval '3 minutes' as at, n from generate_series(1, $1::integer) as n)
    insert into etl.runs (run_id, run_label, state, attempt, conf, params, origins, schema_name, table_name, audit_table_name,
      dry_run, pool, overlap, requested_at, admitted_at, started_at, ended_at, accepted_at, worked_ms, total_rows, counts, error)
    select m.run_id, m.label, m.state, 1, '{}', '{}', '{}', 'public', 'etl_improved_events', 'etl_improved_audit', false,
      'default_pool', 'queue', m.at, m.at, m.at, m.at + interval '2 seconds', m.at, 1000 + n % 900, n % 5000, '{}',
      case m.state when 'failed' then '{"type":"internal","detail":"broken"}'::jsonb end
    from made as m`,
    [count],
  );
  await client.query("analyze etl.runs");
}
