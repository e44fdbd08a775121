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
  told := coalesce(state.silenced_until <= clock_timestamp(), true) and (state.notified_at is null
    -- whoever has acknowledged it knows
    or state.acknowledged_at is null and state.notified_at <= clock_timestamp() - settings.suppress_seconds * interval '1 second');
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

-- For what is looked at again and again: one alert when it begins, one recovery when it ends.
create or replace function etl.set_condition(kind text, subject text, holds boolean, message text, about jsonb default '{}') returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if not holds then
    perform etl.resolve_alert(kind, subject, message, about);
  elsif not exists (
      select from etl.alert_states as s
      where s.fingerprint = set_condition.kind || ':' || set_condition.subject and s.resolved_at is null) then
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
