-- Grants a role what a server needs, and no more. Safe to repeat; what a role was granted is renewed by each set-up,
-- for tables that later versions add. Without may_create (default: as it was, at first false) a destination that is
-- missing is the owner's to create.
create or replace function etl.grant_server_role(role_name text, may_create boolean default null) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = error as $$
declare
  creates boolean;
  own text;
  relation regclass;
begin
  if not exists (select from pg_roles as r where r.rolname = role_name) then
    perform etl.raise_problem('missing-grant',
      format('There is no role %s. Create it first: create role %I login password ''…''', role_name, role_name));
  end if;
  insert into etl.server_roles as s (role_name, may_create)
  values (grant_server_role.role_name, coalesce(grant_server_role.may_create, false))
  on conflict on constraint server_roles_pkey
    do update set may_create = coalesce(grant_server_role.may_create, s.may_create), granted_at = now()
  returning s.may_create into creates;

  execute format('grant connect, temporary on database %I to %I', current_database(), role_name);
  foreach own in array array['etl', 'pgboss'] loop
    continue when to_regnamespace(own) is null;
    execute format('grant usage on schema %I to %I', own, role_name);
    execute format('grant select, insert, update, delete on all tables in schema %I to %I', own, role_name);
    execute format('grant usage, select on all sequences in schema %I to %I', own, role_name);
    execute format('grant execute on all routines in schema %I to %I', own, role_name);
    execute format('alter default privileges in schema %I grant select, insert, update, delete on tables to %I', own, role_name);
    execute format('alter default privileges in schema %I grant usage, select on sequences to %I', own, role_name);
    execute format('alter default privileges in schema %I grant execute on routines to %I', own, role_name);
  end loop;
  -- the next set-up grants whoever is listed there
  execute format('revoke insert, update, delete on etl.server_roles from %I', role_name);

  execute format('grant usage on schema public to %I', role_name);
  execute format('grant select, insert, update, delete on public.etl_improved_alerts to %I', role_name);
  execute format('grant execute on function public.refresh_etl_mvs() to %I', role_name);
  foreach relation in array array['public.v_etl_latest_metrics', 'public.v_etl_recent_alerts',
    'public.mv_etl_metrics_daily', 'public.mv_etl_alerts_daily']::regclass[] loop
    execute format('grant select on %s to %I', relation, role_name);
  end loop;
  perform etl.grant_destination(role_name, d.schema_name, d.table_name) from etl.datasets as d;

  if creates then
    execute format('grant create on database %I to %I', current_database(), role_name);
    for own in
      select distinct n.nspname from etl.datasets as d join pg_namespace as n on n.nspname = d.schema_name
      where pg_has_role(n.nspowner, 'usage')
    loop
      execute format('grant create on schema %I to %I', own, role_name);
    end loop;
  end if;
end $$;
comment on function etl.grant_server_role(text, boolean) is 'grants a role what a server needs, and no more';
