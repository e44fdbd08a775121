-- The role that owns schema etl and what is in it.
create or replace function etl.owner() returns name
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'etl'
$$;
