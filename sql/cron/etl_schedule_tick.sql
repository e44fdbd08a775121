-- Turns due slots of schedules into runs.
select cron.schedule('etl_schedule_tick', '* * * * *', $$select etl.tick_schedules()$$);
