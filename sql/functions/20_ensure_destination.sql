-- Creates what a run writes to, where the role may, and refuses a table of another shape.
create or replace function etl.ensure_destination(schema_name text, table_name text, audit_table_name text)
returns text[]
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  created text[] := '{}';
  qualified text := format('%I.%I', schema_name, table_name);
  missing text;
  parent text;
  child text;
begin
  begin
    if to_regnamespace(quote_ident(schema_name)) is null then
      execute format('create schema if not exists %I', schema_name);
      created := created || format('schema %I', schema_name);
    end if;
    if to_regclass(qualified) is null then
      perform pg_advisory_xact_lock(hashtextextended('etl destination ' || qualified, 0));
      execute format($ddl$
        create table if not exists %s (
          event_id text primary key,
          event_type text not null,
          occurred_at timestamptz,
          source text not null,
          version numeric,
          payload jsonb not null,
          fingerprint bytea not null,
          event_date date,
          event_hour smallint,
          run_id uuid not null,
          first_seen_at timestamptz not null default now(),
          updated_at timestamptz not null default now()
        )$ddl$, qualified);
      execute format('create index if not exists %I on %s (occurred_at)', left(table_name, 50) || '_occurred_at', qualified);
      -- rows arrive in the order of updated_at, so a block range index is enough for maintenance
      execute format('create index if not exists %I on %s using brin (updated_at)', left(table_name, 50) || '_updated_at', qualified);
      execute format('comment on table %s is %L', qualified, 'events loaded by etl_improved');
      created := created || ('table ' || qualified);
    end if;
    foreach child in array array['etl_improved_metrics', audit_table_name] loop
      parent := case when child = 'etl_improved_metrics' then child else 'etl_improved_audit' end;
      if to_regclass(format('%I.%I', schema_name, child)) is null then
        perform pg_advisory_xact_lock(hashtextextended(format('etl destination %I.%I', schema_name, child), 0));
        execute format('create table if not exists %I.%I (like public.%I including all) inherits (public.%I)',
          schema_name, child, parent, parent);
        if parent = 'etl_improved_metrics' then
          perform etl.watch_metrics(format('%I.%I', schema_name, child)::regclass);
        end if;
        created := created || format('table %I.%I', schema_name, child);
      end if;
    end loop;
  exception when insufficient_privilege then
    perform etl.raise_problem('missing-grant',
      format('%I.%I does not exist and role %I may not create it: run `deno task setup-db --schema %s --role %s` as the owner, or: grant create on database %I to %I; grant usage, create on schema %I to %I',
        schema_name, table_name, current_user, schema_name, current_user, current_database(), current_user, schema_name, current_user));
  end;

  select string_agg(format('%s %s', wanted.name, wanted.type), ', ') into missing
  from (values
    ('event_id', 'text'), ('event_type', 'text'), ('occurred_at', 'timestamp with time zone'), ('source', 'text'),
    ('version', 'numeric'), ('payload', 'jsonb'), ('fingerprint', 'bytea'), ('event_date', 'date'),
    ('event_hour', 'smallint'), ('run_id', 'uuid'), ('first_seen_at', 'timestamp with time zone'),
    ('updated_at', 'timestamp with time zone')) as wanted (name, type)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = to_regclass(qualified) and a.attname = wanted.name and not a.attisdropped
      and format_type(a.atttypid, null) = wanted.type);
  if missing is not null then
    perform etl.raise_problem('destination-mismatch',
      format('%s exists with another shape: it lacks %s. Name another table_name, or run sql/etl_migration.sql if it is an older installation.', qualified, missing),
      jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'lacks ' || missing)));
  end if;
  if not exists (
    select from pg_index as i
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass(qualified) and i.indisunique and i.indnkeyatts = 1 and i.indpred is null
      and a.attname = 'event_id') then
    perform etl.raise_problem('destination-mismatch',
      format('%s has no primary key or unique index on event_id alone, so an upsert could not find its rows.', qualified),
      jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'has no unique index on event_id')));
  end if;

  if not exists (
    select from pg_attribute as a where a.attrelid = to_regclass(format('%I.%I', schema_name, audit_table_name))
      and a.attname in ('run_id', 'run_label', 'event', 'status', 'actor', 'params', 'details') having count(*) = 7) then
    perform etl.raise_problem('destination-mismatch',
      format('%I.%I exists and is no audit table. Name another audit_table_name.', schema_name, audit_table_name),
      jsonb_build_array(jsonb_build_object('field', 'audit_table_name', 'value', audit_table_name, 'message', 'is a table of another shape')));
  end if;

  insert into etl.datasets (dataset, schema_name, table_name, maintained)
  values (schema_name || '.' || table_name, schema_name, table_name, table_name = 'etl_improved_events')
  on conflict do nothing;
  return created;
end $$;
comment on function etl.ensure_destination(text, text, text) is 'creates the tables that a run writes to; answers with what it created';
