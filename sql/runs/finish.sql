-- The end of a run.

-- Stores no change of state that etl.run_transitions does not list, and tells watchers of every change.
create or replace function etl.runs_guard() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if new.state <> old.state and not exists (
      select from etl.run_transitions as t where t.from_state = old.state and t.to_state = new.state) then
    raise exception 'run % cannot go from % to %', new.run_id, old.state, new.state using errcode = 'check_violation';
  end if;
  new.revision := old.revision + 1;
  perform pg_notify('etl_run', format('%s %s %s', new.run_id, new.state,
    case when new.cancel_requested_at is null then '' else 'cancel' end));
  return new;
end $$;
create or replace trigger runs_guard before update on etl.runs
  for each row execute function etl.runs_guard();

-- One row a run in the metrics table of its destination schema; a retry replaces it.
create or replace function etl.record_metrics(run etl.runs, stages jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  metrics_table text := etl.home_of(run.schema_name, 'etl_improved_metrics', 'public.etl_improved_metrics');
begin
  execute format($sql$
    insert into %s as m (run_id, run_label, status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio,
      num_chunks, dry_run, replay_of, inserted, updated, unchanged, rejected, duplicates, filtered, extra, schema_name,
      table_name, duration_ms, waited_ms, stages, attempt, requested_at, started_at, created_at, deleted, marked)
    select $1.run_id, $1.run_label, $1.state, $1.total_rows, $1.expected_rows, $1.ratio,
      ($1.params ->> 'min_acceptance_ratio')::double precision, coalesce($1.low_ratio, false), $1.num_chunks, $1.dry_run,
      $1.replay_of, coalesce(c.inserted, 0), coalesce(c.updated, 0), coalesce(c.unchanged, 0), coalesce(c.rejected, 0),
      coalesce(c.duplicates, 0), coalesce(c.filtered, 0), coalesce(c.extra, 0), $1.schema_name, $1.table_name,
      coalesce($1.worked_ms, 0), extract(epoch from $1.ended_at - $1.requested_at) * 1000 - coalesce($1.worked_ms, 0), $2, $1.attempt, $1.requested_at, $1.started_at, $1.ended_at,
      coalesce(c.deleted, 0), coalesce(c.marked, 0)
    from jsonb_to_record(coalesce($1.counts, '{}')) as c (inserted bigint, updated bigint, unchanged bigint, rejected bigint,
      duplicates bigint, filtered bigint, extra bigint, deleted bigint, marked bigint)
    on conflict (run_id) do update set (status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio, num_chunks,
      inserted, updated, unchanged, rejected, duplicates, filtered, extra, duration_ms, waited_ms, stages, attempt, started_at, created_at, deleted, marked)
    = (excluded.status, excluded.total_rows, excluded.expected_rows, excluded.ratio, excluded.min_acceptance_ratio,
      excluded.low_ratio, excluded.num_chunks, excluded.inserted, excluded.updated, excluded.unchanged, excluded.rejected,
      excluded.duplicates, excluded.filtered, excluded.extra, excluded.duration_ms, excluded.waited_ms, excluded.stages, excluded.attempt,
      excluded.started_at, excluded.created_at, excluded.deleted, excluded.marked)
    $sql$, metrics_table) using run, stages;
end $$;

-- Tells rejected records of slices that were read without knowing where in their file they begin (S3, http) their line: that
-- of the slice, behind the newlines of the slices before it. One whose slices before were not all read keeps its byte.
create or replace function etl.number_lines(run_id uuid) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  with behind as (
    select c.chunk_no + 1 as chunk_no, c.slice #>> '{parts,-1,label}' as file,
      sum(c.newlines) over so_far as newlines, bool_and(c.newlines is not null) over so_far as all_read
    from etl.chunks as c
    where c.run_id = number_lines.run_id
      and exists (select from etl.quarantine as q where q.run_id = number_lines.run_id and q.slice_line is not null)
    window so_far as (partition by c.slice #>> '{parts,-1,label}' order by c.chunk_no)
  )
  update etl.quarantine as q set line = q.slice_line + b.newlines, slice_line = null,
    -- the message "byte-place" becomes "place" (vocabulary/messages.ts)
    message = regexp_replace(q.message, '^byte [0-9]+ of ', format('line %s of ', q.slice_line + b.newlines))
  from behind as b
  where q.run_id = number_lines.run_id and q.slice_line is not null and b.chunk_no = q.chunk_no and b.file = q.file and b.all_read
$$;

-- Ends a run, once: counters, ratio, metrics, audit, cursor and dataset event, in the
-- caller's transaction. Nothing happens for an
-- attempt that another has replaced. Answers the run as it was stored.
-- outcome: {state, error?, stages: [...], warnings?, validation?, cursor?: {source_name, dataset, position, snapshot}, admits?}
create or replace function etl.finish_run(run_id uuid, attempt integer, outcome jsonb) returns setof etl.runs
language plpgsql set search_path = pg_catalog, etl, pg_temp set plan_cache_mode = force_generic_plan set jit = off as $$
declare
  run etl.runs;
  totals record;
  base bigint;
  final_state text := outcome ->> 'state';
  problem jsonb := outcome -> 'error';
  min_ratio double precision;
  -- the ratio is below what the run accepts
  too_low boolean := false;
  -- of a typed table
  columns jsonb;
  stage_times jsonb;
begin
  select * into run from etl.runs as r
    where r.run_id = finish_run.run_id and r.attempt = finish_run.attempt and r.state in ('queued', 'running') for no key update;
  if not found then return; end if;

  if final_state <> 'succeeded' and run.attempt > 0 then
    -- a worker that was stopped by force may have left a chunk between its rows and its commit
    perform etl.end_backends(format('etl-run %s %%', run.run_id));
  end if;
  select count(*) as chunks, count(*) filter (where c.state = 'published') as published,
    coalesce(sum(c.records_read), 0)::bigint as records_read, coalesce(sum(c.rejected), 0)::bigint as rejected,
    coalesce(sum(c.filtered), 0)::bigint as filtered, coalesce(sum(c.extra), 0)::bigint as extra,
    coalesce(sum(c.duplicates), 0)::bigint as duplicates, coalesce(sum(c.inserted), 0)::bigint as inserted,
    coalesce(sum(c.updated), 0)::bigint as updated, coalesce(sum(c.unchanged), 0)::bigint as unchanged,
    coalesce(sum(c.cursor_nulls), 0)::bigint as cursor_nulls, coalesce(sum(c.deletions), 0)::bigint as deletions,
    coalesce(sum(c.deleted), 0)::bigint as deleted, coalesce(sum(c.marked), 0)::bigint as marked
  into totals from etl.chunks as c where c.run_id = finish_run.run_id;

  if totals.rejected > 0 then
    perform etl.number_lines(run.run_id);
  end if;
  run.num_chunks := totals.chunks;
  run.total_rows := totals.inserted + totals.updated + totals.unchanged;
  if final_state = 'succeeded' then
    if not run.dry_run and totals.published < totals.chunks then
      raise exception 'run % cannot succeed: % of % chunks are published', run.run_id, totals.published, totals.chunks;
    end if;
    base := case
      when run.params #>> '{source,type}' = 'synthetic' or run.origins ->> 'batch_size' in ('request', 'configuration')
        then (run.params ->> 'batch_size')::bigint
      else totals.records_read end;
    -- a deletion is no row that could arrive
    run.expected_rows := base - totals.duplicates - totals.filtered + totals.extra - totals.deletions;
    run.ratio := case when run.expected_rows <= 0 then 1 else run.total_rows::double precision / run.expected_rows end;
    min_ratio := case when run.replay_of is null then (run.params ->> 'min_acceptance_ratio')::double precision else 0 end;
    too_low := run.ratio < min_ratio;
    if too_low then
      final_state := 'failed';
      problem := jsonb_build_object('type', '/api/problems/low-ratio', 'title', 'The acceptance ratio is too low', 'status', 422,
        'detail', format('%s of %s expected rows arrived (ratio %s), below min_acceptance_ratio %s. %s%s Look at the quarantine and at batch_size, or accept less with min_acceptance_ratio.',
          run.total_rows, run.expected_rows, round(run.ratio::numeric, 4), min_ratio,
          case when run.dry_run then 'Nothing was written (dry run).'
            when etl.at_once(run) then 'Nothing was changed.' when run.total_rows = 0 then 'Nothing was loaded.' else 'What was loaded stays in the table.' end,
          -- no message of a record: it may have a value of it, and this goes to the channels
          (select format(' Rejected most often, %s of %s: %s.', count(*), totals.rejected, concat_ws(' in ', q.rule, q.field))
            from etl.quarantine as q where q.run_id = run.run_id group by q.rule, q.field order by count(*) desc, q.rule, q.field limit 1)));
    end if;
  elsif final_state in ('failed', 'cancelled') and totals.published > 0 then
    problem := problem || jsonb_build_object('detail', format('%s (%s of %s chunks are in the table)',
      problem ->> 'detail', totals.published, totals.chunks));
  end if;

  if jsonb_typeof(outcome -> 'validation') = 'object' then
    insert into etl.validations as v (run_id, suite_name, success, result)
    values (run.run_id, outcome #>> '{validation,suite_name}', (outcome #>> '{validation,success}')::boolean, outcome -> 'validation')
    on conflict on constraint validations_pkey do update set suite_name = excluded.suite_name, success = excluded.success,
      result = excluded.result, created_at = now();
  end if;

  insert into etl.stages as s (run_id, stage, state, started_at, ended_at, busy_ms, records_in, records_out, attempts, error)
  select run.run_id, o.stage, case when o.stage = 'finalize' and too_low then 'failed' else o.state end, o.started_at, coalesce(o.ended_at, case when o.stage = 'finalize' and o.started_at is not null then clock_timestamp() end),
    coalesce(o.busy_ms, 0), coalesce(o.records_in, 0), coalesce(o.records_out, 0), coalesce(o.attempts, 0),
    case when o.stage = 'finalize' and too_low then problem else o.error end
  from jsonb_to_recordset(coalesce(outcome -> 'stages', '[]')) as o (stage text, state text, started_at timestamptz,
    ended_at timestamptz, busy_ms double precision, records_in bigint, records_out bigint, attempts integer, error jsonb)
  on conflict on constraint stages_pkey do update set state = excluded.state, started_at = excluded.started_at,
    ended_at = excluded.ended_at, busy_ms = excluded.busy_ms, records_in = excluded.records_in,
    records_out = excluded.records_out, attempts = excluded.attempts, error = excluded.error;
  select coalesce(jsonb_object_agg(s.stage, jsonb_build_object('state', s.state, 'busy_ms', s.busy_ms,
      'records_in', s.records_in, 'records_out', s.records_out)), '{}')
    into stage_times from etl.stages as s where s.run_id = finish_run.run_id;

  update etl.runs as r set state = final_state, worked_ms = coalesce(etl.worked_ms(r), 0), ended_at = clock_timestamp(),
    started_at = coalesce(r.started_at, case when r.attempt > 0 then clock_timestamp() end),
    num_chunks = run.num_chunks, total_rows = run.total_rows, expected_rows = run.expected_rows, ratio = run.ratio,
    low_ratio = run.ratio < 1, error = problem, warnings = r.warnings || coalesce(outcome -> 'warnings', '[]'),
    counts = to_jsonb(totals) - 'chunks'
    where r.run_id = finish_run.run_id returning r.* into run;
  if final_state = 'succeeded' then
    perform etl.drop_private_upload(run);
  end if;
  perform etl.record_metrics(run, stage_times);
  perform etl.audit(run, 'finished', coalesce(run.server_id, 'etl'), jsonb_strip_nulls(jsonb_build_object(
    'attempt', run.attempt, 'total_rows', run.total_rows, 'expected_rows', run.expected_rows, 'ratio', run.ratio,
    'counts', run.counts, 'error', run.error)));

  if final_state = 'succeeded' and not run.dry_run then
    select jsonb_agg(jsonb_build_object('name', c.value ->> 'name', 'type', c.value ->> 'type') order by c.place) into columns
    from etl.datasets as d cross join jsonb_array_elements(d.declared -> 'columns') with ordinality as c (value, place)
    where d.dataset = run.schema_name || '.' || run.table_name;
    insert into etl.dataset_events (dataset, run_id, emitted_by, counts, details)
    select run.schema_name || '.' || run.table_name, run.run_id, 'etl_improved', run.counts,
      case when columns is null then '{}' else jsonb_build_object('schema', columns, 'schema_changed', coalesce((
        select e.details -> 'schema' <> columns from etl.dataset_events as e
        where e.dataset = run.schema_name || '.' || run.table_name and e.details ? 'schema' order by e.event_no desc limit 1), false)) end;
    if outcome #>> '{cursor,position}' is not null then
      insert into etl.cursors as c (source_name, dataset, position, snapshot, run_id)
      values (outcome #>> '{cursor,source_name}', outcome #>> '{cursor,dataset}', outcome #>> '{cursor,position}',
        outcome #>> '{cursor,snapshot}', run.run_id)
      on conflict (source_name, dataset) do update set position = excluded.position, snapshot = excluded.snapshot, run_id = excluded.run_id, updated_at = now();
    end if;
  end if;
  perform etl.wake('run_ends');
  -- its slot, its label and its order key are free; who admits after its commit needs nobody else for it
  if not coalesce((outcome ->> 'admits')::boolean, false) then
    perform etl.wake('requests');
  end if;
  return next run;
end $$;
