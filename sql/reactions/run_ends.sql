-- What follows from each end of a run.

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

-- etl_consumer's transaction: takes the oldest end of a run that nobody has taken, judges it, asks for the views to be
-- refreshed and for the run to be exported. Whatever comes after it is in a table by then, so that nothing is lost
-- or done twice however the server ends. One at a time, so that ends are judged in their order. Answers the end with
-- what telemetry wants to know, or {run_id, failed}: then it is taken again after 30 s; nothing where none waits.
create or replace function etl.consume_run_end() returns setof jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' set jit = off
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  run etl.runs;
  ended etl.run_ends;
  settings etl.reaction_settings;
  told jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended('etl consume_run_end', 0));
  select e.* into ended from etl.run_ends as e where e.consumed_at is null and e.next_attempt_at <= clock_timestamp()
    order by e.ended_at, e.run_id, e.end_no limit 1 for no key update skip locked;
  if not found then
    return;
  end if;
  begin
    select * into settings from etl.reaction_settings;
    update etl.run_ends as e set consumed_at = clock_timestamp() where e.run_id = ended.run_id and e.end_no = ended.end_no;
    -- as it was when it ended: a retry may be at it again
    select * into run from etl.runs as r where r.run_id = ended.run_id;
    run := jsonb_populate_record(run, ended.snapshot);
    perform etl.settle_deadlines(run);
    perform etl.detect_alerts(run);
    if (run.params ->> 'mlflow_enable')::boolean then
      perform etl.request_export(run.run_id, 'mlflow', ended.end_no);
    end if;
    if settings.openlineage then
      perform etl.request_export(run.run_id, 'openlineage', ended.end_no);
    end if;
    told := jsonb_build_object('run', (to_jsonb(run) - 'conf' - 'pin') #- '{params,source,records}', 'end_no', ended.end_no,
      'stages', coalesce((select jsonb_agg(to_jsonb(s)) from etl.stages as s where s.run_id = run.run_id), '[]'),
      'alerts', coalesce((select jsonb_agg(jsonb_build_object('kind', a.kind, 'message', a.message, 'suppressed', a.suppressed))
        from public.etl_improved_alerts as a where a.run_id = run.run_id and a.created_at >= ended.ended_at), '[]'),
      'expectations_failed', etl.failed_expectations(run.run_id) -> 'failed',
      'dataset_event', exists (select from etl.dataset_events as d where d.run_id = run.run_id));
    perform etl.request_view_refresh();
  exception when others then
    update etl.run_ends as e set next_attempt_at = clock_timestamp() + interval '30 seconds'
      where e.run_id = ended.run_id and e.end_no = ended.end_no;
    told := jsonb_build_object('run_id', ended.run_id, 'failed', sqlerrm);
  end;
  return next told;
end $$;
comment on function etl.consume_run_end() is 'judges the oldest end of a run that nobody has judged yet; each once';

-- Asks for the materialized views to be refreshed. Requests are numbered by an update of one row, so a
-- refresh that begins after reading number n holds everything that requests up to n were made for.
create or replace function etl.request_view_refresh() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  update etl.view_refresh set requested = requested + 1;
  perform etl.wake('refresh');
end $$;

-- Asks for a run to be told to another system. One row for each of its ends: what was begun with the
-- start of the run is ended with it.
create or replace function etl.request_export(run_id uuid, target text, end_no integer) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.exports as e (run_id, target, end_no) values (request_export.run_id, request_export.target, request_export.end_no)
  on conflict on constraint exports_pkey do update set state = 'pending', updated_at = clock_timestamp()
    where e.state = 'started' and exists (
      select from etl.run_ends as r where r.run_id = e.run_id and r.end_no = e.end_no);
  if found then
    perform etl.wake('export ' || target);
  end if;
end $$;

-- Tells OpenLineage of the start of a run, once for each of its ends, whatever attempts it takes.
create or replace function etl.note_run_start() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if (select s.openlineage from etl.reaction_settings as s) then
    perform etl.request_export(new.run_id, 'openlineage',
      coalesce((select max(e.end_no) from etl.run_ends as e where e.run_id = new.run_id), 0) + 1);
  end if;
  return null;
end $$;
create or replace trigger note_run_start after update on etl.runs
  for each row when (old.state = 'queued' and new.state = 'running') execute function etl.note_run_start();

-- Refreshes the daily views if somebody has asked since the last time. Answers whether it did.
create or replace function etl.refresh_views_if_asked() returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  wanted bigint;
  started timestamptz := clock_timestamp();
begin
  -- one at a time; who waited finds that the one before did it
  perform pg_advisory_xact_lock(hashtextextended('etl view refresh', 0));
  select v.requested into wanted from etl.view_refresh as v where v.requested > v.done;
  if not found then return false; end if;
  perform public.refresh_etl_mvs();
  update etl.view_refresh set done = wanted, refreshed_at = clock_timestamp(),
    duration_ms = extract(epoch from clock_timestamp() - started) * 1000;
  return true;
end $$;
