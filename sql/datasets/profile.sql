-- What a dataset's table holds, from some of its rows: for the dashboard. Columns of the table and members of payload, each
-- {name, type, nulls, distinct, least, greatest, common: [{value, rows}]}; nulls counts rows without a value. The table's own
-- columns are all there, of members the 200 that most rows have; all_columns counts all. examples: 20 rows, {name: text} of the
-- first 40 of those columns. Names and values are cut at 120 characters, those of examples at 200. Null where there is no table.
create or replace function etl.profile_dataset(dataset text, sample integer default 1000) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  -- itself, or the partitions that hold its rows
  parts regclass[];
  pages double precision;
  estimate double precision;
  part boolean;
  result jsonb;
begin
  select * into target from etl.datasets as d where d.dataset = profile_dataset.dataset;
  relation := etl.dataset_table(target.schema_name, target.table_name);
  if relation is null then
    return null;
  end if;
  parts := coalesce((select array_agg(p.relid) from pg_partition_tree(relation) as p where p.isleaf), array[relation]);
  -- pages and rows of the last vacuum or analyze, projected onto the pages there are now; null where a part was never looked at
  select sum(b.pages), case when bool_and(c.reltuples > 0 and c.relpages > 0 or b.pages = 0) then
      coalesce(sum(c.reltuples / nullif(c.relpages, 0) * b.pages), 0) end
    into pages, estimate
    from pg_class as c, lateral (select pg_relation_size(c.oid)::double precision / current_setting('block_size')::integer as pages) as b
    where c.oid = any (parts);
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
      select name, depth, jsonb_typeof(value) as kind, value, 
        case when length(value #>> '{}') > 120 then left(value #>> '{}', 120) || '…' else value #>> '{}' end as shown,
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
        case when bool_and(v.kind = 'number') then left(min(v.amount)::text, 120) when bool_and(v.kind = 'string') then min(v.shown collate "C") end as least,
        case when bool_and(v.kind = 'number') then left(max(v.amount)::text, 120) when bool_and(v.kind = 'string') then max(v.shown collate "C") end as greatest
      from valued as v group by v.name
      union all
      -- columns that have no value in any of the rows
      select a.attname, 0, null, 0, 0, null, null from pg_attribute as a
      where a.attrelid = $2 and a.attnum > 0 and not a.attisdropped and a.attname <> 'fingerprint' and a.attname <> 'payload'
        and not exists (select from valued as v where v.depth = 0 and v.name = a.attname)),
    chosen as materialized (
      select c.*, row_number() over (order by c.depth desc, a.attnum, c.name) as place
      from (select *, row_number() over (partition by depth order by present desc, name) as rank from columns) as c
      left join pg_attribute as a on a.attrelid = $2 and c.depth = 0 and a.attname = c.name and not a.attisdropped
      where c.depth = 0 or c.rank <= 200),
    examples as (
      select c.place, jsonb_object_agg(left(c.name, 120),
        case when length(c.value #>> '{}') > 200 then left(c.value #>> '{}', 200) || '…' else c.value #>> '{}' end) as cells
      from cells as c where c.place <= 20 and c.name in (select o.name from chosen as o order by o.depth, o.place limit 40)
      group by c.place)
    select jsonb_build_object('rows', (select count(*) from looked), 'pages', (select max(page) + 1 from looked), 'all_columns', (select count(*) from columns),
      'columns', coalesce((select jsonb_agg(jsonb_build_object('name', left(c.name, 120),
          'type', coalesce(case when c.depth = 0 then (select format_type(a.atttypid, a.atttypmod) from pg_attribute as a
            where a.attrelid = $2 and a.attname = c.name and not a.attisdropped)
            else (select d ->> 'type' from jsonb_array_elements($3) as d where 'payload.' || (d ->> 'path') = c.name limit 1) end, c.kinds, 'unknown'),
          'nulls', (select count(*) from looked) - c.present, 'distinct', c.different,
          'least', c.least, 'greatest', c.greatest, 'common', coalesce(m.values, '[]'))
          order by c.place)
        from chosen as c left join common as m on m.name = c.name), '[]'),
      'examples', coalesce((select jsonb_agg(e.cells order by e.place) from examples as e), '[]')) $query$,
    relation, case when part then format('tablesample system (%s)', least(100, 150.0 * sample / estimate)) else '' end)
  into result using case when part then sample else 2 * sample + 1 end, relation, coalesce(target.columns, '[]');
  -- a table that was never analyzed: what its first pages hold is projected onto all of them
  if not part and (result ->> 'rows')::integer > 2 * sample then
    part := true;
    estimate := greatest((result ->> 'rows')::double precision, (result ->> 'rows')::double precision / (result ->> 'pages')::double precision * pages);
  end if;
  return (result - 'pages') || jsonb_build_object('estimate', case when part then round(estimate)::bigint else (result ->> 'rows')::bigint end,
    'sampled', part, 'bytes', (select coalesce(sum(pg_total_relation_size(p)), 0) from unnest(parts) as p));
end $$;

-- Rows of a dataset for a suite to be tried on: at most so many and 32 MB of them, as a run shows them to its suite: payload, of a
-- typed table its columns by the paths that they are made from; and the event's own columns, null of a typed table. Raises not-found.
create or replace function etl.sample_dataset(dataset text, most integer default 10000)
returns table (payload text, event_id text, event_type text, occurred_at timestamptz)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  made text;
begin
  select * into target from etl.datasets as d where d.dataset = sample_dataset.dataset;
  relation := etl.dataset_table(target.schema_name, target.table_name);
  if relation is null then
    perform etl.raise_problem('not-found', format('There is no dataset %s that a run has written. GET /api/datasets lists them.', dataset));
  end if;
  if target.declared is null then
    made := 't.payload::text as payload, t.event_id, t.event_type, t.occurred_at';
  else
    select format($part$(select jsonb_object_agg(c.value ->> 'path', to_jsonb(t) -> (c.value ->> 'name')) from jsonb_array_elements(%L::jsonb) as c)::text as payload,
      null::text as event_id, null::text as event_type, null::timestamptz as occurred_at$part$, target.declared -> 'columns') into made;
  end if;
  return query execute format($query$
    select s.payload, s.event_id, s.event_type, s.occurred_at
    from (select r.*, sum(octet_length(r.payload)) over (rows unbounded preceding) as bytes
      from (select %s from %s as t limit $1) as r) as s
    where s.bytes <= 33554432$query$, made, relation) using most;
end $$;
