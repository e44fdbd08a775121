-- Everything that a Prometheus scrape shows of the database, from indexes, daily views and kept sums:
-- its cost does not depend on how much history there is.
create or replace function etl.scrape() returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
begin
  return jsonb_build_object(
    'latest', (select jsonb_build_object('total_rows', m.total_rows, 'expected_rows', m.expected_rows, 'ratio', m.ratio,
        'num_chunks', m.num_chunks, 'dry_run', m.dry_run, 'age_seconds', extract(epoch from clock_timestamp() - m.created_at))
      from public.v_etl_latest_metrics as m),
    'daily', coalesce((select jsonb_agg(jsonb_build_object('day', d.day, 'runs', d.runs, 'total_rows', d.total_rows,
        'ratio_avg', d.ratio_avg, 'low_ratio_count', d.low_ratio_count) order by d.day)
      from public.mv_etl_metrics_daily as d where d.day > (now() at time zone 'UTC')::date - 7), '[]'),
    'alerts', coalesce((select jsonb_object_agg(a.kind, a.alerts) from (
      select k.kind, count(*) as alerts from public.etl_improved_alerts as k
      where k.created_at > now() - interval '24 hours' group by k.kind) as a), '{}'),
    'totals', (select jsonb_build_object('runs', sum(t.runs), 'low_ratio_runs', sum(t.low_ratio_runs),
        'ratio_avg', case when sum(t.ratio_runs) > 0 then sum(t.ratio_sum) / sum(t.ratio_runs) end)
      from (select runs, low_ratio_runs, ratio_runs, ratio_sum from etl.metrics_totals
        union all select runs, low_ratio_runs, ratio_runs, ratio_sum from etl.totals) as t),
    'pools', coalesce((select jsonb_agg(jsonb_build_object('pool', p.pool, 'slots', p.slots,
        'active', (select count(*) from etl.runs as r where r.pool = p.pool and r.admitted_at is not null and r.state in ('queued', 'running')),
        'waiting', (select count(*) from etl.runs as r where r.pool = p.pool and r.state = 'queued' and r.admitted_at is null)))
      from etl.pools as p), '[]'),
    'last_success', (select extract(epoch from m.created_at) from public.etl_improved_metrics as m
      where m.status = 'succeeded' and not m.dry_run order by m.created_at desc limit 1),
    'pending', jsonb_build_object(
      'run_ends', (select count(*) from etl.run_ends as e where e.consumed_at is null),
      'notifications', (select count(*) from etl.notifications as n where n.state = 'pending'),
      'deliveries', (select count(*) from etl.deliveries as d where d.state = 'pending'),
      'exports', (select count(*) from etl.exports as x where x.state = 'pending')),
    'views_refreshed', (select extract(epoch from v.refreshed_at) from etl.view_refresh as v));
end $$;
comment on function etl.scrape() is 'what GET /api/etl/metrics shows of the database, in one cheap query';
