-- Refreshes the daily views, as every ended run does: so that they are fresh while no server is up, too.
select cron.schedule('etl_refresh_mvs', '*/15 * * * *', $$select public.refresh_etl_mvs()$$);
