-- Runs past slots of a schedule that have no run, or whose run failed or was cancelled; each slot has one run that
-- counts, whoever asks how often. A run that was deleted since counts as done. The runs wait for each other (overlap = queue).
-- options: requested_by, preview (only say what would be done), traceparent.
create or replace function etl.backfill_slots(schedule text, slots timestamptz[], previous timestamptz[], options jsonb default '{}')
returns table (slot timestamptz, slot_previous timestamptz, action text, run_id uuid, state_before text)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.schedules;
  known etl.slots;
  run_state text;
  decided etl.slots;
begin
  if coalesce((options ->> 'preview')::boolean, false) then
    select * into target from etl.schedules as s where s.name = backfill_slots.schedule;
  else
    select * into target from etl.schedules as s where s.name = backfill_slots.schedule for update;
  end if;
  if not found then
    perform etl.raise_problem('not-found', format('There is no schedule %s.', backfill_slots.schedule), status => 404);
  end if;
  for i in 1 .. coalesce(cardinality(slots), 0) loop
    select * into known from etl.slots as s where s.schedule = target.name and s.slot = slots[i];
    select r.state into run_state from etl.runs as r where r.run_id = known.run_id;
    slot := slots[i];
    slot_previous := previous[i];
    run_id := known.run_id;
    state_before := coalesce(run_state, known.state);
    if known.state = 'requested' and coalesce(run_state, 'succeeded') not in ('failed', 'cancelled') then
      action := 'kept';
    else
      action := 'run';
      if not coalesce((options ->> 'preview')::boolean, false) then
        decided := etl.request_slot(target, slots[i], previous[i], options
          || jsonb_build_object('overlap', 'queue', 'trigger', 'backfill'));
        run_id := decided.run_id;
      end if;
    end if;
    return next;
  end loop;
end $$;
comment on function etl.backfill_slots(text, timestamptz[], timestamptz[], jsonb) is
  'runs past slots of a schedule that have no run or a failed one; the server computes the slots';

-- Asks for a run with the conf of a schedule now, whatever is due. options: as of etl.submit_run.
create or replace function etl.run_schedule(schedule text, options jsonb default '{}') returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.schedules;
  last_slot timestamptz;
begin
  select * into target from etl.schedules as s where s.name = run_schedule.schedule;
  if not found then
    perform etl.raise_problem('not-found', format('There is no schedule %s.', run_schedule.schedule), status => 404);
  end if;
  select max(s.slot) into last_slot from etl.slots as s where s.schedule = target.name and s.slot <= clock_timestamp();
  return etl.submit_run(etl.schedule_conf(target), jsonb_strip_nulls(jsonb_build_object('trigger', 'sql',
    'slot_previous', coalesce(last_slot, target.created_at), 'schedule', target.name, 'time_zone', target.time_zone) || options));
end $$;
comment on function etl.run_schedule(text, jsonb) is 'asks for a run with the conf of a schedule now; answers as etl.submit_run';
