-- Due slots become runs.

-- Replaces {{slot}}, {{slot_previous}} and {{today}} in the strings of a conf.
-- Records that the conf carries are data and stay as they are.
-- {{today}} is the day of the slot in a time zone.
drop function if exists etl.fill_slots(jsonb, timestamptz, timestamptz);
create or replace function etl.fill_slots(
  conf jsonb, slot timestamptz, slot_previous timestamptz default null, time_zone text default 'UTC'
) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  records jsonb := conf #> '{source,records}';
  filled text := (case when records is null then conf else conf #- '{source,records}' end)::text;
begin
  if filled not like '%{{%' then
    return conf;
  end if;
  if filled like '%{{slot_previous}}%' and slot_previous is null then
    perform etl.raise_problem('invalid-conf', '{{slot_previous}} is used, but this run has no previous slot.');
  end if;
  filled := replace(filled, '{{slot}}', to_char(slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  filled := replace(filled, '{{today}}', to_char(slot at time zone time_zone, 'YYYY-MM-DD'));
  if slot_previous is not null then
    filled := replace(filled, '{{slot_previous}}', to_char(slot_previous at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  end if;
  return case when records is null then filled::jsonb
    else jsonb_set(filled::jsonb, '{source,records}', records) end;
end $$;

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
    decided.note := format('run %s was in progress', answer ->> 'run_id');
  else
    decided.state := 'requested';
    decided.run_id := (answer ->> 'run_id')::uuid;
  end if;
  insert into etl.slots (schedule, slot, slot_previous, state, run_id, blocked_by, note, decided_at)
  values (decided.schedule, decided.slot, decided.slot_previous, decided.state, decided.run_id, decided.blocked_by, decided.note, decided.decided_at)
  on conflict on constraint slots_pkey do update set state = excluded.state, run_id = excluded.run_id,
    blocked_by = excluded.blocked_by, note = excluded.note, problem = null, decided_at = excluded.decided_at;
  return decided;
end $$;

-- Decides the due slots of one schedule, whose row the caller holds locked: what is paused is skipped, what is later
-- than the grace is missed but for what the policy keeps, the rest is asked for. At most max_runs runs.
-- Answers how many slots came to each state.
create or replace function etl.decide_slots(schedule etl.schedules, at timestamptz, max_runs integer) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  counts jsonb := '{"requested": 0, "skipped": 0, "missed": 0, "failed": 0}';
  late_before timestamptz := at - schedule.grace_seconds * interval '1 second';
  kept integer := case schedule.missed when 'none' then 0 when 'last' then 1 else 100 end;
  catches_up boolean;
  newest_first boolean;
  each etl.slots;
  decided etl.slots;
  code text;
  told text;
  raised text;
  refusal jsonb;
  changed bigint;
begin
  update etl.slots as s set state = 'skipped', note = 'the schedule was paused', decided_at = clock_timestamp()
  where s.schedule = decide_slots.schedule.name and s.state = 'pending' and s.slot <= at
    and (etl.is_paused(schedule.active, schedule.paused_until, at) or (s.slot >= schedule.paused_at and s.slot < schedule.paused_until));
  get diagnostics changed = row_count;
  counts := counts || jsonb_build_object('skipped', changed);

  update etl.slots as s set state = 'missed', decided_at = clock_timestamp(), note = case schedule.missed
    when 'none' then format('later than the grace of %s s', schedule.grace_seconds)
    when 'last' then format('later than the grace of %s s; of such slots only the newest is run', schedule.grace_seconds)
    else format('later than the grace of %s s; of such slots only the newest 100 are run', schedule.grace_seconds) end
  where s.schedule = decide_slots.schedule.name and s.state = 'pending' and s.slot < late_before and s.slot not in (
    select k.slot from etl.slots as k where k.schedule = decide_slots.schedule.name and k.state = 'pending' and k.slot < late_before
    order by k.slot desc limit kept);
  get diagnostics changed = row_count;
  counts := counts || jsonb_build_object('missed', changed);

  -- what is caught up waits in the queue, whatever the overlap; else the newest of several due slots is the one that
  -- must not be skipped for the others
  catches_up := schedule.missed = 'all' and exists (
    select from etl.slots as s where s.schedule = decide_slots.schedule.name and s.state = 'pending' and s.slot < late_before);
  newest_first := schedule.overlap = 'skip' and not catches_up;
  for each in
    select s.* from etl.slots as s where s.schedule = decide_slots.schedule.name and s.state = 'pending' and s.slot <= at
    order by extract(epoch from s.slot) * case when newest_first then -1 else 1 end limit max_runs
  loop
    begin
      decided := etl.request_slot(schedule, each.slot, each.slot_previous,
        case when catches_up then '{"overlap": "queue"}' else '{}' end::jsonb);
      counts := counts || jsonb_build_object(decided.state, (counts ->> decided.state)::integer + 1);
      if decided.state = 'requested' then
        perform etl.resolve_alert('run_failed', 'schedule ' || schedule.name, 'A run could be asked for again.');
      end if;
    exception when others then
      get stacked diagnostics code = returned_sqlstate, told = message_text, raised = pg_exception_detail;
      -- locks, conflicts, resources, a database that is not ready: the next tick tries again
      if code in ('40001', '40P01', '55P03') or code ~ '^(53|57|58|ET5)' then
        return counts;
      end if;
      refusal := case when code ~ '^ET' then raised::jsonb || jsonb_build_object('type', '/api/problems/' || (raised::jsonb ->> 'type'))
        else jsonb_build_object('type', '/api/problems/database-error', 'status', 500,
          'detail', format('The database refused a statement: %s (SQLSTATE %s)', told, code)) end;
      update etl.slots as s set state = 'failed', problem = refusal, decided_at = clock_timestamp()
        where s.schedule = decide_slots.schedule.name and s.slot = each.slot;
      perform etl.raise_alert('run_failed', 'schedule ' || schedule.name,
        format('Schedule %s could not request its run of %s: %s', schedule.name, etl.iso(each.slot),
          -- the detail names fields; whoever is told wants to know which value is wrong, and what would be right
          left(coalesce((select string_agg(concat(e ->> 'field', ' (' || (e -> 'value')::text || ')', ' ', e ->> 'message',
            '; expected: ' || (e ->> 'expected')), '; ') from jsonb_array_elements(refusal -> 'errors') as e), refusal ->> 'detail'), 1000)),
        jsonb_build_object('severity', 'error', 'run_label', schedule.name, 'details',
          jsonb_build_object('schedule', schedule.name, 'slot', etl.iso(each.slot), 'errors', refusal -> 'errors')));
      counts := counts || jsonb_build_object('failed', (counts ->> 'failed')::integer + 1);
    end;
  end loop;
  return counts;
end $$;

-- Turns due slots into runs, at a time. One call at once; of several schedules none can hold up the others. What is left
-- after max_time is for the next tick.
drop function if exists etl.tick_schedules_at(timestamptz, integer);
create or replace function etl.tick_schedules_at(
  at timestamptz, max_runs integer default 300, max_time interval default '30 seconds'
) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  total jsonb := '{"requested": 0, "skipped": 0, "missed": 0, "failed": 0}';
  due text;
  schedule etl.schedules;
  counts jsonb;
  room integer := max_runs;
  started timestamptz := clock_timestamp();
begin
  if not pg_try_advisory_xact_lock(hashtextextended('etl tick_schedules', 0)) then
    return total;
  end if;
  for due in
    select s.schedule from etl.slots as s where s.state = 'pending' and s.slot <= at group by s.schedule order by min(s.slot)
  loop
    exit when room <= 0 or clock_timestamp() > started + max_time;
    -- somebody who is changing it or runs its past slots comes first; the next tick is in a minute
    select * into schedule from etl.schedules as s where s.name = due for update skip locked;
    continue when not found;
    begin
      counts := etl.decide_slots(schedule, at, room);
    exception when others then
      -- its slots stay undecided, which is told as overdue
      raise warning 'schedule % could not be decided: %', due, sqlerrm;
      continue;
    end;
    room := room - (counts ->> 'requested')::integer - (counts ->> 'failed')::integer;
    select jsonb_object_agg(t.key, t.value::integer + (counts ->> t.key)::integer) into total from jsonb_each_text(total) as t;
  end loop;
  return total;
end $$;

create or replace function etl.tick_schedules() returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  counts jsonb := etl.tick_schedules_at(clock_timestamp());
begin
  -- by which health sees that somebody calls it, whoever that is
  update etl.job_scheduler set ticked_at = clock_timestamp(),
    cron_ticked_at = case when current_setting('application_name') like 'etl-improved%' then cron_ticked_at else clock_timestamp() end;
  return counts;
end $$;
comment on function etl.tick_schedules() is
  'turns due slots into runs; called each minute, needs no server. Answers how many slots came to each state';

-- Schedules that do not do what they should: a slot was due longer ago than grace and three ticks and nobody has decided
-- it, or no slots are stored ahead (no server has computed them, or none can be). due_at: since when. After a restore three
-- ticks come first: they decide what fell due between the backup and it.
create or replace function etl.overdue_schedules() returns table (schedule text, due_at timestamptz)
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.name, coalesce(undecided.slot, c.slots_until, c.plan_from)
  from etl.schedules as c
  left join (
    select s.schedule, min(s.slot) as slot from etl.slots as s
    join etl.schedules as o on o.name = s.schedule
    where s.state = 'pending' and s.slot < clock_timestamp() - interval '3 minutes'
      and s.slot < clock_timestamp() - o.grace_seconds * interval '1 second' - interval '3 minutes'
    group by s.schedule) as undecided on undecided.schedule = c.name
  where not etl.is_paused(c.active, c.paused_until, clock_timestamp())
    and (undecided.slot is not null or coalesce(c.slots_until, c.plan_from) < clock_timestamp() - interval '3 minutes')
    and not exists (select from etl.reaction_settings as r where r.restored_at > clock_timestamp() - interval '3 minutes')
$$;
comment on function etl.overdue_schedules() is 'active schedules whose due slots nobody decides, or which have no slots ahead';

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
