-- Deadlines of runs and their stages (sla_seconds).

-- Stores the deadlines of a run with its request: they count from there, retries keep them.
create or replace function etl.note_deadlines() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.deadlines (run_id, scope, deadline_at)
  select new.run_id, d.scope, new.requested_at + d.seconds * interval '1 second'
  from (
    select 'run' as scope, case jsonb_typeof(new.params -> 'sla_seconds')
      when 'number' then (new.params ->> 'sla_seconds')::double precision
      else (new.params #>> '{sla_seconds,run}')::double precision end as seconds
    union all
    select s.key, (s.value #>> '{}')::double precision
    from jsonb_each(case jsonb_typeof(new.params #> '{sla_seconds,stages}')
      when 'object' then new.params #> '{sla_seconds,stages}' else '{}' end) as s
  ) as d
  where d.seconds is not null;
  return null;
end $$;
create or replace trigger note_deadlines after insert on etl.runs
  for each row when (not new.dry_run and new.replay_of is null and jsonb_typeof(new.params -> 'sla_seconds') in ('number', 'object'))
  execute function etl.note_deadlines();

-- Whether and when what a deadline is about has ended.
create or replace function etl.scope_ended_at(run etl.runs, scope text) returns timestamptz
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case when scope_ended_at.scope = 'run' then (run).ended_at
    else (select s.ended_at from etl.stages as s
      where s.run_id = (run).run_id and s.stage = scope_ended_at.scope and s.state not in ('pending', 'running')) end
$$;

-- Looks at deadlines that are over and not yet judged: missed ones become an alert while the run still
-- goes on. One alert for each (run, deadline), on any number of servers: whoever marks it raises it.
create or replace function etl.sweep_deadlines() returns table (run_id uuid, scope text)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  due etl.deadlines;
  run etl.runs;
  ended timestamptz;
begin
  for due in
    select d.* from etl.deadlines as d
    where d.missed_at is null and d.met_at is null and d.deadline_at <= clock_timestamp()
    order by d.deadline_at limit 1000 for update skip locked
  loop
    select r.* into run from etl.runs as r where r.run_id = due.run_id;
    ended := etl.scope_ended_at(run, due.scope);
    -- a cancelled run is late for nobody, nor is a stage that a failed run never came to
    if ended <= due.deadline_at or (run.state = 'cancelled' and run.ended_at is not null)
      or (due.scope <> 'run' and run.ended_at <= due.deadline_at) then
      update etl.deadlines as d set met_at = coalesce(ended, run.ended_at) where d.run_id = due.run_id and d.scope = due.scope;
      continue;
    end if;
    update etl.deadlines as d set missed_at = clock_timestamp() where d.run_id = due.run_id and d.scope = due.scope;
    perform etl.raise_alert('sla_miss', run.run_label || case due.scope when 'run' then '' else ' ' || due.scope end,
      format('%s should have ended by %s, %s s after the request, and %s.',
        case due.scope when 'run' then 'The run' else 'Stage ' || due.scope end, etl.iso(due.deadline_at),
        round(extract(epoch from due.deadline_at - run.requested_at), 1),
        case when ended is not null then format('ended %s s too late', round(extract(epoch from ended - due.deadline_at), 1))
          when run.state = 'queued' then 'is still waiting' else 'is still going on' end),
      jsonb_build_object('run_id', run.run_id, 'run_label', run.run_label, 'severity', 'error', 'details', jsonb_build_object(
        'scope', due.scope, 'deadline_at', etl.iso(due.deadline_at), 'state', run.state)));
    run_id := due.run_id;
    scope := due.scope;
    return next;
  end loop;
end $$;
comment on function etl.sweep_deadlines() is 'raises sla_miss for deadlines that have passed; answers with those';

-- Notes which deadlines a run has met; one that succeeded without missing any ends the incidents of its label.
create or replace function etl.settle_deadlines(run etl.runs) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  kept text;
begin
  update etl.deadlines as d set met_at = coalesce(etl.scope_ended_at(run, d.scope), run.ended_at)
    where d.run_id = run.run_id and d.missed_at is null and d.met_at is null
      and coalesce(etl.scope_ended_at(run, d.scope), run.ended_at) <= d.deadline_at;
  if run.state <> 'succeeded' or run.dry_run or run.replay_of is not null then return; end if;
  for kept in
    select s.scope from unnest(array['run', 'extract', 'transform', 'chunk', 'validate', 'ge_validate', 'load', 'finalize']) as s (scope)
    where not exists (select from etl.deadlines as d where d.run_id = run.run_id and d.scope = s.scope and d.met_at is null)
  loop
    perform etl.resolve_alert('sla_miss', run.run_label || case kept when 'run' then '' else ' ' || kept end,
      case kept when 'run' then 'A run ended in time.' else format('Stage %s of a run ended in time.', kept) end,
      jsonb_build_object('run_id', run.run_id, 'run_label', run.run_label));
  end loop;
end $$;
