-- Datasets that have had no event for longer than they may, and schedules that are overdue.
create or replace function etl.sweep_conditions() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  each record;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('etl sweep_conditions', 0)) then return; end if;
  for each in
    select d.dataset, e.created_at as last_at, coalesce(d.stale_after_seconds, s.stale_after_seconds) as allowed
    from etl.datasets as d
    cross join etl.reaction_settings as s
    -- what has never been loaded is not stale
    cross join lateral (select v.created_at from etl.dataset_events as v where v.dataset = d.dataset order by v.event_no desc limit 1) as e
    where coalesce(d.stale_after_seconds, s.stale_after_seconds) is not null
  loop
    if each.last_at < clock_timestamp() - each.allowed * interval '1 second' then
      perform etl.set_condition('stale', each.dataset, true, format('%s was last updated at %s, more than %s s ago.', each.dataset,
        etl.iso(each.last_at), each.allowed), jsonb_build_object('details', jsonb_build_object('last_at', etl.iso(each.last_at))));
    end if;
  end loop;
  perform etl.end_gone_incidents();
  if to_regprocedure('etl.overdue_schedules()') is null then return; end if;
  for each in execute 'select o.schedule, o.due_at, c.problem from etl.overdue_schedules() as o left join etl.schedules as c on c.name = o.schedule' loop
    perform etl.set_condition('schedule_overdue', each.schedule, true,
      case when each.problem is null then
        format('Schedule %s was due at %s and has made no run. Check that the scheduler runs: GET /api/etl/health says which it is.',
          each.schedule, etl.iso(each.due_at))
      else format('Schedule %s has made no run since %s, as its slots cannot be computed: %s', each.schedule, etl.iso(each.due_at),
        each.problem) end,
      jsonb_build_object('severity', 'error', 'details', jsonb_build_object('due_at', etl.iso(each.due_at))));
  end loop;
  for each in execute $sql$
    select s.subject from etl.alert_states as s where s.kind = 'schedule_overdue' and s.resolved_at is null
      and not exists (select from etl.overdue_schedules() as o where o.schedule = s.subject) $sql$
  loop
    perform etl.resolve_alert('schedule_overdue', each.subject, format('Schedule %s is on time again.', each.subject));
  end loop;
end $$;

-- What has been told, delivered and exported long ago.
create or replace function etl.purge_reactions(keep interval default '30 days') returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  delete from etl.notifications as n where n.state <> 'pending' and n.created_at < now() - keep;
  delete from etl.deliveries as d where d.state <> 'pending' and d.ended_at < now() - keep;
  delete from etl.alert_states as s where s.resolved_at < now() - keep;
$$;
