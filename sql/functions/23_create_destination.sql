-- Creates what a destination lacks, schema and tables, and answers with what it created. Refuses what is there with
-- another shape. Runs as the owner of schema etl, for whoever may create a schema, or something in that one: only the
-- owner of the public tables can make tables that inherit from them, and all destinations have one owner this way.
create or replace function etl.create_destination(schema_name text, table_name text, audit_table_name text)
returns text[]
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  created text[] := '{}';
  qualified text := format('%I.%I', schema_name, table_name);
  -- index names of two long table names must not fall on each other
  short text := case when length(table_name) <= 50 then table_name else left(table_name, 41) || '_' || left(md5(table_name), 8) end;
  parent text;
  child text;
begin
  perform etl.check_schema(schema_name);
  if not exists (select from pg_namespace as n where n.nspname = schema_name) then
    if not has_database_privilege(session_user, current_database(), 'create') then
      raise insufficient_privilege using message = format('permission denied for database %I', current_database());
    end if;
    -- `if not exists` alone fails when two create a schema at once
    perform pg_advisory_xact_lock(hashtextextended(format('etl schema %I', schema_name), 0));
    if not exists (select from pg_namespace as n where n.nspname = schema_name) then
      execute format('create schema %I', schema_name);
      if not pg_has_role(session_user, current_user, 'usage') then
        execute format('grant usage, create on schema %I to %I', schema_name, session_user);
      end if;
      created := created || format('schema %I', schema_name);
    end if;
  end if;
  if not has_schema_privilege(session_user, (select n.oid from pg_namespace as n where n.nspname = schema_name), 'create') then
    raise insufficient_privilege using message = format('permission denied for schema %I', schema_name);
  end if;
  -- A session that has looked the name up before another made the schema remembers that there is none, until it locks a
  -- relation that it has not locked yet: any will do.
  perform from pg_catalog.pg_language limit 1;
  perform etl.check_shape(schema_name, table_name, audit_table_name);
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
    execute format('create index if not exists %I on %s (occurred_at)', short || '_occurred_at', qualified);
    -- rows arrive in the order of updated_at, so a block range index is enough for maintenance
    execute format('create index if not exists %I on %s using brin (updated_at)', short || '_updated_at', qualified);
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
  insert into etl.datasets (dataset, schema_name, table_name, maintained)
  values (schema_name || '.' || table_name, schema_name, table_name, table_name = 'etl_improved_events')
  on conflict do nothing;
  perform etl.grant_destination(s.role_name, schema_name, table_name)
  from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name;
  return created;
end $$;
comment on function etl.create_destination(text, text, text) is 'creates what a destination lacks; answers with what it created';

-- Notes a table that is there as a dataset, for whoever may write into it. No grant follows from it on tables of others.
create or replace function etl.register_dataset(schema_name text, table_name text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := to_regclass(format('%I.%I', schema_name, table_name));
begin
  perform etl.check_shape(schema_name, table_name, 'etl_improved_audit');
  if relation is null or not has_table_privilege(session_user, relation, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not write into %I.%I. As its owner: grant insert on %I.%I to %I',
      session_user, schema_name, table_name, schema_name, table_name, session_user));
  end if;
  insert into etl.datasets (dataset, schema_name, table_name, maintained)
  values (schema_name || '.' || table_name, schema_name, table_name, table_name = 'etl_improved_events')
  on conflict do nothing;
end $$;
comment on function etl.register_dataset(text, text) is 'notes a table of the right shape as a dataset';
