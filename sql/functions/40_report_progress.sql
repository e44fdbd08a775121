-- Stores how far a run is, wakes its watchers, and tells its server whether to go on.
create or replace function etl.report_progress(run_id uuid, attempt integer, stages jsonb)
returns table (is_current boolean, cancel_requested boolean)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
begin
  update etl.runs as r set seen_at = clock_timestamp()
    where r.run_id = report_progress.run_id and r.attempt = report_progress.attempt and r.state = 'running'
    returning * into run;
  if not found then
    return query select false, false;
    return;
  end if;
  insert into etl.stages as s (run_id, stage, state, started_at, ended_at, busy_ms, records_in, records_out, attempts)
  select run.run_id, o.stage, o.state, o.started_at, o.ended_at, o.busy_ms, o.records_in, o.records_out, o.attempts
  from jsonb_to_recordset(stages) as o (stage text, state text, started_at timestamptz, ended_at timestamptz,
    busy_ms double precision, records_in bigint, records_out bigint, attempts integer)
  on conflict on constraint stages_pkey do update set state = excluded.state, started_at = excluded.started_at,
    ended_at = excluded.ended_at, busy_ms = excluded.busy_ms, records_in = excluded.records_in,
    records_out = excluded.records_out, attempts = excluded.attempts
  where (s.*) is distinct from (excluded.*);
  return query select true, run.cancel_requested_at is not null;
end $$;
