-- The name of the suite that a run is judged by: the one asked for, else the dataset's, else the table's; null without one.
create or replace function etl.suite_name(asked text, dataset text) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select s.name from etl.suites as s
  where s.name = any(case when asked is not null then array[asked]
    else array[dataset, substr(dataset, position('.' in dataset) + 1)] end)
  order by s.name = dataset desc limit 1
$$;
