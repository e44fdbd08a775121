-- Whether the attempt that runs has given a sign of life in the last seconds; its server gives one every half second.
-- Anybody may take up a run that is not alive. While PostgreSQL was away nobody could give one.
create or replace function etl.is_alive(run etl.runs) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(greatest(run.seen_at, pg_postmaster_start_time()) > clock_timestamp() - interval '6 seconds', false)
$$;

-- Ends the transactions that bear a name (a pattern of LIKE: those whose servers are dead, replaced or to be stopped) and
-- waits until they are committed or rolled back, 2 s at most.
create or replace function etl.end_backends(name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  for i in 1..40 loop
    perform pg_stat_clear_snapshot();
    perform pg_terminate_backend(a.pid) from pg_stat_activity as a
    where a.application_name like end_backends.name and a.datname = current_database()
      and a.pid <> pg_backend_pid();
    exit when not found;
    perform pg_sleep(0.05);
  end loop;
exception when insufficient_privilege then
  null;
end $$;

-- A server takes a run up: a new attempt, which fences every earlier one out.
-- Null where there is nothing to do: ended, not admitted, or its attempt has given a sign of life just now. A run whose attempts are used up fails here.
create or replace function etl.start_run(run_id uuid, server_id text, max_attempts integer) returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
begin
  select * into run from etl.runs as r where r.run_id = start_run.run_id for no key update;
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
    perform etl.end_backends(format('etl-run %s %%', run.run_id));
  end if;
  update etl.runs as r set state = 'running', attempt = r.attempt + 1, server_id = start_run.server_id,
    seen_at = clock_timestamp(), started_at = coalesce(r.started_at, clock_timestamp())
    where r.run_id = start_run.run_id returning * into run;
  insert into etl.stages (run_id, stage, state)
  select run.run_id, s, 'pending' from unnest(array['extract', 'transform', 'chunk', 'validate', 'ge_validate', 'load', 'finalize']) as s
  on conflict do nothing;
  return next run;
end $$;

-- Takes up the run that has had its slot for longest and that nobody executes; none where there is none. A run that waits
-- for the process that asked for it, which may be the only one with its files, is left to it for 10 s.
create or replace function etl.claim_run(server_id text, max_attempts integer) returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  chosen uuid;
begin
  loop
    select r.run_id into chosen from etl.runs as r
    where r.admitted_at is not null and (r.state = 'queued' and r.next_attempt_at <= clock_timestamp()
        and (r.server_id is null or r.server_id = claim_run.server_id or r.admitted_at < clock_timestamp() - interval '10 seconds')
      or r.state = 'running' and not etl.is_alive(r))
    order by r.admitted_at limit 1 for no key update skip locked;
    exit when not found;
    -- one whose attempts are used up has just ended
    return query select * from etl.start_run(chosen, server_id, max_attempts);
    exit when found;
  end loop;
end $$;
comment on function etl.claim_run(text, integer) is 'takes up an admitted run that nobody executes, as a new attempt';
