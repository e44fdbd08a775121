-- Asks for etl_maintenance; a server carries it out. Only one is ever under way: while it is, a second request
-- is refused with its id. options: trigger (sql), requested_by, confirm (true: events may go by occurred_at, which
-- installations of 0.1.0 have to agree to once). A trigger of 'schedule' is never refused: it answers
-- the maintenance that is going on or that a schedule has asked for within the last hour, so that two schedulers
-- that fire at the same time ask once.
create or replace function etl.request_maintenance(conf jsonb default '{}', options jsonb default '{}') returns uuid
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  resolved record;
  asked_by text := coalesce(options ->> 'trigger', 'sql');
  going_on etl.maintenance_runs;
  made uuid := etl.uuid7();
begin
  select * into resolved from etl.resolve_maintenance(conf);
  if jsonb_array_length(resolved.errors) > 0 then
    perform etl.raise_problem(
      case when not exists (select from jsonb_array_elements(resolved.errors) as e where e ->> 'message' not like 'is not a known name%')
        then 'unknown-parameter' else 'invalid-conf' end,
      format('The conf of etl_maintenance has %s: %s',
        case jsonb_array_length(resolved.errors) when 1 then 'an error' else jsonb_array_length(resolved.errors) || ' errors' end,
        (select string_agg(concat_ws(' ', nullif(e ->> 'field', ''), e ->> 'message'), '; ') from jsonb_array_elements(resolved.errors) as e)),
      resolved.errors);
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl request_maintenance', 0));
  select * into going_on from etl.maintenance_runs as m
    where m.state in ('queued', 'running')
      or (asked_by = 'schedule' and m.trigger = 'schedule' and m.requested_at > now() - interval '1 hour')
    order by m.requested_at desc limit 1;
  if found then
    if asked_by = 'schedule' then
      return going_on.maintenance_id;
    end if;
    perform etl.raise_problem('conflict',
      format('Maintenance %s is going on (%s since %s). Look at it with GET /api/etl/maintenance/%s and ask again when it has ended.',
        going_on.maintenance_id, going_on.state, etl.iso(coalesce(going_on.started_at, going_on.requested_at)), going_on.maintenance_id),
      status => 409, extra => jsonb_build_object('maintenance_id', going_on.maintenance_id));
  end if;
  insert into etl.maintenance_runs (maintenance_id, trigger, requested_by, conf, params, origins)
  values (made, asked_by, coalesce(options ->> 'requested_by', current_user), conf, resolved.params, resolved.origins);
  insert into etl.maintenance_tasks (maintenance_id, task_no, task, cutoff)
  select made, t.task_no, t.task, now() - t.days * interval '1 day'
  from (
    select w.task_no, w.task, nullif((resolved.params ->> w.param)::integer, -1) as days
    from (values (1, 'clean_old_metrics', 'retention_days_metrics'), (2, 'clean_old_audit', 'retention_days_audit'),
      (3, 'clean_old_alerts', 'retention_days_alerts'), (4, 'clean_old_events', 'retention_days_events'),
      (5, 'refresh_mvs', null), (6, 'vacuum_analyze', null)) as w (task_no, task, param)) as t;
  insert into public.etl_improved_audit (event, status, actor, params, details)
  values ('maintenance_requested', 'queued', coalesce(options ->> 'requested_by', current_user), resolved.params,
    jsonb_build_object('maintenance_id', made, 'trigger', asked_by));
  if (options ->> 'confirm')::boolean then
    update etl.param_schema set events_by_occurred_at = true;
  end if;
  update etl.maintenance_tasks as t set warnings = jsonb_build_array(format('%s comes from the %s; %s days are taken',
      w.param, resolved.origins ->> w.param, resolved.params ->> w.param))
    from (values ('clean_old_metrics', 'retention_days_metrics'), ('clean_old_audit', 'retention_days_audit'),
      ('clean_old_alerts', 'retention_days_alerts'), ('clean_old_events', 'retention_days_events')) as w (task, param)
    where t.maintenance_id = made and t.task = w.task and resolved.origins ->> w.param like '%, which says %';
  perform etl.wake('maintenance');
  return made;
end $$;
comment on function etl.request_maintenance(jsonb, jsonb) is 'asks for etl_maintenance with these retention_days_*; answers its id';
