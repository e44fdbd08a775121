-- Waiting runs get a place in their pool, in order; a server claims them and starts attempts.

drop function if exists etl.turn_of(etl.runs);

-- A server that executes runs says every few seconds that it is there; one that has not for 20 s does not count.
create or replace function etl.prolong_server(server_id text, version text, run_slots integer) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  delete from etl.servers as s where s.seen_until < clock_timestamp() - interval '1 hour';
  insert into etl.servers as s (server_id, version, run_slots, seen_until)
  values (prolong_server.server_id, prolong_server.version, prolong_server.run_slots, clock_timestamp() + interval '20 seconds')
  on conflict on constraint servers_pkey do update set seen_until = excluded.seen_until
$$;

-- Runs of a pool that may go on at once, over all servers. A command that executes its own run is no server, and has slots.
create or replace function etl.pool_slots(pool etl.pools) returns integer
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case when not pool.per_server then pool.slots
    else pool.slots * greatest((select count(*) from etl.servers as s where s.seen_until > clock_timestamp()), 1)::integer end
$$;

-- Runs that servers execute or could: what waits for its label, its order, its time or the slots of a pool that more
-- servers would not add to does not count. Divided by the runs that a server executes at once, it is how many to have.
create or replace function etl.runnable_runs() returns integer
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  with active as materialized (
    select a.pool, a.run_id, a.run_label, a.cursor_key from etl.runs as a where a.admitted_at is not null and a.state in ('queued', 'running')
  ), ready as (
    select r.pool, count(distinct r.run_label) as runs from etl.runs as r
    where r.state = 'queued' and r.admitted_at is null and r.next_attempt_at <= clock_timestamp()
      and not exists (select from active as a where a.run_label = r.run_label or a.cursor_key = r.cursor_key)
    group by r.pool
  )
  select coalesce(sum(here.runs + case when p.per_server then least(coalesce(r.runs, 0), p.slots::bigint * 1000)
      else least(coalesce(r.runs, 0), greatest(p.slots - here.runs, 0)) end), 0)::integer
  from etl.pools as p left join ready as r on r.pool = p.pool,
    lateral (select count(*) as runs from active as a where a.pool = p.pool) as here
$$;
comment on function etl.runnable_runs() is 'what an autoscaler follows: runs that servers execute, or could if there were more of them';


-- Gives the free places of every pool to waiting runs; answers how many it gave. Servers call it after the commit of
-- what makes room or asks for it, in a transaction of its own. One admission happens at a time, which makes pools
-- exact on any number of servers, and it waits for nobody but other admissions: a run whose row a client has locked
-- is passed over. A run whose label is busy waits, as does one whose order_key is busy or has an earlier request. A run that waits for
-- the end of an outage has no place and keeps both busy. A run's turn is when it was asked for or its label had its last turn,
-- whichever is later, so that labels share a pool and nobody who asks later can keep on going first. A step of priority
-- counts as a minute of waiting, so that it shortens a wait and never lengthens another without bound.
create or replace function etl.admit_runs() returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  pool record;
  candidates uuid[];
  -- turns from here on may be of runs that are none of these; null where they are not
  horizon interval;
  chosen record;
  admitted integer := 0;
begin
  if not exists (select from etl.runs as r where r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null) then
    return 0;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl admission', 0));
  for pool in
    select p.pool, etl.pool_slots(p) - (select count(*) from etl.runs as r
      where r.pool = p.pool and r.admitted_at is not null and r.state in ('queued', 'running')) as free
    from etl.pools as p where (select true from etl.runs as r
      where r.pool = p.pool and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null limit 1)
    order by p.pool
  loop
    -- Mostly the first few runs have the next turns. Where they do not, their labels being busy or just served, every label is
    -- looked at by its first run, and so is every order: however many wait behind these, they are not read. (A min() might
    -- read them, as the plan is made when few wait.)
    for step in 1..2 loop
      exit when pool.free <= 0 or step = 2 and horizon is null;
      if step = 1 then
        select array_agg(near.run_id), case when count(*) = pool.free + 16 then max(near.turn) end into candidates, horizon from (
          select r.run_id, etl.first_turn(r.requested_at, r.priority) as turn from etl.runs as r
          where r.pool = pool.pool and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null
          order by etl.first_turn(r.requested_at, r.priority) limit pool.free + 16) as near;
      else
        with recursive label (name, first) as (
          (select r.run_label, r.run_id from etl.runs as r
            where r.pool = pool.pool and r.cursor_key is null and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null
            order by r.run_label, etl.first_turn(r.requested_at, r.priority), r.run_id limit 1)
          union all
          select next.* from label as l cross join lateral (select r.run_label, r.run_id from etl.runs as r where r.run_label > l.name
            and r.pool = pool.pool and r.cursor_key is null and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null
            order by r.run_label, etl.first_turn(r.requested_at, r.priority), r.run_id limit 1) as next
        ), key (name, first) as (
          (select r.cursor_key, r.run_id from etl.runs as r where r.cursor_key is not null and r.state = 'queued' and r.admitted_at is null
            order by r.cursor_key, r.requested_at, r.run_id limit 1)
          union all
          select next.* from key as k cross join lateral (select r.cursor_key, r.run_id from etl.runs as r
            where r.cursor_key > k.name and r.state = 'queued' and r.admitted_at is null
            order by r.cursor_key, r.requested_at, r.run_id limit 1) as next
        )
        select array_agg(looked_at.first), null into candidates, horizon from (
          select l.first from label as l union select k.first from key as k
          union (select r.run_id from etl.runs as r
            where r.pool = pool.pool and r.state = 'queued' and r.admitted_at is null and r.outage_since is not null
            order by r.run_label, r.outage_since)) as looked_at;
      end if;
      -- what earlier pools of this loop got is busy here
      for chosen in
        select * from (
          select first.*, greatest(first.turn_at_first, (select max(past.admitted_at) from etl.runs as past where past.run_label = first.run_label)
            - timestamptz '2000-01-01 00:00:00+00' - first.priority * interval '1 minute') as turn
          from (
            select distinct on (r.run_label) r.run_label, r.run_id, r.requested_at, r.next_attempt_at, r.priority,
              etl.first_turn(r.requested_at, r.priority) as turn_at_first
            from unnest(candidates) as c (run_id) cross join lateral (select * from etl.runs as k where k.run_id = c.run_id offset 0) as r
            where r.pool = pool.pool and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null
              -- one look each; the order says into which index
              and (select true from etl.runs as a where a.run_label = r.run_label and a.admitted_at is not null and a.state in ('queued', 'running')
                limit 1) is null
              and (select true from etl.runs as a where a.cursor_key = r.cursor_key and a.admitted_at is not null and a.state in ('queued', 'running')
                limit 1) is null
              and (select true from etl.runs as a where a.run_label = r.run_label and a.state = 'queued' and a.admitted_at is null
                and a.outage_since is not null and a.run_id <> r.run_id
                and (r.outage_since is null or (a.requested_at, a.run_id) < (r.requested_at, r.run_id)) order by a.outage_since limit 1) is null
              and (select true from etl.runs as a where a.cursor_key = r.cursor_key and a.state = 'queued' and a.admitted_at is null
                and a.outage_since is not null and a.run_id <> r.run_id
                and (r.outage_since is null or (a.requested_at, a.run_id) < (r.requested_at, r.run_id)) order by a.outage_since limit 1) is null
              and (r.cursor_key is null or r.outage_since is not null or (select true from etl.runs as e
                where e.cursor_key = r.cursor_key and e.state = 'queued' and e.admitted_at is null
                  and (e.requested_at, e.run_id) < (r.requested_at, r.run_id) limit 1) is null)
            order by r.run_label, etl.first_turn(r.requested_at, r.priority), r.run_id) as first) as ready
        where ready.next_attempt_at <= clock_timestamp() and (horizon is null or ready.turn < horizon)
        order by ready.turn, ready.requested_at, ready.run_id
      loop
        exit when pool.free <= 0;
        perform from etl.runs as r where r.run_id = chosen.run_id and r.state = 'queued' and r.admitted_at is null
          for no key update skip locked;
        continue when not found;
        update etl.runs as r set admitted_at = clock_timestamp() where r.run_id = chosen.run_id;
        pool.free := pool.free - 1;
        admitted := admitted + 1;
      end loop;
    end loop;
  end loop;
  if admitted > 0 then
    perform etl.wake('runs');
  end if;
  return admitted;
end $$;
comment on function etl.admit_runs() is 'gives free slots to waiting runs; answers how many';

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

-- Milliseconds that attempts worked on a run until a time; what lay before and between them is no part of it. Null for one
-- that never began.
create or replace function etl.worked_ms(run etl.runs, until timestamptz default clock_timestamp()) returns double precision
language sql stable
return case
    when run.attempt = 0 then null
    when run.state = 'running' then coalesce(run.worked_ms, 0)
      + greatest(0, extract(epoch from until - coalesce(run.attempt_started_at, run.started_at)) * 1000)
    else coalesce(run.worked_ms, extract(epoch from run.ended_at - run.started_at) * 1000) end;

-- Steps that the chunks of a run have made: prepared, published.
create or replace function etl.chunk_steps(run_id uuid) returns bigint
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select count(c.prepared_at) + count(c.published_at) from etl.chunks as c where c.run_id = chunk_steps.run_id
$$;

-- Whether a run has its server for itself: two servers in a row have died with it, and it has neither got on since nor
-- worked for 20 s.
create or replace function etl.runs_alone(run etl.runs) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select run.state = 'running' and run.deaths >= 2 and etl.is_alive(run)
    and run.attempt_started_at > clock_timestamp() - interval '20 seconds' and etl.chunk_steps(run.run_id) <= run.steps_at_death
$$;

-- Notes that the server of a run has died without a word, and decides whom that is put down to. No attempt of the run's
-- where it had got on since the last time, or where other runs died with it; those that it was spared count after all
-- once it has taken a server with it alone. For run.state = 'running', with its row locked.
create or replace function etl.note_death(run etl.runs) returns etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  steps bigint := etl.chunk_steps(run.run_id);
  got_on boolean := steps > run.steps_at_death;
  companions bigint;
  spared boolean;
  said text;
begin
  select count(*) into companions from etl.runs as o
    where o.run_id <> run.run_id and (
      o.server_id = run.server_id and o.state = 'running' and not etl.is_alive(o)
      -- those that others have taken up since
      or o.died_on = run.server_id and o.died_at > run.seen_at - interval '10 seconds');
  spared := got_on or companions > 0;
  said := format('Its server %s stopped without a word at %s, in stage %s, with %s of %s chunks prepared and %s published. %s '
      'Such a process has usually run out of memory: its output contains "out of memory", or its exit code is 137.',
    run.server_id, etl.iso(run.seen_at),
    coalesce((select string_agg(s.stage, ', ' order by s.started_at) from etl.stages as s where s.run_id = run.run_id and s.state = 'running'), 'extract'),
    (select count(c.prepared_at) from etl.chunks as c where c.run_id = run.run_id), coalesce(run.num_chunks::text, 'an unknown number of'),
    (select count(c.published_at) from etl.chunks as c where c.run_id = run.run_id),
    case when got_on then 'The run had got on since its last attempt, so this one does not count.'
      when companions > 0 then format('%s other runs were on it, and the cause may be any of them, so the attempt does not count.', companions)
      else 'No other run was on it.' end);
  update etl.runs as r set
    deaths = case when got_on then 1 else r.deaths + 1 end,
    deaths_spared = case when not spared then 0 when got_on then 1 else r.deaths_spared + 1 end,
    attempt_base = case when spared then r.attempt_base + 1
      -- alone with its server again
      when r.deaths > 0 then r.attempt_base - r.deaths_spared else r.attempt_base end,
    died_on = r.server_id, died_at = r.seen_at, steps_at_death = steps,
    error = jsonb_build_object('type', '/api/problems/server-lost', 'title', 'The server stopped', 'status', 500, 'detail', said)
    where r.run_id = run.run_id returning * into run;
  perform etl.append_logs(jsonb_build_array(jsonb_build_object('run_id', run.run_id, 'logged_at', etl.iso(clock_timestamp()),
    'level', 'warn', 'message', said, 'fields', jsonb_build_object('attempt', run.attempt))));
  return run;
end $$;

-- A server takes a run up: a new attempt, which fences every earlier one out.
-- Null where there is nothing to do: ended, not admitted, or its attempt has given a sign of life just now. A run whose attempts are used up fails here.
create or replace function etl.start_run(run_id uuid, server_id text, max_attempts integer) returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp set plan_cache_mode = force_generic_plan as $$
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
  if run.state = 'running' then
    run := etl.note_death(run);
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
    -- one that died worked until its last sign of life
    worked_ms = etl.worked_ms(r, r.seen_at), attempt_started_at = clock_timestamp(),
    seen_at = clock_timestamp(), started_at = coalesce(r.started_at, clock_timestamp())
    where r.run_id = start_run.run_id returning * into run;
  insert into etl.stages (run_id, stage, state)
  select run.run_id, s, 'pending' from unnest(array['extract', 'transform', 'chunk', 'validate', 'ge_validate', 'load', 'finalize']) as s
  on conflict do nothing;
  return next run;
end $$;

-- Takes up the run that has had its slot for longest and that nobody executes; none where there is none. A run that waits
-- for the process that asked for it, which may be the only one with its files, is left to it for 10 s. A suspect runs alone:
-- on a server that has nothing else in hand, unless it has waited a minute for one, and nothing joins it there. in_hand:
-- runs that the server executes. Those go on however late their signs of life are.
drop function if exists etl.claim_run(text, integer);
create or replace function etl.claim_run(server_id text, max_attempts integer, in_hand uuid[] default '{}') returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  chosen uuid;
  busy boolean;
begin
  if exists (select from etl.runs as r where r.server_id = claim_run.server_id and r.admitted_at is not null and r.state = 'running' and etl.runs_alone(r)) then
    return;
  end if;
  busy := exists (select from etl.runs as r where r.server_id = claim_run.server_id and r.admitted_at is not null and r.state = 'running' and etl.is_alive(r));
  loop
    select r.run_id into chosen from etl.runs as r
    where r.admitted_at is not null and (r.state = 'queued' and r.next_attempt_at <= clock_timestamp()
        and (r.server_id is null or r.server_id = claim_run.server_id or r.admitted_at < clock_timestamp() - interval '10 seconds')
      or r.state = 'running' and not etl.is_alive(r) and r.run_id <> all (in_hand))
      -- the death that is noticed only now counts, too
      and (not busy or r.deaths + (r.state = 'running')::integer < 2 or coalesce(r.seen_at, r.admitted_at) < clock_timestamp() - interval '1 minute')
    order by r.admitted_at limit 1 for no key update skip locked;
    exit when not found;
    -- one whose attempts are used up has just ended
    return query select * from etl.start_run(chosen, server_id, max_attempts);
    exit when found;
  end loop;
end $$;
comment on function etl.claim_run(text, integer, uuid[]) is 'takes up an admitted run that nobody executes, as a new attempt';
