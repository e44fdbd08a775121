-- Takes a failed or cancelled run up again where it stopped, with a new attempt. Answers the state after.
create or replace function etl.retry_run(run_id uuid, actor text default session_user) returns text
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  run etl.runs;
begin
  select * into run from etl.runs as r where r.run_id = retry_run.run_id for no key update;
  if not found then return null; end if;
  if run.state not in ('failed', 'cancelled') then
    perform etl.raise_problem('conflict',
      format('Run %s is %s; only a failed or cancelled run can be retried.', run.run_id, run.state), status => 409);
  end if;
  update etl.runs as r set state = 'queued', admitted_at = null, ended_at = null, cancel_requested_at = null,
    cancel_requested_by = null, error = null, attempt_base = r.attempt, next_attempt_at = '-infinity', server_id = null,
    accepted_at = coalesce(r.accepted_at, clock_timestamp())
    where r.run_id = retry_run.run_id returning * into run;
  perform etl.audit(run, 'retry_requested', actor);
  perform etl.wake('requests');
  return 'queued';
end $$;
comment on function etl.retry_run(uuid, text) is 'takes a failed or cancelled run up where it stopped';
