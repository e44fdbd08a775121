-- Alerts: found, told, suppressed, ended.

-- Puts a message for every channel into the outbox, in the caller's transaction, and wakes the senders.
create or replace function etl.notify_channels(type text, payload jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  channel text;
begin
  for channel in select unnest(s.channels) from etl.reaction_settings as s loop
    insert into etl.notifications (notification_id, channel, type, payload)
    values (etl.uuid7(), channel, notify_channels.type, notify_channels.payload);
    perform etl.wake('channel ' || channel);
  end loop;
end $$;

-- Tells the servers, whose open pages show incidents, of every change of one.
create or replace function etl.tell_incident() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform pg_notify('etl_incidents', '');
  return null;
end $$;
create or replace trigger tell_incident after insert or update on etl.alert_states
  for each row execute function etl.tell_incident();

-- Records an alert. Its fingerprint is kind and subject: while its incident is open, it is told once
-- in a suppression window; the next message says how often it happened meanwhile. Answers the alert's id.
-- about: run_id, run_label, severity (default warning), details.
create or replace function etl.raise_alert(kind text, subject text, message text, about jsonb default '{}') returns bigint
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  state etl.alert_states;
  settings etl.reaction_settings;
  told boolean;
  id bigint;
  details jsonb := coalesce(about -> 'details', '{}');
begin
  select * into settings from etl.reaction_settings;
  insert into etl.alert_states as s (fingerprint, kind, subject, opened_at, last_at)
  values (raise_alert.kind || ':' || raise_alert.subject, raise_alert.kind, raise_alert.subject, clock_timestamp(), clock_timestamp())
  on conflict (fingerprint) do update set
    opened_at = case when s.resolved_at is null then s.opened_at else excluded.opened_at end,
    occurrences = case when s.resolved_at is null then s.occurrences + 1 else 1 end,
    suppressed = case when s.resolved_at is null then s.suppressed else 0 end,
    -- what comes back after a recovery is news
    notified_at = case when s.resolved_at is null then s.notified_at end,
    acknowledged_at = case when s.resolved_at is null then s.acknowledged_at end,
    acknowledged_by = case when s.resolved_at is null then s.acknowledged_by end,
    resolved_by = null,
    last_at = excluded.last_at, resolved_at = null
  returning * into state;
  -- whoever has acknowledged it knows
  told := coalesce(state.silenced_until <= clock_timestamp(), true) and state.acknowledged_at is null and (state.notified_at is null
    or state.notified_at <= clock_timestamp() - settings.suppress_seconds * interval '1 second');
  insert into public.etl_improved_alerts (kind, severity, message, run_id, run_label, fingerprint, details, suppressed, created_at)
  values (raise_alert.kind, coalesce(about ->> 'severity', 'warning'), raise_alert.message, (about ->> 'run_id')::uuid,
    about ->> 'run_label', state.fingerprint, details, not told, clock_timestamp())
  returning alert_id into id;
  if told then
    perform etl.notify_channels('raised', jsonb_build_object('alert_id', id, 'kind', raise_alert.kind, 'subject', raise_alert.subject,
      'severity', coalesce(about ->> 'severity', 'warning'), 'message', raise_alert.message, 'run_id', about ->> 'run_id',
      'run_label', about ->> 'run_label', 'fingerprint', state.fingerprint, 'details', details,
      'occurrences', state.occurrences, 'suppressed_before', state.suppressed,
      'opened_at', etl.iso(state.opened_at), 'at', etl.iso(clock_timestamp())));
    update etl.alert_states as s set notified_at = clock_timestamp(), suppressed = 0 where s.fingerprint = state.fingerprint;
  else
    update etl.alert_states as s set suppressed = s.suppressed + 1 where s.fingerprint = state.fingerprint;
  end if;
  return id;
end $$;
comment on function etl.raise_alert(text, text, text, jsonb) is
  'records an alert and tells the channels, unless its fingerprint was told within the suppression window';

-- Ends the incident of a kind and subject, if one is open, and says so to whoever was told of it.
create or replace function etl.resolve_alert(kind text, subject text, message text, about jsonb default '{}') returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  state etl.alert_states;
begin
  update etl.alert_states as s set resolved_at = clock_timestamp()
    where s.fingerprint = resolve_alert.kind || ':' || resolve_alert.subject and s.resolved_at is null returning * into state;
  if not found then return false; end if;
  update public.etl_improved_alerts as a set resolved_at = state.resolved_at
    where a.fingerprint = state.fingerprint and a.resolved_at is null;
  if state.notified_at is not null then
    perform etl.notify_channels('recovered', jsonb_build_object('kind', state.kind, 'subject', state.subject, 'severity', 'info',
      'message', resolve_alert.message, 'run_id', about ->> 'run_id', 'run_label', about ->> 'run_label',
      'fingerprint', state.fingerprint, 'occurrences', state.occurrences, 'details', coalesce(about -> 'details', '{}'),
      'opened_at', etl.iso(state.opened_at), 'at', etl.iso(state.resolved_at)));
  end if;
  return true;
end $$;
comment on function etl.resolve_alert(text, text, text, jsonb) is 'ends an incident and tells of the recovery; false where none was open';

-- For what is looked at again and again: one alert when it begins, or when the silence in which it began is over; one
-- recovery when it ends.
create or replace function etl.set_condition(kind text, subject text, holds boolean, message text, about jsonb default '{}') returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if not holds then
    perform etl.resolve_alert(kind, subject, message, about);
  elsif not exists (
      select from etl.alert_states as s
      where s.fingerprint = set_condition.kind || ':' || set_condition.subject and s.resolved_at is null
        and (s.notified_at is not null or s.acknowledged_at is not null or s.silenced_until > clock_timestamp())) then
    perform etl.raise_alert(kind, subject, message, about);
  end if;
end $$;

-- What a person does about an incident that is open: acknowledge it (its repetitions are told no more), silence it until
-- a time, close it. With an entry in the audit; false where no incident of that fingerprint is open.
create or replace function etl.handle_alert(fingerprint text, action text, actor text default current_user, until timestamptz default null)
returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  state etl.alert_states;
begin
  select * into state from etl.alert_states as s where s.fingerprint = handle_alert.fingerprint and s.resolved_at is null for update;
  if not found then return false; end if;
  case handle_alert.action
    when 'acknowledge' then
      update etl.alert_states as s set acknowledged_at = clock_timestamp(), acknowledged_by = actor where s.fingerprint = state.fingerprint;
    when 'silence' then
      update etl.alert_states as s set silenced_until = until, silenced_by = actor where s.fingerprint = state.fingerprint;
    when 'close' then
      perform etl.resolve_alert(state.kind, state.subject, format('Closed by %s.', actor));
      update etl.alert_states as s set resolved_by = actor where s.fingerprint = state.fingerprint;
    else raise exception 'action % is none of acknowledge, silence, close', handle_alert.action;
  end case;
  insert into public.etl_improved_audit (event, actor, details) values ('alert_' || handle_alert.action, actor,
    jsonb_strip_nulls(jsonb_build_object('fingerprint', state.fingerprint, 'until', etl.iso(until))));
  return true;
end $$;
comment on function etl.handle_alert(text, text, text, timestamptz) is 'acknowledges, silences or closes an open incident, with who did it';

-- Expectations of the run's suite that failed: {failed, evaluated, names}; null where nothing was evaluated.
create or replace function etl.failed_expectations(run_id uuid) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select jsonb_build_object('failed', (r.result #>> '{statistics,unsuccessful_expectations}')::bigint,
    'evaluated', (r.result #>> '{statistics,evaluated_expectations}')::bigint,
    'names', coalesce((select jsonb_agg(distinct e #>> '{expectation_config,type}')
      from jsonb_array_elements(r.result -> 'results') as e where not (e ->> 'success')::boolean), '[]'))
  from etl.validations as r where r.run_id = failed_expectations.run_id
$$;

-- The parameters of etl_consumer and where each came from, first wins: variable etl_consumer__<name>, the servers'
-- environment (etl.reaction_settings). A variable of another kind or beyond the limits counts as none.
create or replace function etl.consumer_params(out trend_window integer, out drop_threshold_pct double precision, out origins jsonb)
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(w.value::integer, s.trend_window), coalesce(d.value, round((s.ratio_drop * 100)::numeric, 6)::double precision),
    jsonb_build_object('trend_window', case when w.value is null then 'environment' else 'variable' end,
      'drop_threshold_pct', case when d.value is null then 'environment' else 'variable' end)
  from etl.reaction_settings as s
  left join lateral (select trunc((v.value #>> '{}')::numeric) as value from etl.variables as v
    where v.name = 'etl_consumer__trend_window' and jsonb_typeof(v.value) = 'number'
      and (v.value #>> '{}')::numeric between 3 and 1000) as w on true
  left join lateral (select (v.value #>> '{}')::double precision as value from etl.variables as v
    where v.name = 'etl_consumer__drop_threshold_pct' and jsonb_typeof(v.value) = 'number'
      and (v.value #>> '{}')::numeric between 0 and 100) as d on true
$$;
comment on function etl.consumer_params() is 'how a run is compared with those before it, and where that is said';

-- Judges a run that has ended: raises what it shows, ends the incidents that it disproves.
-- Dry runs and replays raise nothing, a cancelled run neither raises nor disproves. One cause, one alert.
create or replace function etl.detect_alerts(run etl.runs) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  settings etl.reaction_settings;
  about jsonb := jsonb_build_object('run_id', run.run_id, 'run_label', run.run_label);
  problem text := replace(coalesce(run.error ->> 'type', ''), '/api/problems/', '');
  validation jsonb := etl.failed_expectations(run.run_id);
  ge_failed boolean;
  incremental boolean := run.params #>> '{source,cursor}' is not null;
  trend record;
  compared record;
  bound double precision;
begin
  if run.dry_run or run.replay_of is not null or run.state = 'cancelled' then return; end if;
  -- an end that could not be judged in its turn says nothing new after a later one of its label
  if exists (
      select from etl.runs as r join etl.run_ends as e using (run_id)
      where r.run_label = run.run_label and e.ended_at > run.ended_at and e.consumed_at is not null
        and not r.dry_run and r.replay_of is null and e.snapshot ->> 'state' <> 'cancelled') then
    return;
  end if;
  select * into settings from etl.reaction_settings;
  ge_failed := problem = 'validation-failed' or coalesce((validation ->> 'failed')::bigint > 0, false);
  if ge_failed then
    perform etl.raise_alert('ge_failed', run.run_label, case when validation is null then run.error ->> 'detail'
        else format('%s of %s expectations failed: %s. %s', validation ->> 'failed', validation ->> 'evaluated',
          (select string_agg(n #>> '{}', ', ') from jsonb_array_elements(validation -> 'names') as n),
          case when run.state = 'failed' then 'Nothing was loaded.'
            when run.params ->> 'on_failure' = 'quarantine' then format('Records in the quarantine: %s; rows in the table: %s.',
              coalesce(run.counts ->> 'rejected', '0'), run.total_rows)
            else 'The data was loaded nevertheless.' end) end,
      about || jsonb_build_object('severity', case when run.state = 'failed' then 'error' else 'warning' end,
        'details', coalesce(validation, '{}')));
  end if;
  if run.low_ratio then
    perform etl.raise_alert('low_ratio', run.run_label, case when run.state = 'failed' then run.error ->> 'detail'
        else format('%s of %s expected rows arrived (ratio %s), accepted by min_acceptance_ratio %s. Look at the quarantine of the run.',
          run.total_rows, run.expected_rows, round(run.ratio::numeric, 4), run.params ->> 'min_acceptance_ratio') end,
      about || jsonb_build_object('severity', case when run.state = 'failed' then 'error' else 'warning' end,
        'details', jsonb_build_object('ratio', run.ratio, 'min_acceptance_ratio', run.params -> 'min_acceptance_ratio',
          'accepted', run.state = 'succeeded', 'total_rows', run.total_rows, 'expected_rows', run.expected_rows)));
  end if;
  if run.state = 'failed' then
    if not coalesce(run.low_ratio, false) and not ge_failed then
      perform etl.raise_alert('run_failed', run.run_label, coalesce(run.error ->> 'detail', 'The run failed.'),
        about || jsonb_build_object('severity', 'error', 'details', jsonb_build_object('problem', problem, 'attempt', run.attempt)));
    end if;
    return;
  end if;

  perform etl.resolve_alert('run_failed', run.run_label, 'A run has succeeded.', about);
  if not run.low_ratio then
    perform etl.resolve_alert('low_ratio', run.run_label, format('The ratio is %s again.', round(run.ratio::numeric, 4)), about);
  end if;
  if not ge_failed then
    perform etl.resolve_alert('ge_failed', run.run_label, 'All expectations hold.', about);
  end if;

  -- the ratio of nothing is 1, so that nothing else tells of an empty source
  if incremental then
    -- it gives what changed, however much that is
    perform etl.resolve_alert('volume_drop', run.run_label, 'The source is incremental: a run gives what has changed, however much that is.', about);
  elsif run.total_rows = 0 then
    perform etl.raise_alert('volume_drop', run.run_label, case coalesce((run.counts ->> 'records_read')::bigint, 0)
        when 0 then 'Nothing was read: the source had no records.'
        else format('None of the %s records read has reached the table.', run.counts ->> 'records_read') end,
      about || jsonb_build_object('details', jsonb_build_object('total_rows', 0)));
  end if;

  select * into compared from etl.consumer_params();
  select count(*) as runs, avg(m.ratio) as ratio, avg(m.total_rows) as total_rows into trend
  from (
    select m.ratio, m.total_rows from public.etl_improved_metrics as m
    where m.run_label = run.run_label and m.created_at < run.ended_at and m.run_id <> run.run_id
      and not m.dry_run and m.replay_of is null and m.ratio is not null
    order by m.created_at desc limit compared.trend_window) as m;
  if trend.runs < 3 then
    if run.total_rows > 0 and not incremental then
      perform etl.resolve_alert('volume_drop', run.run_label, format('%s rows arrived.', run.total_rows), about);
    end if;
    return;
  end if;
  bound := trend.ratio * (1 - compared.drop_threshold_pct / 100);
  if run.ratio < bound then
    perform etl.raise_alert('trend_drop', run.run_label,
      format('The ratio fell to %s; the mean of the last %s runs of this label is %s.', round(run.ratio::numeric, 4), trend.runs,
        round(trend.ratio::numeric, 4)),
      about || jsonb_build_object('details', jsonb_build_object('ratio', run.ratio, 'avg_ratio', trend.ratio,
        'threshold_pct', compared.drop_threshold_pct, 'runs', trend.runs)));
  else
    perform etl.resolve_alert('trend_drop', run.run_label, format('The ratio is %s again.', round(run.ratio::numeric, 4)), about);
  end if;
  if incremental then return; end if;
  if run.total_rows = 0 then
    null;
  elsif run.total_rows <= trend.total_rows * (1 - settings.volume_drop) then
    perform etl.raise_alert('volume_drop', run.run_label,
      format('Only %s rows arrived; the mean of the last %s runs of this label is %s.', run.total_rows, trend.runs, round(trend.total_rows)),
      about || jsonb_build_object('details', jsonb_build_object('total_rows', run.total_rows, 'mean', round(trend.total_rows, 1), 'runs', trend.runs)));
  else
    perform etl.resolve_alert('volume_drop', run.run_label, format('%s rows arrived.', run.total_rows), about);
  end if;
end $$;
comment on function etl.detect_alerts(etl.runs) is 'raises and ends alerts from what a run that has ended shows';

-- Closes incidents of what is gone: nothing would ever disprove them.
create or replace function etl.end_gone_incidents() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  state etl.alert_states;
  why text;
begin
  for state in select * from etl.alert_states as s where s.resolved_at is null loop
    why := case
      when state.kind = 'run_failed' and state.subject like 'schedule %' then
        (select case when count(*) = 0 then 'The schedule is gone.' when not bool_or(c.active) then 'The schedule is off.' end
         from etl.schedules as c where 'schedule ' || c.name = state.subject)
      when state.kind in ('run_failed', 'ge_failed', 'low_ratio', 'trend_drop', 'volume_drop', 'sla_miss') then
        (select case when count(*) = 0 then 'The label has no runs any more.'
            -- longer than from one month's run to the next one's
            when max(r.requested_at) < clock_timestamp() - interval '40 days' then 'The label has not been run for 40 days.' end
         -- a deadline of a stage has it behind the label
         from etl.runs as r where r.run_label in (state.subject, case state.kind when 'sla_miss' then regexp_replace(state.subject, ' [a-z_]+$', '') end))
      when state.kind = 'stale' then
        case when not exists (select from etl.datasets as d, etl.reaction_settings as s where d.dataset = state.subject
            and coalesce(d.stale_after_seconds, s.stale_after_seconds) is not null
            and etl.find_table(d.schema_name, d.table_name) is not null)
          then 'The dataset is gone, or may be as old as it likes.' end
      when state.kind in ('consumer_failed', 'consumer_late') then
        case when not exists (select from etl.consumers as c where c.active and c.consumer = split_part(state.subject, ' ', 1))
          then 'The consumer is gone.'
          when state.kind = 'consumer_failed' and not etl.owes_deliveries(state.subject)
          then 'What the consumer gave up has been delivered since, or deleted as too old.' end
    end;
    if why is not null then
      perform etl.resolve_alert(state.kind, state.subject, why);
    end if;
  end loop;
end $$;
comment on function etl.end_gone_incidents() is 'closes incidents whose schedule, label, dataset or consumer is gone';

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
    if each.last_at >= clock_timestamp() - each.allowed * interval '1 second' then
      perform etl.set_condition('stale', each.dataset, false, format('%s has been updated.', each.dataset));
    else
      perform etl.set_condition('stale', each.dataset, true, format('%s was last updated at %s, more than %s s ago.', each.dataset,
        etl.iso(each.last_at), each.allowed), jsonb_build_object('details', jsonb_build_object('last_at', etl.iso(each.last_at))));
    end if;
  end loop;
  for each in
    select c.consumer, o.since, coalesce(o.since < clock_timestamp() - interval '15 minutes', false) as late
    from etl.consumers as c, lateral (select min(coalesce(d.redelivered_at, d.created_at)) as since from etl.deliveries as d
      where d.consumer = c.consumer and d.state = 'pending') as o
    where c.active
  loop
    perform etl.set_condition('consumer_late', each.consumer, each.late, case when each.late
        then format('An event has waited for consumer %s since %s. GET /api/consumers shows what holds it up.', each.consumer, etl.iso(each.since))
        else format('Consumer %s has caught up.', each.consumer) end, jsonb_build_object('severity', 'error'));
  end loop;
  perform etl.end_gone_incidents();
  if to_regprocedure('etl.overdue_schedules()') is null then return; end if;
  for each in execute 'select o.schedule, o.due_at, c.problem from etl.overdue_schedules() as o left join etl.schedules as c on c.name = o.schedule' loop
    perform etl.set_condition('schedule_overdue', each.schedule, true,
      case when each.problem is null then
        format('Schedule %s was due at %s and has made no run. Check the scheduler: GET /api/etl/health shows which one is in use.',
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
