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
    if exists (select from unnest(array[table_name, 'etl_improved_metrics', audit_table_name]) as t (name)
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
      format('%I.%I does not exist and role %I may not create it. Run `deno task setup-db --schema %s --table %s%s --role %s` as the owner, or: %s',
        schema_name, table_name, current_user, schema_name, table_name,
        case when audit_table_name <> 'etl_improved_audit' then ' --audit-table ' || audit_table_name else '' end,
        current_user, wanted),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name,
        'message', 'does not hold what the run writes to', 'expected', wanted)));
  end;

  perform etl.check_destination(schema_name, table_name, audit_table_name);
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
