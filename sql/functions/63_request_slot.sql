-- The conf that runs of a schedule are asked for with. A run_label that nothing sets is the schedule's name:
-- overlap counts runs of one label, and schedules must not hold each other up.
create or replace function etl.schedule_conf(schedule etl.schedules, overlap text default null) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select schedule.conf || jsonb_build_object('overlap', coalesce(schedule_conf.overlap, schedule.overlap))
    || case when r.origins ->> 'run_label' = 'default' then jsonb_build_object('run_label', schedule.name) else '{}' end
  from etl.resolve_params(schedule.conf) as r
$$;

-- Asks for the run of a slot and notes in the slot what came of it. The caller holds the schedule's row locked, so a
-- slot becomes one run. options: overlap, trigger (schedule), requested_by (schedule), traceparent.
create or replace function etl.request_slot(
  schedule etl.schedules, slot timestamptz, slot_previous timestamptz, options jsonb default '{}'
) returns etl.slots
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  answer jsonb;
  decided etl.slots;
begin
  answer := etl.submit_run(etl.schedule_conf(schedule, options ->> 'overlap'), jsonb_strip_nulls(jsonb_build_object(
    'trigger', coalesce(options ->> 'trigger', 'schedule'), 'requested_by', coalesce(options ->> 'requested_by', 'schedule'),
    'traceparent', options ->> 'traceparent', 'immediate', true, 'schedule', schedule.name, 'time_zone', schedule.time_zone, 'slot', slot, 'slot_previous', slot_previous)));
  decided.schedule := schedule.name;
  decided.slot := request_slot.slot;
  decided.slot_previous := request_slot.slot_previous;
  decided.decided_at := clock_timestamp();
  if (answer ->> 'skipped')::boolean then
    decided.state := 'skipped';
    decided.blocked_by := (answer ->> 'run_id')::uuid;
    decided.note := format('run %s was going on', answer ->> 'run_id');
  else
    decided.state := 'requested';
    decided.run_id := (answer ->> 'run_id')::uuid;
  end if;
  insert into etl.slots select decided.*
  on conflict on constraint slots_pkey do update set state = excluded.state, run_id = excluded.run_id,
    blocked_by = excluded.blocked_by, note = excluded.note, problem = null, decided_at = excluded.decided_at;
  return decided;
end $$;
