-- Creates the tables of a destination that are missing, in a schema that is there, and answers with what it created.
-- Runs as the owner of schema etl, for whoever may create something in the destination's schema: only the owner of
-- the public tables can make tables that inherit from them, and all tables of destinations have one owner this way.
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
  if not has_schema_privilege(session_user, (select n.oid from pg_namespace as n where n.nspname = schema_name), 'create') then
    raise insufficient_privilege using message = format('permission denied for schema %I', schema_name);
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
  perform etl.grant_destination(s.role_name, schema_name, table_name)
  from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name;
  return created;
end $$;
comment on function etl.create_destination(text, text, text) is 'creates the tables of a destination in a schema that is there';
