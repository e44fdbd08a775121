-- Tables of the Airflow system that this project replaces. Events become ours where they are; audit, metrics and
-- alerts are set aside in schema etl_original, and take_over.sql copies their rows into ours. A table of a third shape
-- is refused, saying what differs, before anything is changed. Where there is nothing of the kind, nothing happens.
do $etl_original$
declare
  -- what makes a table the original's; further columns are welcome, and kept
  needed constant jsonb := '{
    "etl_improved_events": {"event_id": "text", "event_type": "text", "payload": "json"},
    "etl_improved_audit": {"run_label": "text", "created_at": "time"},
    "etl_improved_metrics": {"run_label": "text", "total_rows": "number", "expected_rows": "number", "ratio": "number", "created_at": "time"},
    "etl_improved_alerts": {"kind": "text", "message": "text", "created_at": "time"}}';
  -- what our table has and the original's has not
  ours constant jsonb := '{"etl_improved_events": "first_seen_at", "etl_improved_audit": "audit_id", "etl_improved_metrics": "stages", "etl_improved_alerts": "alert_id"}';
  families constant jsonb := '{
    "text": ["text", "character varying", "character"], "json": ["jsonb", "json"],
    "number": ["integer", "bigint", "smallint", "numeric", "double precision", "real"],
    "time": ["timestamp with time zone", "timestamp without time zone"]}';
  -- what the original calls them
  names constant jsonb := '{
    "etl_improved_events": {"pk": "event_id", "event_time": "occurred_at", "attributes": "payload", "inserted_at": "first_seen_at"},
    "etl_improved_audit": {"at": "created_at"}, "etl_improved_metrics": {"at": "created_at"}, "etl_improved_alerts": {"at": "created_at"}}';
  old text[] := '{}';
  each record;
  renamed record;
  differences text;
  found text;
  zone text := current_setting('timezone');
begin
  perform pg_advisory_xact_lock(hashtextextended('etl setup', 0));
  for each in
    select t.name, c.oid as relation, c.relkind from jsonb_object_keys(needed) as t (name)
    join pg_class as c on c.oid = to_regclass('public.' || t.name)
    where not exists (select from pg_attribute as a where a.attrelid = c.oid and a.attname = ours ->> t.name and not a.attisdropped)
    order by 1
  loop
    -- taken back with all else where a table is refused
    found := null;
    if each.relkind = 'r' then
      for renamed in
        select n.key as name, n.value as to_name from jsonb_each_text(names -> each.name) as n
        where exists (select from pg_attribute as a where a.attrelid = each.relation and a.attname = n.key and not a.attisdropped)
          and not exists (select from pg_attribute as a where a.attrelid = each.relation and a.attname = n.value and not a.attisdropped)
      loop
        found := concat_ws(', ', found, renamed.name);
        execute format('alter table public.%I rename column %I to %I', each.name, renamed.name, renamed.to_name);
      end loop;
      if each.name = 'etl_improved_events' and found is not null then
        alter table public.etl_improved_events add column if not exists event_type text;
        alter index if exists public.etl_improved_events_event_time_idx rename to etl_improved_events_occurred_at;
      end if;
    end if;
    select string_agg(format('%s expected %s, found %s', w.name,
        (select string_agg(f #>> '{}', ' or ') from jsonb_array_elements(families -> w.family) as f),
        coalesce(format_type(a.atttypid, a.atttypmod), 'no such column')), '; ' order by w.name) into differences
    from jsonb_each_text(needed -> each.name) as w (name, family)
    left join pg_attribute as a on a.attrelid = each.relation and a.attname = w.name and not a.attisdropped
    where a.attname is null or not (families -> w.family) ? format_type(a.atttypid, null);
    select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) into found
    from pg_attribute as a where a.attrelid = each.relation and a.attnum > 0 and not a.attisdropped;
    if each.relkind <> 'r' then
      differences := concat_ws('; ', 'expected a table, found something else', differences);
    end if;
    if each.name = 'etl_improved_events' and not exists (
        select from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = each.relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null and a.attname = 'event_id') then
      differences := concat_ws('; ', differences, 'expected a primary key on event_id, found none');
    end if;
    if differences is not null then
      differences := format('public.%s is neither a table of etl-improved nor of the system that it replaces: %s. It has: %s. Nothing was changed. Rename the table, or bring it into that shape, then run this again.',
        each.name, differences, found);
      raise exception '%', differences using errcode = 'ET409', detail = jsonb_build_object('type', 'destination-mismatch',
        'status', 409, 'detail', differences, 'errors', '[]'::jsonb)::text;
    end if;
    old := old || each.name;
  end loop;
  if old = '{}' then return; end if;

  -- times without a zone were written by Airflow in UTC
  perform set_config('timezone', 'UTC', true);
  if old && array['etl_improved_audit', 'etl_improved_metrics', 'etl_improved_alerts'] then
    if exists (select from pg_namespace as n where n.nspname = 'etl_original' and pg_get_userbyid(n.nspowner) <> current_user) then
      raise exception 'Schema etl_original is another role''s, so what is in it is not ours to run. Rename it, then run this again.';
    end if;
    create schema if not exists etl_original;
    -- views are made again over our tables; of the same name, with other columns
    for each in
      select c.oid::regclass as relation, c.relkind from pg_class as c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm')
        and c.relname in ('v_etl_latest_metrics', 'v_etl_recent_alerts', 'mv_etl_metrics_daily', 'mv_etl_alerts_daily')
    loop
      execute format('drop %s %s', case each.relkind when 'v' then 'view' else 'materialized view' end, each.relation);
    end loop;
    drop function if exists public.refresh_etl_mvs();
  end if;
  for each in select t.name from unnest(old) as t (name) where t.name <> 'etl_improved_events' loop
    execute format('alter table public.%I set schema etl_original', each.name);
  end loop;

  if 'etl_improved_events' = any (old) then
    -- what its owner would attach to it later would run with the rights of whoever loads
    select pg_get_userbyid(c.relowner) as owner into each from pg_class as c where c.oid = 'public.etl_improved_events'::regclass;
    if each.owner <> current_user then
      execute format('alter table public.etl_improved_events owner to %I', current_user);
      execute format('grant select, insert, update, delete on public.etl_improved_events to %I', each.owner);
    end if;
    for each in select a.attname as name from pg_attribute as a
      where a.attrelid = 'public.etl_improved_events'::regclass and a.attnum > 0 and not a.attisdropped
    loop
      case each.name
        when 'created_at' then alter table public.etl_improved_events rename column created_at to first_seen_at;
        -- an id of Airflow's becomes ours, the same in every table
        when 'run_id' then
          alter table public.etl_improved_events alter column run_id drop default, alter column run_id type uuid
            using case when run_id::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then run_id::text::uuid else md5(run_id::text)::uuid end;
        when 'fingerprint' then
          alter table public.etl_improved_events alter column fingerprint drop default, alter column fingerprint type bytea
            using case when fingerprint::text ~ '^([0-9a-f]{2})+$' then decode(fingerprint::text, 'hex') else convert_to(fingerprint::text, 'UTF8') end;
        when 'version' then
          alter table public.etl_improved_events alter column version drop default, alter column version type numeric using version::text::numeric;
        else null;
      end case;
    end loop;
    alter table public.etl_improved_events
      add column if not exists occurred_at timestamptz,
      add column if not exists source text,
      add column if not exists version numeric,
      add column if not exists fingerprint bytea,
      add column if not exists event_date date,
      add column if not exists event_hour smallint,
      add column if not exists run_id uuid,
      add column if not exists first_seen_at timestamptz,
      add column if not exists updated_at timestamptz;
    alter table public.etl_improved_events
      alter column event_id type text, alter column event_type type text, alter column source type text,
      alter column payload type jsonb using payload::jsonb,
      alter column payload drop default, alter column event_type drop default, alter column occurred_at drop not null,
      alter column occurred_at type timestamptz, alter column first_seen_at type timestamptz, alter column updated_at type timestamptz;
    -- the synthetic source and sources without a name of runs labelled etl_improved own them
    update public.etl_improved_events set
      event_type = coalesce(event_type, 'unknown'), source = coalesce(source, 'etl_improved'), payload = coalesce(payload, '{}'),
      fingerprint = coalesce(fingerprint, ''), run_id = coalesce(run_id, '00000000-0000-0000-0000-000000000000'),
      first_seen_at = coalesce(first_seen_at, updated_at, now()), updated_at = coalesce(updated_at, first_seen_at, now())
    where event_type is null or source is null or payload is null or fingerprint is null or run_id is null
      or first_seen_at is null or updated_at is null;
    alter table public.etl_improved_events
      alter column event_type set not null, alter column source set not null, alter column payload set not null,
      alter column fingerprint set not null, alter column run_id set not null,
      alter column first_seen_at set not null, alter column first_seen_at set default now(),
      alter column updated_at set not null, alter column updated_at set default now();
    create index if not exists etl_improved_events_occurred_at on public.etl_improved_events (occurred_at);
    drop index if exists public.etl_improved_events_updated_at;
    create index etl_improved_events_updated_at on public.etl_improved_events using brin (updated_at);
    comment on table public.etl_improved_events is 'events loaded by etl_improved';
  end if;
  perform set_config('timezone', zone, true);
end $etl_original$;
