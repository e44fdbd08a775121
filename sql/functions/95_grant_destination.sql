-- Grants a server's role what it needs of one destination: its table, and the metrics and audit tables of its schema.
-- Tables and schemas of others are left alone: their owners grant them.
create or replace function etl.grant_destination(role_name text, schema_name text, table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation record;
begin
  if exists (select from pg_namespace as n where n.nspname = schema_name and pg_has_role(n.nspowner, 'usage')) then
    execute format('grant usage on schema %I to %I', schema_name, role_name);
  end if;
  for relation in
    select c.oid::regclass as name, coalesce(i.inhparent, c.oid) = 'public.etl_improved_audit'::regclass as is_audit
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_inherits as i on i.inhrelid = c.oid
      and i.inhparent in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass)
    where n.nspname = schema_name and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage')
      and (c.relname = table_name or i.inhparent is not null
        or c.oid in ('public.etl_improved_audit'::regclass, 'public.etl_improved_metrics'::regclass))
  loop
    -- what was once written into an audit table stays as it is until it is deleted with its time
    execute format(case when relation.is_audit then 'grant select, insert, delete on %s to %I'
      else 'grant select, insert, update, delete on %s to %I' end, relation.name, role_name);
    if current_setting('server_version_num')::integer >= 170000 then
      -- vacuum and analyze after maintenance; before 17 only owners may, and autovacuum does it
      execute format('grant maintain on %s to %I', relation.name, role_name);
    end if;
  end loop;
end $$;
