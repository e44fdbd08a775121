-- The default destination.
select etl.ensure_destination('public', 'etl_improved_events', 'etl_improved_audit');

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
