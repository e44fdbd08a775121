-- The default destination.
select etl.ensure_destination('public', 'etl_improved_events', 'etl_improved_audit');

-- Tables that were taken over, whose comment says that they hold events, are datasets; servers compute their fingerprints.
insert into etl.datasets (dataset, schema_name, table_name, maintained, fingerprints_from)
select n.nspname || '.' || c.relname, n.nspname, c.relname, c.relname = 'etl_improved_events', 0
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and pg_get_userbyid(c.relowner) = etl.owner() and n.nspname not in ('etl', 'etl_original')
  and obj_description(c.oid, 'pg_class') = 'events loaded by etl_improved, taken over'
  and etl.lacks_of_events(c.oid) is null and etl.has_event_key(c.oid)
on conflict (dataset) do update set fingerprints_from = 0;
do $$
declare
  each record;
begin
  for each in
    select c.oid::regclass as relation from pg_class as c join etl.datasets as d on c.oid = etl.find_table(d.schema_name, d.table_name)
    where d.fingerprints_from is not null and obj_description(c.oid, 'pg_class') = 'events loaded by etl_improved, taken over'
      and pg_get_userbyid(c.relowner) = etl.owner()
  loop
    execute format('comment on table %s is %L', each.relation, 'events loaded by etl_improved');
  end loop;
end $$;

-- A newer version may make views differently; those that are as they should be are not touched.
select etl.refresh_typed_views();

-- Tables and functions of this version are granted to the roles that servers and dashboards use.
select etl.renew_grants();

-- What another role owns, that role can change, and the owner runs it. What is there of an installation was looked at
-- before; this is about tables that were there before the first set-up.
do $$
declare
  foreign_tables text;
begin
  select string_agg(format('alter table %s owner to %I', c.oid::regclass, etl.owner()), '; ') into foreign_tables
  from etl.rights() as g join pg_class as c on c.oid = to_regclass(g.name)
  where g.kind = 'table' and pg_get_userbyid(c.relowner) <> etl.owner();
  if foreign_tables is not null then
    perform etl.raise_problem('missing-grant', format('Everything of the program has to belong to %I, the owner of schema etl. As a superuser, then set up again: %s',
      etl.owner(), foreign_tables));
  end if;
end $$;

-- Who could read the views before can read them now.
do $$
declare
  granted record;
begin
  for granted in select * from pg_temp.etl_view_grants loop
    execute format('grant %s on public.%I to %s', granted.privilege, granted.view_name, granted.grantee);
  end loop;
  drop table pg_temp.etl_view_grants;
end $$;
