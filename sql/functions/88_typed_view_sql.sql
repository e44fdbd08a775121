-- The query of a typed view. Fixed columns come first: `create or replace view` can only add at the end.
create or replace function etl.typed_view_sql(schema_name text, table_name text, columns jsonb) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select format('select %s from %I.%I as t', string_agg(c.sql, ', ' order by c.place), schema_name, table_name)
  from (
    select f.place, format('t.%I', f.name)
    from unnest(etl.typed_view_fixed()) with ordinality as f (name, place)
    union all
    select 1000 + d.place, format('%s as %I', case d.value ->> 'type'
        when 'text' then etl.payload_value(d.value ->> 'path', true)
        when 'numeric' then format('etl.to_numeric(%s)', etl.payload_value(d.value ->> 'path', false))
        when 'jsonb' then format('nullif(%s, ''null''::jsonb)', etl.payload_value(d.value ->> 'path', false))
        else format('etl.%s(%s)', case d.value ->> 'type' when 'integer' then 'to_bigint' when 'boolean' then 'to_boolean'
          when 'date' then 'to_date' when 'timestamptz' then 'to_timestamptz' end, etl.payload_value(d.value ->> 'path', true))
      end, d.value ->> 'name')
    from jsonb_array_elements(columns) with ordinality as d (value, place)) as c (place, sql)
$$;
