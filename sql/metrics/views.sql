-- Averages and daily figures leave out dry runs, replays and runs without a ratio.
-- Each view has the original's columns first, in its order.
create or replace view public.v_etl_latest_metrics as
select run_label, total_rows, expected_rows, ratio, num_chunks, dry_run, at,
  id, run_id, status, min_acceptance_ratio, low_ratio, replay_of, inserted, updated, unchanged, rejected, duplicates, filtered, extra,
  schema_name, table_name, duration_ms, stages, attempt, requested_at, started_at, created_at, waited_ms, deleted, marked
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

-- Computes the days anew that have changed since the last time, so that its cost follows what has changed and not what
-- there is.
create or replace function etl.refresh_daily() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set enable_seqscan = off set jit = off as $$
declare
  days date[];
begin
  -- of two at once the second would write what the first has seen later
  perform pg_advisory_xact_lock(hashtextextended('etl daily figures', 0));
  with gone as (delete from etl.days_changed where of = 'metrics' returning day)
  select array_agg(distinct g.day) into days from gone as g;
  if days is not null then
    delete from etl.metrics_daily as d where d.day = any (days);
    insert into etl.metrics_daily
    select c.day, m.*
    from unnest(days) as c (day) cross join lateral (
      select
        -- the original's columns, in its order; dry runs are counted, and in no other figure
        count(*) as num_runs,
        coalesce(sum(total_rows) filter (where not dry_run), 0)::bigint as total_rows_sum,
        (avg(total_rows) filter (where not dry_run))::double precision as total_rows_avg,
        coalesce(sum(expected_rows) filter (where not dry_run), 0)::bigint as expected_rows_sum,
        (avg(expected_rows) filter (where not dry_run))::double precision as expected_rows_avg,
        avg(ratio) filter (where not dry_run) as ratio_avg,
        min(ratio) filter (where not dry_run) as ratio_min,
        max(ratio) filter (where not dry_run) as ratio_max,
        count(*) filter (where low_ratio and not dry_run) as low_ratio_count,
        count(*) filter (where dry_run) as dry_run_count,
        coalesce(sum(num_chunks) filter (where not dry_run), 0)::bigint as chunks_sum,
        max(created_at) as last_run_at,
        -- ours
        count(*) filter (where not dry_run) as runs,
        coalesce(sum(total_rows) filter (where not dry_run), 0)::bigint as total_rows
      from public.etl_improved_metrics
      where replay_of is null and ratio is not null
        and created_at >= c.day::timestamp at time zone 'UTC' and created_at < (c.day + 1)::timestamp at time zone 'UTC') as m
    where m.num_runs > 0;
  end if;
  with gone as (delete from etl.days_changed where of = 'alerts' returning day)
  select array_agg(distinct g.day) into days from gone as g;
  if days is not null then
    delete from etl.alerts_daily as d where d.day = any (days);
    insert into etl.alerts_daily
    select c.day, a.*
    from unnest(days) as c (day) cross join lateral (
      select kind, count(*), max(created_at) from public.etl_improved_alerts
      where created_at >= c.day::timestamp at time zone 'UTC' and created_at < (c.day + 1)::timestamp at time zone 'UTC'
      group by kind) as a;
  end if;
end $$;
comment on function etl.refresh_daily() is 'computes the figures of the days anew that have changed';

-- views that are made now show what there is
do $$
begin
  if to_regclass('public.mv_etl_metrics_daily') is null or to_regclass('public.mv_etl_alerts_daily') is null then
    perform etl.recount_days();
    perform etl.refresh_daily();
  end if;
end $$;

create materialized view if not exists public.mv_etl_metrics_daily as
select day, num_runs, total_rows_sum, total_rows_avg, expected_rows_sum, expected_rows_avg, ratio_avg, ratio_min, ratio_max,
  low_ratio_count, dry_run_count, chunks_sum, last_run_at, runs, total_rows
from etl.metrics_daily;
create unique index if not exists mv_etl_metrics_daily_day on public.mv_etl_metrics_daily (day);

create materialized view if not exists public.mv_etl_alerts_daily as
select day, kind, alert_count, last_alert_at, alert_count as alerts
from etl.alerts_daily;
create unique index if not exists mv_etl_alerts_daily_day_kind on public.mv_etl_alerts_daily (day, kind);

create or replace function public.refresh_etl_mvs() returns void
-- only the owner of a materialized view may refresh it
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform etl.refresh_daily();
  refresh materialized view concurrently public.mv_etl_metrics_daily;
  refresh materialized view concurrently public.mv_etl_alerts_daily;
  update etl.view_refresh set refreshed_at = clock_timestamp();
end $$;
comment on function public.refresh_etl_mvs() is 'refreshes the daily views without locking their readers out';
