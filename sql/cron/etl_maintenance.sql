-- Asks for etl_maintenance, which a server carries out.
select cron.schedule('etl_maintenance', '@weekly', $$select etl.request_maintenance(options => '{"trigger": "schedule"}')$$);
