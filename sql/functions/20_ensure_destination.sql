-- Creates what a run writes to, where the role may, and refuses a table of another shape.
create or replace function etl.ensure_destination(schema_name text, table_name text, audit_table_name text)
returns text[]
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  created text[] := '{}';
  qualified text := format('%I.%I', schema_name, table_name);
  -- index names of two long table names must not fall on each other
  short text := case when length(table_name) <= 50 then table_name else left(table_name, 41) || '_' || left(md5(table_name), 8) end;
  wanted text;
  parent text;
  child text;
begin
  begin
    if to_regnamespace(quote_ident(schema_name)) is null then
      -- `if not exists` alone fails when two create a schema at once
      perform pg_advisory_xact_lock(hashtextextended(format('etl schema %I', schema_name), 0));
      -- a query sees what the other has made, where to_regnamespace may still remember that there is none
      if not exists (select from pg_namespace as n where n.nspname = schema_name) then
        execute format('create schema %I', schema_name);
      end if;
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
  exception when insufficient_privilege then
    select string_agg(needed.grant, '; ') into wanted from (values
      (to_regnamespace(quote_ident(schema_name)) is null and not has_database_privilege(current_database(), 'create'),
        format('grant create on database %I to %I', current_database(), current_user)),
      (exists (select from pg_namespace as n where n.nspname = schema_name and not has_schema_privilege(n.oid, 'create')),
        format('grant usage, create on schema %I to %I', schema_name, current_user)),
      -- tables that inherit from the public ones can be made by their owner only
      (not pg_has_role((select c.relowner from pg_class as c where c.oid = 'public.etl_improved_metrics'::regclass), 'usage'),
        format('grant %I to %I', (select pg_get_userbyid(c.relowner) from pg_class as c where c.oid = 'public.etl_improved_metrics'::regclass), current_user))
    ) as needed (missing, "grant") where needed.missing;
    wanted := coalesce(wanted, sqlerrm);
    perform etl.raise_problem('missing-grant',
      format('%I.%I does not exist and role %I may not create it. Run `deno task setup-db --schema %s --role %s` as the owner, or: %s',
        schema_name, table_name, current_user, schema_name, current_user, wanted),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name,
        'message', 'does not hold what the run writes to', 'expected', wanted)));
  end;

  perform etl.check_destination(schema_name, table_name, audit_table_name);
  insert into etl.datasets (dataset, schema_name, table_name, maintained)
  values (schema_name || '.' || table_name, schema_name, table_name, table_name = 'etl_improved_events')
  on conflict do nothing;
  -- dropping a table with cascade takes the typed view with it
  perform etl.refresh_typed_views(d.dataset) from etl.datasets as d
  where d.dataset = ensure_destination.schema_name || '.' || ensure_destination.table_name and d.columns is not null
    and to_regclass(format('%I.%I', d.schema_name, d.view_name)) is null;
  return created;
end $$;
comment on function etl.ensure_destination(text, text, text) is 'creates the tables that a run writes to; answers with what it created';
