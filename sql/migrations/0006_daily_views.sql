-- The daily views are made again with the original's columns first.
drop materialized view if exists public.mv_etl_metrics_daily;
drop materialized view if exists public.mv_etl_alerts_daily;
