-- The expression that reads a path from a payload, as JSON or as text. A path is written as in
-- a source's mapping (pipeline/field_path.ts): "properties.mag", "items.0.price"; `\.` is a dot inside a name.
create or replace function etl.payload_value(path text, as_text boolean) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  parts text[] := array(
    select replace(part, '\.', '.') from regexp_split_to_table(path, '(?<!\\)\.') with ordinality as p (part, place) order by place);
begin
  if cardinality(parts) = 1 then
    return format('t.payload %s %L', case when as_text then '->>' else '->' end, parts[1]);
  end if;
  return format('t.payload %s %L', case when as_text then '#>>' else '#>' end, parts::text);
end $$;
