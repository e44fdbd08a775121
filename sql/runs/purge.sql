-- Deletes what is older than the retention from the tables of schema etl, at most `batch` rows
-- of each at a call, so that no lock is held for long; call it until it answers with zeros.
-- Metrics, audit, alerts and events by etl_maintenance.
create or replace function etl.purge(retention_days integer default 90, batch integer default 1000) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  deleted jsonb := '{}';
  gone bigint;
  before timestamptz := now() - retention_days * interval '1 day';
begin
  if not pg_try_advisory_xact_lock(hashtextextended('etl purge', 0)) then
    return deleted;
  end if;
  delete from etl.idempotency_keys as k where k.key in (
    select o.key from etl.idempotency_keys as o where o.expires_at < now() limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('idempotency_keys', gone);

  -- a request body is kept for a week, for retries, and as long as a run still needs it
  delete from etl.uploads as u where (u.upload_id, u.part_no) in (
    select o.upload_id, o.part_no from etl.uploads as o
    where o.created_at < now() - interval '7 days' and not exists (
      select from etl.runs as r where r.state in ('queued', 'running') and r.params #>> '{source,upload_id}' = o.upload_id::text)
    limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('uploads', gone);

  if retention_days < 0 then
    return deleted;
  end if;
  -- chunks and quarantine go first, in pieces: a large run has many
  delete from etl.quarantine as q where (q.run_id, q.chunk_no, q.position, q.output) in (
    select o.run_id, o.chunk_no, o.position, o.output from etl.quarantine as o
    join etl.runs as r on r.run_id = o.run_id and r.ended_at < before limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('quarantine', gone);
  delete from etl.chunks as c where (c.run_id, c.chunk_no) in (
    select o.run_id, o.chunk_no from etl.chunks as o
    join etl.runs as r on r.run_id = o.run_id and r.ended_at < before limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('chunks', gone);
  delete from etl.runs as r where r.run_id in (
    select o.run_id from etl.runs as o where o.ended_at < before
      and not exists (select from etl.chunks as c where c.run_id = o.run_id)
      and not exists (select from etl.quarantine as q where q.run_id = o.run_id)
    limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('runs', gone);
  delete from etl.dataset_events as e where e.event_no in (
    select o.event_no from etl.dataset_events as o where o.created_at < before limit batch);
  get diagnostics gone = row_count;
  deleted := deleted || jsonb_build_object('dataset_events', gone);
  delete from etl.maintenance_runs as m where m.maintenance_id in (
    select o.maintenance_id from etl.maintenance_runs as o where o.ended_at < before limit batch);
  get diagnostics gone = row_count;
  return deleted || jsonb_build_object('maintenance_runs', gone);
end $$;
comment on function etl.purge(integer, integer) is 'deletes old runs with all that belongs to them, expired keys and old request bodies, a batch at a call';
