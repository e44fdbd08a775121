-- Declared columns with path and type filled in; refuses what cannot be a column, every mistake at once.
create or replace function etl.check_dataset_columns(columns jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  types constant text[] := array['text', 'integer', 'numeric', 'boolean', 'date', 'timestamptz', 'jsonb'];
  aliases constant jsonb := '{"number": "numeric", "bigint": "integer"}';
  errors jsonb := '[]';
  checked jsonb := '[]';
  seen text[] := '{}';
  declared jsonb;
  at text;
  wrong record;
  column_name text;
  column_type text;
begin
  if jsonb_typeof(columns) <> 'array' or jsonb_array_length(columns) not between 1 and 500 then
    perform etl.raise_problem('invalid-conf', 'columns must be a list of 1 to 500 columns: [{"name": "amount", "path": "amount", "type": "numeric"}]',
      jsonb_build_array(jsonb_build_object('field', 'columns', 'message', 'must be a list of 1 to 500 columns', 'expected', '[{name, path, type}]')));
  end if;
  for i in 0 .. jsonb_array_length(columns) - 1 loop
    declared := columns -> i;
    at := format('columns[%s]', i);
    if jsonb_typeof(declared) <> 'object' then
      errors := errors || jsonb_build_object('field', at, 'value', declared, 'message', 'must be an object', 'expected', '{name, path, type}');
      continue;
    end if;
    column_name := case when jsonb_typeof(declared -> 'name') = 'string' then declared ->> 'name' end;
    column_type := coalesce(aliases ->> (declared ->> 'type'), declared ->> 'type');
    for wrong in
      select at || '.' || k.key as field, declared -> k.key as value, 'is no part of a column' as message, 'name, path, type' as expected
      from jsonb_object_keys(declared) as k (key) where k.key not in ('name', 'path', 'type')
      union all
      select at || '.name', declared -> 'name', problem.message, problem.expected from (values
        (coalesce(column_name, '') = '', 'must be the name of a column', 'text'),
        (octet_length(column_name) > 63, 'is too long for a name in PostgreSQL', 'at most 63 bytes'),
        (column_name = any (etl.typed_view_fixed()), 'is a column that every typed view has', 'another name'),
        (column_name = any (seen), 'is the name of two columns', 'another name')) as problem (is_wrong, message, expected)
      where problem.is_wrong
      union all
      select at || '.path', declared -> 'path', 'must be a path into payload', '"properties.mag", with \. for a dot inside a name'
      where declared ? 'path' and (jsonb_typeof(declared -> 'path') <> 'string' or declared ->> 'path' = '')
      union all
      select at || '.type', declared -> 'type', 'is no type of a column' ||
          coalesce('; did you mean ' || etl.nearest_name(coalesce(column_type, ''), types) || '?', ''), array_to_string(types, ', ')
      where column_type is null or not column_type = any (types)
    loop
      errors := errors || jsonb_strip_nulls(to_jsonb(wrong));
    end loop;
    seen := seen || column_name;
    checked := checked || jsonb_build_object('name', column_name,
      'path', coalesce(declared ->> 'path', replace(column_name, '.', '\.')), 'type', column_type);
  end loop;
  if errors <> '[]' then
    perform etl.raise_problem('invalid-conf',
      (select string_agg(format('%s %s', e ->> 'field', e ->> 'message'), '; ') from jsonb_array_elements(errors) as e), errors);
  end if;
  return checked;
end $$;
