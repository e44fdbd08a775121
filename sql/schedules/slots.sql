-- Schedules and the slots that servers have computed for them.

-- Whether a schedule is paused at a time.
create or replace function etl.is_paused(active boolean, paused_until timestamptz, at timestamptz) returns boolean
language sql immutable as $$
  select not active or coalesce(paused_until > at, false)
$$;

-- Notes since when a schedule is paused and from when on its slots have to be computed anew: an edited
-- expression and a schedule that is switched on again make no slots in the past.
create or replace function etl.schedules_guard() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.time_zone <> old.time_zone then
    begin
      perform now() at time zone new.time_zone;
    exception when invalid_parameter_value then
      perform etl.raise_problem('invalid-conf', format('%s is not a known time zone.', new.time_zone),
        jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('field', 'time_zone', 'value', new.time_zone,
          'message', 'is not a known time zone', 'expected', 'an IANA name such as Europe/Madrid'))));
    end;
  end if;
  if tg_op = 'INSERT' then
    new.revision := 1;
    new.plan_from := clock_timestamp();
    new.slots_until := null;
    new.problem := null;
    new.paused_at := case when etl.is_paused(new.active, new.paused_until, clock_timestamp()) then clock_timestamp() end;
    return new;
  end if;
  if new.cron <> old.cron or new.time_zone <> old.time_zone or (new.active and not old.active) then
    new.revision := old.revision + 1;
    new.plan_from := clock_timestamp();
    new.slots_until := null;
    new.problem := null;
  end if;
  if etl.is_paused(new.active, new.paused_until, clock_timestamp()) then
    new.paused_at := coalesce(case when etl.is_paused(old.active, old.paused_until, clock_timestamp()) then old.paused_at end, clock_timestamp());
  else
    new.paused_at := null;
  end if;
  return new;
end $$;
create or replace trigger schedules_guard before insert or update on etl.schedules
  for each row execute function etl.schedules_guard();

-- Drops the future of an old expression, lets go what fell due in a pause, and wakes the servers, which compute slots.
create or replace function etl.schedules_changed() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if tg_op = 'UPDATE' then
    if new.cron <> old.cron or new.time_zone <> old.time_zone then
      delete from etl.slots as s where s.schedule = new.name and s.state = 'pending' and s.slot > clock_timestamp();
    end if;
    if old.paused_at is not null and new.paused_at is null then
      update etl.slots as s set state = 'skipped', note = 'the schedule was paused', decided_at = clock_timestamp()
      where s.schedule = new.name and s.state = 'pending' and s.slot <= clock_timestamp()
        and (etl.is_paused(old.active, old.paused_until, clock_timestamp()) or s.slot < old.paused_until);
    end if;
    if new.revision = old.revision then return null; end if;
  end if;
  perform pg_notify('etl_schedules', new.name);
  return null;
end $$;
create or replace trigger schedules_changed after insert or update on etl.schedules
  for each row execute function etl.schedules_changed();

-- Stores the slots that a server has computed for a revision of a schedule: those after plan_from that are not there yet.
-- previous holds the time before each slot. False where the schedule has been changed meanwhile or is gone.
create or replace function etl.store_slots(
  schedule text, revision bigint, slots timestamptz[], previous timestamptz[], until timestamptz
) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform from etl.schedules as s where s.name = store_slots.schedule and s.revision = store_slots.revision for update;
  if not found then return false; end if;
  insert into etl.slots (schedule, slot, slot_previous)
  select store_slots.schedule, u.slot, u.previous
  from unnest(store_slots.slots, store_slots.previous) as u (slot, previous)
  on conflict do nothing;
  update etl.schedules as s set slots_until = greatest(s.slots_until, store_slots.until), problem = null
    where s.name = store_slots.schedule;
  return true;
end $$;

-- Deletes what became of slots long ago: more than 400 days, or more than the newest 10,000 of a schedule.
create or replace function etl.purge_slots(batch integer default 1000) returns bigint
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  gone bigint;
  total bigint := 0;
begin
  delete from etl.slots as s where (s.schedule, s.slot) in (
    select o.schedule, o.slot from etl.slots as o where o.decided_at < now() - interval '400 days' limit batch);
  get diagnostics total = row_count;
  delete from etl.slots as s where (s.schedule, s.slot) in (
    select o.schedule, o.slot from etl.schedules as c
    cross join lateral (select d.schedule, d.slot from etl.slots as d where d.schedule = c.name and d.decided_at is not null
      order by d.decided_at desc, d.slot desc offset 10000 limit batch) as o
    limit batch);
  get diagnostics gone = row_count;
  return total + gone;
end $$;
comment on function etl.purge_slots(integer) is 'deletes old decided slots, a batch at a call; answers how many';
