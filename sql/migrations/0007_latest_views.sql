-- The views of the newest run and alerts are made again with the original's columns first.
drop view if exists public.v_etl_latest_metrics;
drop view if exists public.v_etl_recent_alerts;
