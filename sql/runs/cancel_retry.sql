-- Cancel and retry.

-- Asks for a run to be cancelled; a server does it after the commit, so that whoever asks holds nothing up.
-- Answers the state that the run is in; null where there is none.
create or replace function etl.cancel_run(run_id uuid, actor text default session_user) returns text
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
begin
  select * into run from etl.runs as r where r.run_id = cancel_run.run_id;
  if run.state in ('queued', 'running') and run.cancel_requested_at is null then
    insert into etl.cancel_requests (run_id, requested_by) values (cancel_run.run_id, actor);
    perform etl.wake('requests');
  end if;
  return run.state;
end $$;
comment on function etl.cancel_run(uuid, text) is 'asks for a run to be cancelled; it is within seconds';

-- Cancels what etl.cancel_run() was asked for: a waiting run at once, a running one by asking its server to stop. A run
-- whose row somebody has locked is left for the next time, unless it is the only one that is asked about.
create or replace function etl.apply_cancels(only_run uuid default null) returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  asked etl.cancel_requests;
  run etl.runs;
  applied integer := 0;
begin
  for asked in
    select c.* from etl.cancel_requests as c where only_run is null or c.run_id = only_run order by c.request_no for update skip locked
  loop
    if only_run is null then
      select * into run from etl.runs as r where r.run_id = asked.run_id for no key update skip locked;
      continue when not found and exists (select from etl.runs as r where r.run_id = asked.run_id);
    else
      select * into run from etl.runs as r where r.run_id = asked.run_id for no key update;
    end if;
    delete from etl.cancel_requests as c where c.request_no = asked.request_no;
    continue when coalesce(run.state, 'gone') not in ('queued', 'running') or run.cancel_requested_at is not null;
    if run.state = 'running' or run.attempt > 0 then
      update etl.runs as r set cancel_requested_at = asked.requested_at, cancel_requested_by = asked.requested_by
        where r.run_id = run.run_id;
      perform etl.audit(run, 'cancel_requested', asked.requested_by);
      if run.state = 'queued' then
        -- it has been running before: what it has done is counted
        perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'cancelled', 'error',
          jsonb_build_object('type', '/api/problems/cancelled', 'title', 'Cancelled', 'status', 409, 'detail', 'The run was cancelled.')));
      end if;
    else
      update etl.runs as r set state = 'cancelled', ended_at = clock_timestamp(), cancel_requested_at = asked.requested_at,
        cancel_requested_by = asked.requested_by where r.run_id = run.run_id returning * into run;
      perform etl.audit(run, 'cancelled', asked.requested_by);
      perform etl.record_metrics(run, '{}');
      perform etl.wake('run_ends');
      perform etl.wake('requests');
    end if;
    applied := applied + 1;
  end loop;
  return applied;
end $$;
comment on function etl.apply_cancels(uuid) is 'cancels the runs whose cancellation was asked for; answers how many';

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
    cancel_requested_by = null, error = null, attempt_base = r.attempt, comes_back = true, deaths = 0, deaths_spared = 0, next_attempt_at = '-infinity', outage_since = null, server_id = null
    where r.run_id = retry_run.run_id returning * into run;
  perform etl.audit(run, 'retry_requested', actor);
  perform etl.wake('requests');
  return 'queued';
end $$;
comment on function etl.retry_run(uuid, text) is 'takes a failed or cancelled run up where it stopped';
