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
    where i.indrelid = relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null and a.attname = 'event_id')
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

-- The table of this name in a run's schema, where it is there and trusted, else the public one.
create or replace function etl.home_of(schema_name text, table_name text, public_table regclass) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case when coalesce(etl.is_trusted(to_regclass(format('%I.%I', schema_name, table_name))), false)
    then format('%I.%I', schema_name, table_name) else public_table::text end
$$;

-- Refuses a destination that exists with another shape, saying what differs; what does not exist is no problem.
create or replace function etl.check_shape(schema_name text, table_name text, audit_table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  qualified text := format('%I.%I', schema_name, table_name);
  audit_table text := format('%I.%I', schema_name, audit_table_name);
  missing text;
begin
  perform etl.check_schema(schema_name);
  if to_regclass(qualified) is not null then
    missing := etl.lacks_of_events(to_regclass(qualified));
    if missing is not null then
      perform etl.raise_problem('destination-mismatch',
        format('%s exists with another shape: it lacks %s. Name another table_name, or run sql/etl_migration.sql if it is an older installation.', qualified, missing),
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
      format('%s exists and is no audit table. Name another audit_table_name.', audit_table),
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
  from unnest(array[table_name, audit_table_name, 'etl_improved_metrics']) as t (name)
  join pg_class as c on c.oid = to_regclass(format('%I.%I', schema_name, t.name))
  join pg_namespace as n on n.oid = c.relnamespace
  where not etl.is_trusted(c.oid) limit 1;
  if found then
    perform etl.raise_problem('destination-mismatch',
      format('%s belongs to role %I, in a schema of role %I, and this request has the rights of %I: what others attach to the table would run with them. Ask as the server''s role, or, as a superuser: alter schema %I owner to %I; alter table %s owner to %I',
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
