-- Decides the due slots of one schedule, whose row the caller holds locked: what is paused is skipped, what is later
-- than the grace is missed but for what the policy keeps, the rest is asked for. At most max_runs runs.
-- Answers how many slots came to each state; `again` where something stands in the way that may be gone next time.
create or replace function etl.decide_slots(schedule etl.schedules, at timestamptz, max_runs integer) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  counts jsonb := '{"requested": 0, "skipped": 0, "missed": 0, "failed": 0, "again": false}';
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
        return counts || '{"again": true}';
      end if;
      refusal := case when code ~ '^ET' then raised::jsonb || jsonb_build_object('type', '/api/problems/' || (raised::jsonb ->> 'type'))
        else jsonb_build_object('type', '/api/problems/database-error', 'status', 500,
          'detail', format('The database refused a statement: %s (SQLSTATE %s)', told, code)) end;
      update etl.slots as s set state = 'failed', problem = refusal, decided_at = clock_timestamp()
        where s.schedule = decide_slots.schedule.name and s.slot = each.slot;
      perform etl.raise_alert('run_failed', 'schedule ' || schedule.name,
        format('Schedule %s could not ask for its run of %s: %s', schedule.name, etl.iso(each.slot),
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
  update etl.job_scheduler set ticked_at = clock_timestamp();
  return counts;
end $$;
comment on function etl.tick_schedules() is
  'turns due slots into runs; called each minute, needs no server. Answers how many slots came to each state';
