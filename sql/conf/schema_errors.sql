-- Checks a value against the part of JSON Schema that etl.param_schema uses and
-- yields {field, value, message, expected} for what is wrong, at most about 100 things: as many as one answer
-- names (vocabulary/problem.ts). The known name that was meant is looked for 10 times at most (vocabulary/nearest_name.ts).
create or replace function etl.schema_errors(schema jsonb, value jsonb, path text default '')
returns setof jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  kind text := jsonb_typeof(value);
  wanted text := schema ->> 'type';
  shown jsonb := case when length(value::text) > 200 then to_jsonb(left(value::text, 200) || '…') else value end;
  branch jsonb;
  name text;
  item jsonb;
  number numeric;
  text_value text;
  i integer := 0;
  known text[];
  near text;
  told integer := 0;
  told_below integer;
begin
  if schema ? 'oneOf' or schema ? 'anyOf' then
    for branch in select jsonb_array_elements(coalesce(schema -> 'oneOf', schema -> 'anyOf')) loop
      -- of a union that names its branch by `type`, only that branch can tell what is wrong
      if branch #>> '{properties,type,const}' is not null then
        if value ->> 'type' = branch #>> '{properties,type,const}' then
          return query select * from etl.schema_errors(branch, value, path);
          return;
        end if;
      elsif not exists (select from etl.schema_errors(branch, value, path)) then
        return;
      end if;
    end loop;
    select string_agg(coalesce(b #>> '{properties,type,const}', b ->> 'type', 'object'), ', ')
      into text_value from jsonb_array_elements(coalesce(schema -> 'oneOf', schema -> 'anyOf')) as b;
    return next jsonb_build_object('field', path, 'value', shown,
      'message', 'is of no accepted form', 'expected', 'one of: ' || text_value);
    return;
  end if;

  if wanted is not null and not (kind = wanted
      or (wanted = 'integer' and kind = 'number' and (value #>> '{}')::numeric % 1 = 0)) then
    return next jsonb_build_object('field', path, 'value', shown,
      'message', format('must be %s, not %s', wanted, kind), 'expected', wanted);
    return;
  end if;
  if schema ? 'const' and value <> schema -> 'const' then
    return next jsonb_build_object('field', path, 'value', shown, 'message', 'is not the accepted value',
      'expected', schema ->> 'const');
  end if;
  if schema ? 'enum' and not schema -> 'enum' @> value then
    return next jsonb_build_object('field', path, 'value', shown, 'message', 'is not an accepted value',
      'expected', 'one of: ' || (select string_agg(e, ', ') from jsonb_array_elements_text(schema -> 'enum') as e));
  end if;

  if kind = 'number' then
    number := (value #>> '{}')::numeric;
    if number < (schema ->> 'minimum')::numeric or number <= (schema ->> 'exclusiveMinimum')::numeric
        or number > (schema ->> 'maximum')::numeric then
      return next jsonb_build_object('field', path, 'value', shown, 'message', 'is out of range',
        'expected', case when schema ? 'minimum' then format('a number from %s', schema ->> 'minimum')
          else format('a number above %s', coalesce(schema ->> 'exclusiveMinimum', '-infinity')) end
          || coalesce(' to ' || (schema ->> 'maximum'), ''));
    end if;
  elsif kind = 'string' then
    text_value := value #>> '{}';
    if length(text_value) < (schema ->> 'minLength')::integer
        or length(text_value) > (schema ->> 'maxLength')::integer then
      return next jsonb_build_object('field', path, 'value', shown, 'message', 'has the wrong length',
        'expected', format('%s to %s characters', coalesce(schema ->> 'minLength', '0'),
          coalesce(schema ->> 'maxLength', 'any number of')));
    elsif schema ? 'pattern' and text_value !~ (schema ->> 'pattern') then
      return next jsonb_build_object('field', path, 'value', shown, 'message', 'has characters that are not allowed',
        'expected', 'text that matches ' || (schema ->> 'pattern'));
    end if;
  elsif kind = 'array' then
    if jsonb_array_length(value) < (schema ->> 'minItems')::integer
        or jsonb_array_length(value) > (schema ->> 'maxItems')::integer then
      return next jsonb_build_object('field', path, 'value', jsonb_array_length(value),
        'message', 'has the wrong number of items',
        'expected', format('%s to %s items', coalesce(schema ->> 'minItems', '0'), coalesce(schema ->> 'maxItems', 'any number of')));
    elsif jsonb_typeof(schema -> 'items') = 'object' and schema -> 'items' <> '{}' then
      for item in select jsonb_array_elements(value) loop
        return query select * from etl.schema_errors(schema -> 'items', item, format('%s[%s]', path, i));
        get diagnostics told_below = row_count;
        told := told + told_below;
        exit when told >= 100;
        i := i + 1;
      end loop;
    end if;
  elsif kind = 'object' then
    select array_agg(key) into known from jsonb_object_keys(schema -> 'properties') as key;
    for name, item in select * from jsonb_each(value) loop
      if schema -> 'properties' ? name then
        return query select * from etl.schema_errors(schema -> 'properties' -> name, item,
          case when path = '' then name else path || '.' || name end);
        get diagnostics told_below = row_count;
        told := told + told_below;
      elsif schema -> 'additionalProperties' = 'false' then
        near := case when told < 10 then etl.nearest_name(name, known) end;
        told := told + 1;
        return next jsonb_strip_nulls(jsonb_build_object(
          'field', left(case when path = '' then name else path || '.' || name end, 200),
          'message', 'is not a known name' || coalesce(format('; did you mean %s?', near), ''),
          'expected', coalesce(near, array_to_string(known, ', '))));
      elsif jsonb_typeof(schema -> 'additionalProperties') = 'object' then
        return query select * from etl.schema_errors(schema -> 'additionalProperties', item,
          case when path = '' then name else path || '.' || name end);
      end if;
      exit when told >= 100;
    end loop;
    for name in select jsonb_array_elements_text(schema -> 'required') loop
      if not value ? name and not schema -> 'properties' -> name ? 'default' then
        return next jsonb_build_object('field', case when path = '' then name else path || '.' || name end,
          'message', 'is missing', 'expected', coalesce(schema -> 'properties' -> name ->> 'description', 'a value'));
      end if;
    end loop;
  end if;
end $$;
