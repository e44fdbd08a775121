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
        or c.oid in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass)
        or c.relname = table_name and etl.lacks_of_events(c.oid) is null and etl.has_event_key(c.oid))
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
