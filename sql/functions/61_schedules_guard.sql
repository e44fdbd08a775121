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
