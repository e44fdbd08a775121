-- Makes way for a new run as its overlap says: asks for the cancellation of the older runs of its label, or answers
-- the oldest of them, for which this one is skipped. One new run of a label at a time.
create or replace function etl.make_way(run etl.runs) returns uuid
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  older uuid;
begin
  if run.overlap = 'queue' then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl overlap ' || run.run_label, 0));
  for older in
    select r.run_id from etl.runs as r where r.run_label = run.run_label and r.state in ('queued', 'running')
      and (r.requested_at, r.run_id) < (run.requested_at, run.run_id) order by r.requested_at
  loop
    if run.overlap = 'skip' then
      return older;
    end if;
    perform etl.cancel_run(older, run.requested_by);
  end loop;
  return null;
end $$;

create or replace function etl.audit_request(run etl.runs) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  select etl.audit(run, 'requested', run.requested_by, jsonb_build_object('trigger', run.trigger, 'conf', run.conf - 'source')
    || case when run.schedule is null then '{}' else jsonb_build_object('schedule', run.schedule, 'slot', etl.iso(run.slot)) end)
$$;

-- Does for a run that was asked for in SQL what had to wait for the commit: makes its destination and applies overlap.
-- What is wrong ends the run; what may pass is tried again. Answers whether there was one.
create or replace function etl.accept_run() returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '2s' as $$
declare
  run etl.runs;
  older uuid;
  code text;
  told text;
  raised text;
begin
  select * into run from etl.runs as r
    where r.state = 'queued' and r.accepted_at is null and r.admitted_at is null and r.next_attempt_at <= clock_timestamp()
    order by r.requested_at, r.run_id limit 1 for no key update skip locked;
  if not found then
    return false;
  end if;
  begin
    if run.dry_run then
      perform etl.check_destination(run.schema_name, run.table_name, run.audit_table_name);
    else
      perform etl.ensure_destination(run.schema_name, run.table_name, run.audit_table_name);
    end if;
    older := etl.make_way(run);
    update etl.runs as r set accepted_at = clock_timestamp() where r.run_id = run.run_id;
    perform etl.audit_request(run);
    if older is not null then
      perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'cancelled', 'error', jsonb_build_object(
        'type', '/api/problems/cancelled', 'title', 'Cancelled', 'status', 409, 'run_id', older, 'detail',
        format('Skipped: run %s of the same label was waiting or running, and overlap is skip.', older))));
    end if;
  exception when others then
    get stacked diagnostics code = returned_sqlstate, told = message_text, raised = pg_exception_detail;
    -- locks, conflicts, resources, a database that is not ready
    if code in ('40001', '40P01', '55P03') or code ~ '^(53|57|58|ET5)' then
      update etl.runs as r set next_attempt_at = clock_timestamp() + interval '2 seconds' where r.run_id = run.run_id;
      return true;
    end if;
    perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'failed', 'error', case
      when code ~ '^ET' then raised::jsonb || jsonb_build_object('type', '/api/problems/' || (raised::jsonb ->> 'type'))
      else jsonb_build_object('type', '/api/problems/database-error', 'title', 'The database refused a statement', 'status', 500,
        'detail', format('The database refused a statement: %s (SQLSTATE %s)', told, code)) end));
  end;
  return true;
end $$;
comment on function etl.accept_run() is 'makes destination and way for a run that was asked for in SQL, after its commit; false where none waits';
