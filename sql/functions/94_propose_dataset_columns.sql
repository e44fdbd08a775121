-- Columns that fit the payloads of a dataset: about `sample` rows from all over the table are looked at. Objects are
-- taken apart, up to five deep; a path whose values are not all of one type is text. Answers with
-- {columns, rows, left_out}: left_out are paths beyond the 200 that most rows have.
create or replace function etl.propose_dataset_columns(dataset text, sample integer default 5000) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  estimate double precision;
  result jsonb;
begin
  select * into target from etl.datasets as d where d.dataset = propose_dataset_columns.dataset;
  relation := to_regclass(quote_ident(target.schema_name) || '.' || quote_ident(target.table_name));
  if relation is null then
    perform etl.raise_problem('not-found',
      format('There is no dataset %s with a table to look at. `etl dataset list` shows them.', dataset), '[]', 404);
  end if;
  select c.reltuples into estimate from pg_class as c where c.oid = relation;
  execute format($query$
    with recursive looked as materialized (select payload from %s as t %s limit $1),
    leaves (parts, value, depth) as (
      select array[e.key], e.value, 1 from looked, jsonb_each(payload) as e where jsonb_typeof(payload) = 'object'
      union all
      select l.parts || e.key, e.value, l.depth + 1
      from leaves as l, jsonb_each(case when jsonb_typeof(l.value) = 'object' then l.value else '{}' end) as e
      where l.depth < 5 and l.value <> '{}'),
    paths as (
      select parts, count(*) as present, min(jsonb_typeof(value)) as kind, count(distinct jsonb_typeof(value)) as kinds,
        bool_or(jsonb_typeof(value) in ('object', 'array')) as nested,
        -- numbers that bigint holds; times, of which those of ten characters are dates
        bool_and(case when jsonb_typeof(value) = 'number' then etl.to_bigint(value #>> '{}') is not null end) as whole,
        bool_and(case when jsonb_typeof(value) = 'string' then etl.to_timestamptz(value #>> '{}') is not null end) as times,
        bool_and(case when jsonb_typeof(value) = 'string' then length(value #>> '{}') = 10 end) as short
      from leaves where jsonb_typeof(value) <> 'null' and (jsonb_typeof(value) <> 'object' or value = '{}' or depth = 5)
      group by parts),
    typed as (
      select parts, present, case
          when nested then 'jsonb' when kinds > 1 then 'text'
          when kind = 'number' then case when whole then 'integer' else 'numeric' end
          when kind = 'boolean' then 'boolean'
          when times then case when short then 'date' else 'timestamptz' end
          else 'text' end as type,
        btrim(regexp_replace(lower(regexp_replace(array_to_string(parts, '_'), '([a-z0-9])([A-Z])', '\1_\2', 'g')),
          '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', '_', 'g'), '_') as name,
        row_number() over (order by present desc, parts) as place
      from paths),
    -- a name that is too long, taken by a fixed column, a word of SQL, or nothing but signs
    fitting as (
      select t.*, case
          when octet_length(t.name) > 55 then left(t.name, 12) || '_' || left(md5(t.name), 8)
          when t.name = any (etl.typed_view_fixed()) or t.name !~ '^[^0-9]'
            or t.name in (select word from pg_get_keywords() where catcode in ('R', 'T')) then 'payload_' || t.name
          else t.name end as fit
      from typed as t where place <= 200),
    numbered as (
      select f.*, row_number() over (partition by fit order by parts) as same from fitting as f)
    select jsonb_build_object(
      'columns', coalesce(jsonb_agg(jsonb_build_object(
        'name', case when same = 1 then fit else fit || '_' || same end,
        'path', (select string_agg(replace(part, '.', '\.'), '.' order by at) from unnest(parts) with ordinality as p (part, at)),
        'type', type) order by parts), '[]'),
      'rows', (select count(*) from looked),
      'left_out', (select count(*) from typed where place > 200))
    from numbered $query$,
    relation, case when estimate > 4 * sample then format('tablesample system (%s)', 150.0 * sample / estimate) else '' end)
  into result using sample;
  return result;
end $$;
