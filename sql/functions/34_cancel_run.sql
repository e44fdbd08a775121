-- Cancels a waiting run at once; asks the server of a running one to stop. Answers the state after.
create or replace function etl.cancel_run(run_id uuid, actor text default session_user) returns text
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
begin
  perform from etl.pools as p where p.pool = (select r.pool from etl.runs as r where r.run_id = cancel_run.run_id) for update;
  select * into run from etl.runs as r where r.run_id = cancel_run.run_id for update;
  if not found then return null; end if;
  if run.state = 'queued' and run.attempt > 0 then
    -- it has been running before: what it has done is counted
    update etl.runs as r set cancel_requested_at = clock_timestamp(), cancel_requested_by = actor
      where r.run_id = cancel_run.run_id;
    perform etl.audit(run, 'cancel_requested', actor);
    select * into run from etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'cancelled', 'error',
      jsonb_build_object('type', '/api/problems/cancelled', 'title', 'Cancelled', 'status', 409, 'detail', 'The run was cancelled.')));
  elsif run.state = 'queued' then
    update etl.runs as r set state = 'cancelled', ended_at = clock_timestamp(), cancel_requested_at = clock_timestamp(),
      cancel_requested_by = actor where r.run_id = cancel_run.run_id returning * into run;
    perform etl.audit(run, 'cancelled', actor);
    perform etl.record_metrics(run, '{}');
    perform etl.enqueue('etl_finished', jsonb_build_object('run_id', run.run_id));
    perform etl.admit(run.pool);
  elsif run.state = 'running' and run.cancel_requested_at is null then
    update etl.runs as r set cancel_requested_at = clock_timestamp(), cancel_requested_by = actor
      where r.run_id = cancel_run.run_id returning * into run;
    perform etl.audit(run, 'cancel_requested', actor);
  end if;
  return run.state;
end $$;
comment on function etl.cancel_run(uuid, text) is 'cancels a run; a running one stops within seconds';
