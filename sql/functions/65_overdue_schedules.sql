-- Schedules that do not do what they should: a slot was due longer ago than grace and three ticks and nobody has decided
-- it, or no slots are stored ahead (no server has computed them, or none can be). due_at: since when.
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
$$;
comment on function etl.overdue_schedules() is 'active schedules whose due slots nobody decides, or which have no slots ahead';
