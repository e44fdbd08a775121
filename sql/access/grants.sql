-- What roles may do in the database.

-- Grants a server's role what it needs of one destination: its table, and the metrics and audit tables of its schema.
-- Only tables that have the shape and belong to the installation's owner: those of others their owners grant, and no row
-- of etl.datasets leads to a grant on anything else.
create or replace function etl.grant_destination(role_name text, schema_name text, table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation record;
begin
  if schema_name in ('etl', 'information_schema') or schema_name like 'pg\_%' then
    return;
  end if;
  -- two at once that grant on the same schema or table fail with "tuple concurrently updated"
  perform pg_advisory_xact_lock(hashtextextended('etl grants', 0));
  if exists (select from pg_namespace as n where n.nspname = schema_name and pg_has_role(n.nspowner, 'usage')) then
    execute format('grant usage on schema %I to %I', schema_name, role_name);
  end if;
  for relation in
    select c.oid::regclass as name, coalesce(i.inhparent, c.oid) = 'public.etl_improved_audit'::regclass as is_audit
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_inherits as i on i.inhrelid = c.oid
      and i.inhparent in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass)
    where n.nspname = schema_name and has_schema_privilege(n.oid, 'usage') and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = etl.owner()
      and (i.inhparent is not null
        or c.oid in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass, 'public.etl_improved_alerts'::regclass)
        -- a table of the user's own is granted by its owner, as far as it pleases
        or c.relname = table_name and not exists (select from etl.datasets as d
            where d.schema_name = n.nspname and d.table_name = c.relname and (d.declared -> 'own')::boolean)
          and (etl.is_typed(c.oid) or etl.lacks_of_events(c.oid) is null and etl.has_event_key(c.oid)))
  loop
    -- what was once written into an audit table stays as it is until etl.delete_audit deletes it with its time
    if relation.is_audit then
      execute format('revoke all on %s from %I', relation.name, role_name);
    end if;
    execute format(case when relation.is_audit then 'grant select, insert on %s to %I'
      else 'grant select, insert, update, delete on %s to %I' end, relation.name, role_name);
    if current_setting('server_version_num')::integer >= 170000 then
      -- vacuum and analyze after maintenance; before 17 only owners may, and autovacuum does it
      execute format('grant maintain on %s to %I', relation.name, role_name);
    end if;
  end loop;
end $$;

-- Brings the grants of a role, or of everybody where none is named, on the program's own tables and functions to what
-- etl.rights() says (scripts/rights.ts), no less and no more.
create or replace function etl.apply_rights(role_name text default null) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = error as $$
declare
  grantee text := coalesce(quote_ident(role_name), 'public');
  kinds text[] := case when role_name is null then array['everybody'] else
    array(select 'server' from etl.server_roles as s where s.role_name = apply_rights.role_name
      union all select 'reader' from etl.reader_roles as r where r.role_name = apply_rights.role_name) end;
  each record;
begin
  for each in
    select c.oid::regclass::text as name, case c.relkind when 'S' then 'sequence' else 'table' end as kind
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S') and pg_has_role(c.relowner, 'usage')
      and (n.nspname = 'etl' and c.relname !~ '^manifest_[0-9a-f]{32}_' or exists (
        select from etl.rights() as g where g.kind = 'table' and g.name = format('%I.%I', n.nspname, c.relname)))
      -- what everybody may was said by whoever made the destination
      and (role_name is not null or n.nspname = 'etl')
  loop
    execute format('revoke all on %s %s from %s', each.kind, each.name, grantee);
  end loop;
  for each in
    select p.oid::regprocedure::text as name, p.prokind, array(
      select g.privileges from etl.rights() as g
      where g.kind = 'function' and g.name = n.nspname || '.' || p.proname and g.role = any (kinds)) as privileges
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where (n.nspname = 'etl' or p.oid = 'public.refresh_etl_mvs()'::regprocedure) and pg_has_role(p.proowner, 'usage')
  loop
    execute format('revoke all on routine %s from %s', each.name, grantee);
    if cardinality(each.privileges) > 0 then
      execute format('grant execute on routine %s to %s', each.name, grantee);
    end if;
  end loop;
  for each in select g.name, g.privileges from etl.rights() as g where g.kind = 'table' and g.role = any (kinds) loop
    execute format('grant %s on %s to %s', each.privileges, each.name, grantee);
  end loop;
end $$;

-- Grants a role what a server needs, and no more. Safe to repeat; what a role was granted is renewed by each set-up,
-- for what later versions add. may_create (default: as it was, at first false) lets runs create destinations that are
-- missing; false takes that back.
create or replace function etl.grant_server_role(role_name text, may_create boolean default null) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = error as $$
declare
  creates boolean;
  each record;
begin
  perform etl.require_role(role_name);
  insert into etl.server_roles as s (role_name, may_create)
  values (grant_server_role.role_name, coalesce(grant_server_role.may_create, false))
  on conflict on constraint server_roles_pkey
    do update set may_create = coalesce(grant_server_role.may_create, s.may_create), granted_at = now()
  returning s.may_create into creates;
  -- the owner's own rights, and a superuser's, are not ours to change
  if pg_has_role(role_name, etl.owner(), 'usage') then
    return;
  end if;

  execute format('grant connect, temporary on database %I to %I', current_database(), role_name);
  execute format('grant usage on schema etl, public to %I', role_name);
  -- version 0.1.0 granted whatever its owner would add
  execute format('alter default privileges for role %I in schema etl revoke all on tables from %I', etl.owner(), role_name);
  execute format('alter default privileges for role %I in schema etl revoke all on sequences from %I', etl.owner(), role_name);
  execute format('alter default privileges for role %I in schema etl revoke all on routines from %I', etl.owner(), role_name);
  perform etl.apply_rights(role_name);
  perform etl.grant_destination(role_name, d.schema_name, d.table_name) from etl.datasets as d;
  if creates then
    execute format('grant create on database %I to %I', current_database(), role_name);
    for each in
      select distinct n.nspname from etl.datasets as d join pg_namespace as n on n.nspname = d.schema_name
      where pg_has_role(n.nspowner, 'usage') and n.nspname not like 'pg\_%' and n.nspname <> 'etl'
    loop
      execute format('grant create on schema %I to %I', each.nspname, role_name);
    end loop;
  elsif grant_server_role.may_create is not null then
    perform etl.take_create(role_name);
  end if;
end $$;
comment on function etl.grant_server_role(text, boolean) is 'grants a role what a server needs, and no more';

-- Grants a role what the dashboards in deploy/grafana read, and no more. Safe to repeat; renewed by each set-up.
create or replace function etl.grant_reader_role(role_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = error as $$
begin
  perform etl.require_role(role_name);
  insert into etl.reader_roles as r (role_name) values (grant_reader_role.role_name)
  on conflict on constraint reader_roles_pkey do update set granted_at = now();
  if pg_has_role(role_name, etl.owner(), 'usage') then
    return;
  end if;
  execute format('grant connect on database %I to %I', current_database(), role_name);
  execute format('grant usage on schema etl, public to %I', role_name);
  perform etl.apply_rights(role_name);
end $$;
comment on function etl.grant_reader_role(text) is 'grants a role what a dashboard reads, and no more';

-- Takes back all that etl.grant_server_role and etl.grant_reader_role have granted a role.
create or replace function etl.revoke_role(role_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = error as $$
declare
  each record;
begin
  perform etl.require_role(role_name);
  if not pg_has_role(role_name, etl.owner(), 'usage') then
    perform etl.take_create(role_name);
  end if;
  delete from etl.server_roles as s where s.role_name = revoke_role.role_name;
  delete from etl.reader_roles as r where r.role_name = revoke_role.role_name;
  if pg_has_role(role_name, etl.owner(), 'usage') then
    return;
  end if;
  perform etl.apply_rights(role_name);
  for each in
    select c.oid::regclass as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = etl.owner() and (
      n.nspname = 'etl' or c.oid in (select i.inhrelid from pg_inherits as i
        where i.inhparent in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass))
      or exists (select from etl.datasets as d where d.schema_name = n.nspname and d.table_name = c.relname))
  loop
    execute format('revoke all on %s from %I', each.name, role_name);
  end loop;
  for each in
    select n.nspname from pg_namespace as n
    where pg_has_role(n.nspowner, 'usage') and (n.nspname = 'etl' or n.nspname in (select d.schema_name from etl.datasets as d))
  loop
    execute format('revoke all on schema %I from %I', each.nspname, role_name);
  end loop;
  execute format('revoke all on database %I from %I', current_database(), role_name);
end $$;
comment on function etl.revoke_role(text) is 'takes back what a server''s or reader''s role was granted';

create or replace function etl.require_role(role_name text) returns void
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
begin
  if not exists (select from pg_roles as r where r.rolname = role_name) then
    perform etl.raise_problem('missing-grant',
      format('There is no role %s. Create it first: create role %I login password ''…''', role_name, role_name));
  end if;
end $$;

-- Takes the right to create destinations from a role. Refuses while it owns a schema of a destination, in which it
-- may do anything, and which only a superuser or a member of the role can take from it.
create or replace function etl.take_create(role_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  left_over text;
  each name;
begin
  select string_agg(format('alter schema %I owner to %I', n.nspname, etl.owner()), '; ') into left_over
  from pg_namespace as n
  where pg_get_userbyid(n.nspowner) = role_name and role_name <> etl.owner()
    and exists (select from etl.datasets as d join pg_class as c on c.relname = d.table_name and c.relnamespace = n.oid
      where d.schema_name = n.nspname and pg_get_userbyid(c.relowner) = etl.owner());
  if left_over is not null then
    perform etl.raise_problem('missing-grant',
      format('Role %I owns schemas of destinations and may do anything in them. As a superuser, then again: %s', role_name, left_over));
  end if;
  execute format('revoke create on database %I from %I', current_database(), role_name);
  for each in
    select n.nspname from pg_namespace as n
    where pg_has_role(n.nspowner, 'usage') and n.nspname in (select d.schema_name from etl.datasets as d)
  loop
    execute format('revoke create on schema %I from %I', each, role_name);
  end loop;
end $$;

-- What a set-up does for the roles that it knows.
create or replace function etl.renew_grants() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  -- new functions are nobody's until they are granted; the default of a superuser would be that of all its databases' tools
  if not (select r.rolsuper from pg_roles as r where r.rolname = etl.owner()) then
    execute format('alter default privileges for role %I revoke execute on routines from public', etl.owner());
  end if;
  perform etl.apply_rights();
  perform etl.grant_server_role(s.role_name) from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name;
  perform etl.grant_reader_role(s.role_name) from etl.reader_roles as s join pg_roles as r on r.rolname = s.role_name;
end $$;
comment on function etl.renew_grants() is 'renews the grants of all roles that set-up was told of';
