-- The tables that a run writes to: which are refused, which are made, which are registered.

-- A table by its name; null where there is none. Unlike to_regclass it needs no right on the schema.
create or replace function etl.find_table(schema_name text, table_name text) returns regclass
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.oid::regclass from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where n.nspname = schema_name and c.relname = table_name
$$;

-- Refuses schemas that are no place for data: those of PostgreSQL, its extensions and the pipeline itself.
create or replace function etl.check_schema(schema_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if schema_name in ('etl', 'cron', 'information_schema') or schema_name like 'pg\_%' then
    perform etl.raise_problem('invalid-conf',
      format('Schema %I cannot hold data: it belongs to PostgreSQL or to the pipeline itself. Choose another schema_name; a missing one is created.', schema_name),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name,
        'message', 'is reserved', 'expected', 'a schema of your own, such as public')));
  end if;
end $$;

-- What a table lacks to hold events, in words; null where it lacks nothing.
create or replace function etl.lacks_of_events(relation regclass) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select string_agg(format('%s %s', wanted.name, wanted.type), ', ' order by wanted.place)
  from (values
    (1, 'event_id', 'text'), (2, 'event_type', 'text'), (3, 'occurred_at', 'timestamp with time zone'), (4, 'source', 'text'),
    (5, 'version', 'numeric'), (6, 'payload', 'jsonb'), (7, 'fingerprint', 'bytea'), (8, 'event_date', 'date'),
    (9, 'event_hour', 'smallint'), (10, 'run_id', 'uuid'), (11, 'first_seen_at', 'timestamp with time zone'),
    (12, 'updated_at', 'timestamp with time zone')) as wanted (place, name, type)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = relation and a.attname = wanted.name and not a.attisdropped
      and format_type(a.atttypid, null) = wanted.type)
$$;

-- Whether an upsert finds the rows of a table by event_id.
create or replace function etl.has_event_key(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select exists (
    select from pg_index as i
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null
      and i.indisvalid and i.indimmediate and a.attname = 'event_id')
    -- or will find them: its first load makes the key when the rows are there
    or exists (select from etl.first_loads as f where f.relation = has_event_key.relation)
$$;

-- Whether a table has the columns of an audit table.
create or replace function etl.is_audit(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select count(*) = 7 from pg_attribute as a join pg_class as c on c.oid = a.attrelid
  where a.attrelid = relation and not a.attisdropped and c.relkind in ('r', 'p')
    and a.attname in ('run_id', 'run_label', 'event', 'status', 'actor', 'params', 'details')
$$;

-- Whether this session may write into a table without giving its rights away: what is attached to a table (triggers,
-- defaults, checks) runs with the rights of whoever writes. Whoever has those of the installation's owner, as the tick
-- of pg_cron and set-up have, writes only into tables of that owner, and not in a schema in which a server's role
-- could put another table in their place.
create or replace function etl.is_trusted(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select not pg_has_role(current_user, e.nspowner, 'usage')
    or ((c.relowner = e.nspowner or o.rolsuper or o.rolname = current_user)
      and not exists (
        select from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name
        where not r.rolsuper and r.oid <> e.nspowner and pg_has_role(r.oid, n.nspowner, 'usage')))
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  join pg_roles as o on o.oid = c.relowner
  join pg_namespace as e on e.nspname = 'etl'
  where c.oid = relation
$$;
comment on function etl.is_trusted(regclass) is 'whether this session may write into a table without running code of a role that has fewer rights';

-- Refuses a run of a role that may not write into its table, nor make it where there is none: asked by what notes something of
-- a dataset with the owner's rights.
create or replace function etl.require_writer(run etl.runs) returns void
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := etl.find_table(run.schema_name, run.table_name);
begin
  perform etl.check_schema(run.schema_name);
  if relation is null and not coalesce(
      (select has_schema_privilege(session_user, n.oid, 'create') from pg_namespace as n where n.nspname = run.schema_name),
      has_database_privilege(session_user, current_database(), 'create')) then
    perform etl.raise_problem('missing-grant', format('%I.%I does not exist and role %I may not create it. As the owner of the schema: grant usage, create on schema %I to %I',
      run.schema_name, run.table_name, session_user, run.schema_name, session_user));
  elsif relation is not null and not has_table_privilege(session_user, relation, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not write into %I.%I. As its owner: grant insert on %I.%I to %I',
      session_user, run.schema_name, run.table_name, run.schema_name, run.table_name, session_user));
  end if;
end $$;

-- Whether this session may read from a relation without running code of a role that has fewer rights: what a view calls and the
-- policies of row security run with the rights of whoever reads.
create or replace function etl.is_harmless(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.relkind in ('r', 'p', 'm', 'f') and not c.relrowsecurity or etl.is_trusted(c.oid) from pg_class as c where c.oid = relation
$$;

-- The table of a dataset, for what reads or, with `writes`, changes it; null where there is none. Refuses what would run code of
-- others with rights that they do not have.
create or replace function etl.dataset_table(schema_name text, table_name text, writes boolean default false) returns regclass
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := etl.find_table(schema_name, table_name);
begin
  if relation is not null and not (case when writes then etl.is_trusted(relation) else etl.is_harmless(relation) end) then
    perform etl.raise_problem('destination-mismatch', format('%s belongs to another role than %I, and this session has the rights of %I: what is attached to it (triggers, policies, what a view calls) would run with them. Use a server with a role of its own (docs/database_role.md).',
      relation, etl.owner(), etl.owner()));
  end if;
  return relation;
end $$;

-- The table of this name in a run's schema, where it is there and trusted, else the public one.
create or replace function etl.home_of(schema_name text, table_name text, public_table regclass) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case when coalesce(etl.is_trusted(etl.find_table(schema_name, table_name)), false)
    then format('%I.%I', schema_name, table_name) else public_table::text end
$$;

-- Refuses a destination that exists with another shape, saying what differs; what does not exist is no problem.
create or replace function etl.check_shape(schema_name text, table_name text, audit_table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  -- null: the run has a table of another layout (typed_tables.sql)
  qualified text := quote_ident(schema_name) || '.' || quote_ident(table_name);
  audit_table text := format('%I.%I', schema_name, audit_table_name);
  missing text;
begin
  perform etl.check_schema(schema_name);
  if to_regclass(qualified) is not null then
    missing := etl.lacks_of_events(to_regclass(qualified));
    if missing is not null then
      perform etl.raise_problem('destination-mismatch',
        format('%s exists, but lacks %s. Choose another table_name, or run sql/etl_migration.sql if it is from an older installation.', qualified, missing),
        jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'lacks ' || missing)));
    end if;
    if not etl.has_event_key(to_regclass(qualified)) then
      perform etl.raise_problem('destination-mismatch',
        format('%s has no primary key or unique index on event_id alone, so an upsert could not find its rows.', qualified),
        jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'has no unique index on event_id')));
    end if;
  end if;
  if to_regclass(audit_table) is not null and not etl.is_audit(to_regclass(audit_table)) then
    perform etl.raise_problem('destination-mismatch',
      format('%s exists and is not an audit table. Choose another audit_table_name.', audit_table),
      jsonb_build_array(jsonb_build_object('field', 'audit_table_name', 'value', audit_table_name, 'message', 'is a table of another shape')));
  end if;
end $$;

-- Refuses a destination that exists and into which a run must not write.
create or replace function etl.check_destination(schema_name text, table_name text, audit_table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  foreign_table record;
begin
  perform etl.check_shape(schema_name, table_name, audit_table_name);
  select c.oid::regclass as name, pg_get_userbyid(c.relowner) as owner, pg_get_userbyid(n.nspowner) as schema_owner into foreign_table
  from unnest(array_remove(array[table_name, audit_table_name, 'etl_improved_metrics'], null)) as t (name)
  join pg_class as c on c.oid = to_regclass(format('%I.%I', schema_name, t.name))
  join pg_namespace as n on n.oid = c.relnamespace
  where not etl.is_trusted(c.oid) limit 1;
  if found then
    perform etl.raise_problem('destination-mismatch',
      format('%s belongs to role %I, in a schema of role %I, and this request has the rights of %I, with which triggers of the table would run. Make the request as the server''s role, or, as a superuser: alter schema %I owner to %I; alter table %s owner to %I',
        foreign_table.name, foreign_table.owner, foreign_table.schema_owner, current_user, schema_name, etl.owner(), foreign_table.name, etl.owner()),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name, 'message', 'holds a table of another owner',
        'expected', format('tables of %I', etl.owner()))));
  end if;
exception when insufficient_privilege then
  perform etl.raise_problem('missing-grant',
    format('Role %I may not look into schema %I. As its owner: grant usage on schema %I to %I', current_user, schema_name, schema_name, current_user),
    jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name, 'message', 'is not open to the role',
      'expected', format('grant usage on schema %I to %I', schema_name, current_user))));
end $$;

-- Creates what a destination lacks, schema and tables, and answers with what it created. Refuses what is there with
-- another shape. Runs as the owner of schema etl, for whoever may create a schema, or something in that one: only the
-- owner of the public tables can make tables that inherit from them, and all destinations have one owner this way.
create or replace function etl.create_destination(schema_name text, table_name text, audit_table_name text)
returns text[]
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  created text[] := '{}';
  -- null: a run of another layout makes its table itself (typed_tables.sql)
  qualified text := quote_ident(schema_name) || '.' || quote_ident(table_name);
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
  if qualified is not null and to_regclass(qualified) is null then
    perform pg_advisory_xact_lock(hashtextextended('etl destination ' || qualified, 0));
    execute format($ddl$
      create table if not exists %s (
        event_id text primary key,
        event_type text not null,
        occurred_at timestamptz,
        source text not null,
        version numeric,
        payload jsonb not null,
        -- null where a row was taken over from the original, and it is not known yet
        fingerprint bytea,
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
    delete from etl.tombstones as t where t.dataset = schema_name || '.' || table_name;
    created := created || ('table ' || qualified);
  end if;
  foreach child in array array['etl_improved_metrics', audit_table_name] loop
    parent := case when child = 'etl_improved_metrics' then child else 'etl_improved_audit' end;
    if to_regclass(format('%I.%I', schema_name, child)) is null then
      perform pg_advisory_xact_lock(hashtextextended(format('etl destination %I.%I', schema_name, child), 0));
      execute format('create table if not exists %I.%I (like public.%I including all excluding generated) inherits (public.%I)',
        schema_name, child, parent, parent);
      if parent = 'etl_improved_metrics' then
        perform etl.watch_metrics(format('%I.%I', schema_name, child)::regclass);
      end if;
      created := created || format('table %I.%I', schema_name, child);
    end if;
  end loop;
  insert into etl.datasets (dataset, schema_name, table_name, maintained)
  select schema_name || '.' || table_name, schema_name, table_name, table_name = 'etl_improved_events' where table_name is not null
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

-- Whether a schedule may have a destination made. A server's role may write schedules, and the tick of pg_cron has the
-- owner's rights: what no role that servers have may create, it does not create for them. Refuses what would be missing.
create or replace function etl.servers_may_make(schema_name text, table_name text, audit_table_name text) returns boolean
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  server name;
begin
  if not pg_has_role(etl.owner(), 'usage') or exists (select from etl.server_roles as s where s.may_create) then
    return true;
  end if;
  select s.role_name into server from etl.server_roles as s order by s.role_name limit 1;
  if server is not null and exists (select from unnest(array_remove(array[table_name, 'etl_improved_metrics', audit_table_name], null)) as t (name)
      where to_regclass(format('%I.%I', schema_name, t.name)) is null) then
    perform etl.raise_problem('missing-grant',
      format('%s does not exist and role %I may not create it. Run `deno task setup-db --schema %s%s --audit-table %s --role %s` as the owner.',
        coalesce(quote_ident(schema_name) || '.' || quote_ident(table_name), 'What the run writes to in schema ' || quote_ident(schema_name)),
        server, schema_name, coalesce(' --table ' || table_name, ''), audit_table_name, server));
  end if;
  return true;
end $$;

-- Creates what a run writes to, where the role may, and refuses a table of another shape.
create or replace function etl.ensure_destination(schema_name text, table_name text, audit_table_name text)
returns text[]
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  created text[] := '{}';
  owner name;
  wanted text;
begin
  perform etl.check_schema(schema_name);
  begin
    if exists (select from unnest(array_remove(array[table_name, 'etl_improved_metrics', audit_table_name], null)) as t (name)
        where to_regclass(format('%I.%I', schema_name, t.name)) is null) then
      owner := etl.owner();
      -- the tables are made as the owner of the public ones, from which they inherit
      if exists (select from pg_namespace as n where n.nspname = schema_name and pg_has_role(n.nspowner, 'usage')
          and not has_schema_privilege(owner, n.oid, 'create')) then
        execute format('grant usage, create on schema %I to %I', schema_name, owner);
      end if;
      created := created || etl.create_destination(schema_name, table_name, audit_table_name);
    end if;
  exception when insufficient_privilege then
    owner := etl.owner();
    select string_agg(needed.grant, '; ') into wanted from (values
      (to_regnamespace(quote_ident(schema_name)) is null and not has_database_privilege(current_database(), 'create'),
        format('grant create on database %I to %I', current_database(), current_user)),
      (to_regnamespace(quote_ident(schema_name)) is null and not has_database_privilege(owner, current_database(), 'create'),
        format('grant create on database %I to %I', current_database(), owner)),
      (exists (select from pg_namespace as n where n.nspname = schema_name and not has_schema_privilege(n.oid, 'create')),
        format('grant usage, create on schema %I to %I', schema_name, current_user)),
      (exists (select from pg_namespace as n where n.nspname = schema_name and not has_schema_privilege(owner, n.oid, 'create')),
        format('grant usage, create on schema %I to %I', schema_name, owner))
    ) as needed (missing, "grant") where needed.missing;
    wanted := coalesce(wanted, sqlerrm);
    perform etl.raise_problem('missing-grant',
      format('%s does not exist and role %I may not create it. Run `deno task setup-db --schema %s%s%s --role %s` as the owner, or: %s',
        coalesce(quote_ident(schema_name) || '.' || quote_ident(table_name), 'What the run writes to in schema ' || quote_ident(schema_name)),
        current_user, schema_name, coalesce(' --table ' || table_name, ''),
        case when audit_table_name <> 'etl_improved_audit' then ' --audit-table ' || audit_table_name else '' end,
        current_user, wanted),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name,
        'message', 'does not hold what the run writes to', 'expected', wanted)));
  end;

  perform etl.check_destination(schema_name, table_name, audit_table_name);
  if table_name is null then
    return created;
  end if;
  if not exists (select from etl.datasets as d where d.dataset = ensure_destination.schema_name || '.' || ensure_destination.table_name) then
    perform etl.register_dataset(schema_name, table_name);
  end if;
  -- dropping a table with cascade takes the typed view with it
  perform etl.refresh_typed_views(d.dataset) from etl.datasets as d
  where d.dataset = ensure_destination.schema_name || '.' || ensure_destination.table_name and d.columns is not null
    and to_regclass(format('%I.%I', d.schema_name, d.view_name)) is null;
  return created;
end $$;
comment on function etl.ensure_destination(text, text, text) is 'creates the tables that a run writes to; answers with what it created';
