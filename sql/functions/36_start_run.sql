-- Whether the attempt that runs has given a sign of life in the last seconds; its server gives one every half second.
create or replace function etl.is_alive(run etl.runs) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(run.seen_at > clock_timestamp() - interval '4 seconds', false)
$$;

-- Ends the transactions that attempts of a run have open (their servers are dead, replaced or to be stopped) and waits
-- until they are committed or rolled back, 2 s at most.
create or replace function etl.end_backends(run_id uuid) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  for i in 1..40 loop
    perform pg_stat_clear_snapshot();
    perform pg_terminate_backend(a.pid) from pg_stat_activity as a
    where a.application_name like format('etl-run %s %%', run_id) and a.datname = current_database()
      and a.pid <> pg_backend_pid();
    exit when not found;
    perform pg_sleep(0.05);
  end loop;
exception when insufficient_privilege then
  null;
end $$;

-- A server takes a run up: a new attempt, which fences every earlier one out.
-- Null where there is nothing to do: ended, not admitted, or its attempt has given a sign of life just now (the queue
-- delivered it twice). A run whose attempts are used up fails here.
create or replace function etl.start_run(run_id uuid, server_id text, max_attempts integer) returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
begin
  select * into run from etl.runs as r where r.run_id = start_run.run_id for update;
  if not found or run.state not in ('queued', 'running') or run.admitted_at is null then
    return;
  end if;
  if run.state = 'running' and etl.is_alive(run) then
    return;
  end if;
  if run.attempt - run.attempt_base >= max_attempts then
    perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'failed', 'error', jsonb_build_object(
      'type', '/api/problems/attempts-exhausted', 'title', 'The attempts are used up', 'status', 500,
      'detail', format('The run was started %s times and never ended. The last problem: %s Retry it when the cause is gone.',
        run.attempt - run.attempt_base, coalesce(run.error ->> 'detail', 'its server stopped without a word.')))));
    return;
  end if;
  if run.attempt > 0 then
    -- what an earlier attempt still has open could hold locks that this one needs
    perform etl.end_backends(run.run_id);
  end if;
  update etl.runs as r set state = 'running', attempt = r.attempt + 1, server_id = start_run.server_id,
    seen_at = clock_timestamp(), started_at = coalesce(r.started_at, clock_timestamp())
    where r.run_id = start_run.run_id returning * into run;
  insert into etl.stages (run_id, stage, state)
  select run.run_id, s, 'pending' from unnest(array['extract', 'transform', 'chunk', 'validate', 'ge_validate', 'load', 'finalize']) as s
  on conflict do nothing;
  return next run;
end $$;
