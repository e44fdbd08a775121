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
