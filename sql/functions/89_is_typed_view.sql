-- Whether a relation is the typed view of this dataset: it is the owner's and its comment says so, so that nothing else
-- is ever replaced.
create or replace function etl.is_typed_view(relation regclass, dataset text) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.relkind = 'v' and (c.relowner = n.nspowner or pg_has_role(n.nspowner, c.relowner, 'usage')) and coalesce(obj_description(c.oid, 'pg_class'), '') = format('typed view of dataset %s, made by etl.set_dataset_columns', dataset)
  from pg_class as c cross join pg_namespace as n where c.oid = relation and n.nspname = 'etl'
$$;
