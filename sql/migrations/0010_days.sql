-- The daily views are made again on figures that are kept by the day.
drop materialized view if exists public.mv_etl_metrics_daily;
drop materialized view if exists public.mv_etl_alerts_daily;
