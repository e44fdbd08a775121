-- The tables that a task of etl_maintenance cleans, in every schema in use, and the column that tells a row's age;
-- events without occurred_at are as old as first_seen_at says.
create or replace function etl.maintained_tables(task text) returns table (relation regclass, time_column name)
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  with recursive parents (task, parent) as (
    values ('clean_old_metrics', 'public.etl_improved_metrics'::regclass), ('clean_old_audit', 'public.etl_improved_audit'::regclass),
      ('clean_old_alerts', 'public.etl_improved_alerts'::regclass)
  ), family (relation) as (
    select p.parent::oid from parents as p where p.task = maintained_tables.task
    union
    select i.inhrelid from family as f join pg_inherits as i on i.inhparent = f.relation
  )
  select f.relation::regclass, 'created_at'::name from family as f
  union all
  select t.relation, 'occurred_at'
  from (select to_regclass(format('%I.%I', d.schema_name, d.table_name)) as relation from etl.datasets as d where d.maintained) as t
  where maintained_tables.task = 'clean_old_events' and exists (
    select from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    where a.attrelid = t.relation and a.attname = 'occurred_at' and not a.attisdropped and c.relkind = 'r')
    and etl.is_trusted(t.relation)
$$;
comment on function etl.maintained_tables(text) is 'the tables that a task of etl_maintenance cleans';
