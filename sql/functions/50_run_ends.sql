-- Notes every end of a run in the transaction that ends it, whoever ends it.
create or replace function etl.note_run_end() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.run_ends (run_id, end_no, ended_at, snapshot)
  select new.run_id, coalesce(max(e.end_no), 0) + 1, new.ended_at, jsonb_build_object(
    'state', new.state, 'attempt', new.attempt, 'ended_at', new.ended_at, 'started_at', new.started_at,
    'num_chunks', new.num_chunks, 'total_rows', new.total_rows, 'expected_rows', new.expected_rows, 'ratio', new.ratio,
    'low_ratio', new.low_ratio, 'counts', new.counts, 'error', new.error, 'warnings', new.warnings)
  from etl.run_ends as e where e.run_id = new.run_id;
  return null;
end $$;
create or replace trigger note_run_end after update on etl.runs
  for each row when (old.ended_at is null and new.ended_at is not null) execute function etl.note_run_end();

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
