-- Gives every admitted run that no job stands for a job, and every pool with room its waiting runs:
-- for runs asked for before a server ever started, and for whatever a crash left between two steps.
create or replace function etl.recover_runs() returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  recovered integer := 0;
  orphan uuid;
  waiting text;
begin
  if to_regclass('pgboss.job') is null or not pg_try_advisory_xact_lock(hashtextextended('etl recover_runs', 0)) then
    return 0;
  end if;
  for orphan in
    select r.run_id from etl.runs as r
    where r.admitted_at is not null and r.admitted_at < clock_timestamp() - interval '2 seconds'
      and (r.state = 'queued' or r.state = 'running' and not etl.is_alive(r))
      and not exists (
        select from pgboss.job as j
        where j.name = 'etl_run' and j.state in ('created', 'retry', 'active') and j.data ->> 'run_id' = r.run_id::text)
    order by r.admitted_at
  loop
    perform etl.enqueue('etl_run', jsonb_build_object('run_id', orphan));
    recovered := recovered + 1;
  end loop;
  for waiting in
    select distinct r.pool from etl.runs as r where r.state = 'queued' and r.admitted_at is null
  loop
    recovered := recovered + etl.admit(waiting);
  end loop;
  return recovered;
end $$;
