-- What a dataset's table holds, from some of its rows: for the dashboard. Columns of the table and members of payload, each
-- {name, type, nulls, distinct, least, greatest, common: [{value, rows}]}; nulls counts rows without a value. Values are
-- cut at 120 characters. Null where there is no table.
create or replace function etl.profile_dataset(dataset text, sample integer default 1000) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  pages double precision;
  estimate double precision;
  part boolean;
  result jsonb;
begin
  select * into target from etl.datasets as d where d.dataset = profile_dataset.dataset;
  relation := to_regclass(quote_ident(target.schema_name) || '.' || quote_ident(target.table_name));
  if relation is null then
    return null;
  end if;
  -- pages and rows of the last vacuum or analyze, projected onto the pages there are now
  pages := pg_relation_size(relation) / current_setting('block_size')::integer;
  select case when c.reltuples > 0 and c.relpages > 0 then c.reltuples / c.relpages * pages end
    into estimate from pg_class as c where c.oid = relation;
  part := coalesce(estimate, 0) > 2 * sample;
  execute format($query$
    with looked as materialized (
      select row_number() over () as place, to_jsonb(t) - 'fingerprint' as whole, (t.ctid::text::point)[0] as page
      from %s as t %s limit $1),
    cells as (
      select l.place, 0 as depth, e.key as name, e.value from looked as l, jsonb_each(l.whole) as e where e.key <> 'payload'
      union all
      select l.place, 1, 'payload.' || e.key, e.value from looked as l,
        jsonb_each(case when jsonb_typeof(l.whole -> 'payload') = 'object' then l.whole -> 'payload' else '{}' end) as e),
    valued as (
      select name, depth, jsonb_typeof(value) as kind, value, left(value #>> '{}', 120) as shown,
        case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric end as amount
      from cells where value <> 'null'),
    counted as (
      select name, shown, count(*) as rows, row_number() over (partition by name order by count(*) desc, shown) as rank
      from valued group by name, shown),
    common as (
      select name, jsonb_agg(jsonb_build_object('value', shown, 'rows', rows) order by rank) as values
      from counted where rank <= 5 group by name),
    columns as (
      select v.name, max(v.depth) as depth, string_agg(distinct v.kind, ' | ') as kinds, count(*) as present, count(distinct v.value) as different,
        case when bool_and(v.kind = 'number') then min(v.amount)::text when bool_and(v.kind = 'string') then min(v.shown collate "C") end as least,
        case when bool_and(v.kind = 'number') then max(v.amount)::text when bool_and(v.kind = 'string') then max(v.shown collate "C") end as greatest
      from valued as v group by v.name
      union all
      -- columns that have no value in any of the rows
      select a.attname, 0, null, 0, 0, null, null from pg_attribute as a
      where a.attrelid = $2 and a.attnum > 0 and not a.attisdropped and a.attname <> 'fingerprint' and a.attname <> 'payload'
        and not exists (select from valued as v where v.depth = 0 and v.name = a.attname))
    select jsonb_build_object('rows', (select count(*) from looked), 'pages', (select max(page) + 1 from looked),
      'columns', coalesce((select jsonb_agg(jsonb_build_object('name', c.name,
          'type', coalesce(case when c.depth = 0 then (select format_type(a.atttypid, a.atttypmod) from pg_attribute as a
            where a.attrelid = $2 and a.attname = c.name and not a.attisdropped)
            else (select d ->> 'type' from jsonb_array_elements($3) as d where 'payload.' || (d ->> 'path') = c.name limit 1) end, c.kinds, 'unknown'),
          'nulls', (select count(*) from looked) - c.present, 'distinct', c.different,
          'least', c.least, 'greatest', c.greatest, 'common', coalesce(m.values, '[]'))
          order by c.depth desc, (select a.attnum from pg_attribute as a where a.attrelid = $2 and c.depth = 0 and a.attname = c.name), c.name)
        from (select * from columns order by depth desc, present desc, name limit 200) as c left join common as m on m.name = c.name), '[]'),
      'examples', coalesce((select jsonb_agg(l.whole order by l.place) from looked as l where l.place <= 20), '[]')) $query$,
    relation, case when part then format('tablesample system (%s)', least(100, 150.0 * sample / estimate)) else '' end)
  into result using case when part then sample else 2 * sample + 1 end, relation, coalesce(target.columns, '[]');
  -- a table that was never analyzed: what its first pages hold is projected onto all of them
  if not part and (result ->> 'rows')::integer > 2 * sample then
    part := true;
    estimate := greatest((result ->> 'rows')::double precision, (result ->> 'rows')::double precision / (result ->> 'pages')::double precision * pages);
  end if;
  return (result - 'pages') || jsonb_build_object('estimate', case when part then round(estimate)::bigint else (result ->> 'rows')::bigint end,
    'sampled', part, 'bytes', pg_total_relation_size(relation));
end $$;
