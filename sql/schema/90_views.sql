-- Averages and daily figures leave out dry runs, replays and runs without a ratio.
create or replace view public.v_etl_latest_metrics as
select * from public.etl_improved_metrics
where ratio is not null
order by created_at desc, run_id desc
limit 1;
comment on view public.v_etl_latest_metrics is 'the newest run with a ratio, dry runs included';

create or replace view public.v_etl_recent_alerts as
select * from public.etl_improved_alerts
order by created_at desc, alert_id desc
limit 50;

create materialized view if not exists public.mv_etl_metrics_daily as
select
  (created_at at time zone 'UTC')::date as day,
  count(*) as runs,
  sum(total_rows)::bigint as total_rows,
  avg(ratio) as ratio_avg,
  min(ratio) as ratio_min,
  count(*) filter (where low_ratio) as low_ratio_count
from public.etl_improved_metrics
where not dry_run and replay_of is null and ratio is not null
group by 1;
create unique index if not exists mv_etl_metrics_daily_day on public.mv_etl_metrics_daily (day);

create materialized view if not exists public.mv_etl_alerts_daily as
select
  (created_at at time zone 'UTC')::date as day,
  kind,
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
