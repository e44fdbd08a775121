-- Averages and daily figures leave out dry runs, replays and runs without a ratio.
-- Each view has the original's columns first, in its order.
create or replace view public.v_etl_latest_metrics as
select run_label, total_rows, expected_rows, ratio, num_chunks, dry_run, at,
  id, run_id, status, min_acceptance_ratio, low_ratio, replay_of, inserted, updated, unchanged, rejected, duplicates, filtered, extra,
  schema_name, table_name, duration_ms, stages, attempt, requested_at, started_at, created_at
from public.etl_improved_metrics
where ratio is not null
order by created_at desc, run_id desc
limit 1;
comment on view public.v_etl_latest_metrics is 'the newest run with a ratio, dry runs included';

create or replace view public.v_etl_recent_alerts as
select kind, message, run_label, ratio, at,
  alert_id, severity, run_id, fingerprint, details, suppressed, resolved_at, created_at, avg_ratio, threshold_pct
from public.etl_improved_alerts
where created_at > now() - interval '24 hours'
order by created_at desc, alert_id desc
limit 50;
comment on view public.v_etl_recent_alerts is 'the newest alerts of the last 24 hours, 50 at most';

create materialized view if not exists public.mv_etl_metrics_daily as
select
  (created_at at time zone 'UTC')::date as day,
  -- the original's columns, in its order; dry runs are counted, and in no other figure
  count(*) as num_runs,
  (sum(total_rows) filter (where not dry_run))::bigint as total_rows_sum,
  (avg(total_rows) filter (where not dry_run))::double precision as total_rows_avg,
  (sum(expected_rows) filter (where not dry_run))::bigint as expected_rows_sum,
  (avg(expected_rows) filter (where not dry_run))::double precision as expected_rows_avg,
  avg(ratio) filter (where not dry_run) as ratio_avg,
  min(ratio) filter (where not dry_run) as ratio_min,
  max(ratio) filter (where not dry_run) as ratio_max,
  count(*) filter (where low_ratio and not dry_run) as low_ratio_count,
  count(*) filter (where dry_run) as dry_run_count,
  (sum(num_chunks) filter (where not dry_run))::bigint as chunks_sum,
  max(created_at) as last_run_at,
  -- ours
  count(*) filter (where not dry_run) as runs,
  (sum(total_rows) filter (where not dry_run))::bigint as total_rows
from public.etl_improved_metrics
where replay_of is null and ratio is not null
group by 1
having count(*) filter (where not dry_run) > 0;
create unique index if not exists mv_etl_metrics_daily_day on public.mv_etl_metrics_daily (day);

create materialized view if not exists public.mv_etl_alerts_daily as
select
  (created_at at time zone 'UTC')::date as day,
  kind,
  count(*) as alert_count,
  max(created_at) as last_alert_at,
  count(*) as alerts
from public.etl_improved_alerts
group by 1, 2;
create unique index if not exists mv_etl_alerts_daily_day_kind on public.mv_etl_alerts_daily (day, kind);

create or replace function public.refresh_etl_mvs() returns void
-- only the owner of a materialized view may refresh it
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  refresh materialized view concurrently public.mv_etl_metrics_daily;
  refresh materialized view concurrently public.mv_etl_alerts_daily;
  update etl.view_refresh set refreshed_at = clock_timestamp();
end $$;
comment on function public.refresh_etl_mvs() is 'refreshes the daily views without locking their readers out';
