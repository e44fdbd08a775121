-- Checks a value against the part of JSON Schema that etl.param_schema uses and
-- yields {field, value, code, message, expected} for what is wrong, in the words of pipeline/conf_errors.ts (a test compares),
-- at most about 100 things: as many as one answer
-- names (vocabulary/problem.ts). The known name that was meant is looked for 10 times at most (vocabulary/nearest_name.ts).
create or replace function etl.schema_errors(schema jsonb, value jsonb, path text default '')
returns setof jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  kind text := jsonb_typeof(value);
  wanted text := schema ->> 'type';
  shown jsonb := case when length(value::text) > 200 then to_jsonb(left(value::text, 200) || '…') else value end;
  -- read more than once: each look into a schema copies what it finds
  properties jsonb := schema -> 'properties';
  additional jsonb := schema -> 'additionalProperties';
  field jsonb;
  branch jsonb;
  found jsonb;
  best jsonb;
  rank integer;
  best_rank integer := -1;
  limits text[];
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
      else
        select jsonb_agg(e),
          -- the branch of the right type, then the one that fits furthest, says best what is wrong
          100 * (not coalesce(bool_or(e ->> 'code' = 'wrong-type' and e ->> 'field' = path), false))::integer
            + max(length(e ->> 'field') - length(translate(e ->> 'field', '.[', '')))
          into found, rank from etl.schema_errors(branch, value, path) as e;
        if found is null then
          return;
        elsif rank > best_rank then
          best := found;
          best_rank := rank;
        end if;
      end if;
    end loop;
    if best is not null then
      return query select jsonb_array_elements(best);
    elsif kind <> 'object' then
      return next jsonb_build_object('field', path, 'value', shown, 'code', 'wrong-type', 'message', 'must be an object', 'expected', 'an object');
    else
      select string_agg(b #>> '{properties,type,const}', ', ')
        into text_value from jsonb_array_elements(coalesce(schema -> 'oneOf', schema -> 'anyOf')) as b;
      return next jsonb_build_object('field', path || '.type', 'value', value -> 'type', 'code', 'unknown-type',
        'message', 'is of no known type', 'expected', 'one of: ' || text_value);
    end if;
    return;
  end if;

  if schema ? 'const' and value <> schema -> 'const' then
    return next jsonb_build_object('field', path, 'value', shown, 'code', 'not-accepted', 'message', 'is not an accepted value',
      'expected', 'one of: ' || (schema ->> 'const'));
    return;
  end if;
  if schema ? 'enum' and not schema -> 'enum' @> value then
    return next jsonb_build_object('field', path, 'value', shown, 'code', 'not-accepted', 'message', 'is not an accepted value',
      'expected', 'one of: ' || (select string_agg(e, ', ') from jsonb_array_elements_text(schema -> 'enum') as e));
    return;
  end if;
  if wanted is not null and not (kind = wanted
      or (wanted = 'integer' and kind = 'number' and (value #>> '{}')::numeric % 1 = 0)) then
    wanted := case when wanted = 'integer' and kind <> 'number' then 'a number' when wanted = 'integer' then 'a whole number'
      when wanted = 'string' then 'text' when wanted = 'boolean' then 'true or false' when wanted = 'array' then 'a list'
      when wanted = 'object' then 'an object' else 'a ' || wanted end;
    -- of a text that holds what is expected, only its quotes are wrong
    return next jsonb_build_object('field', path, 'value', shown, 'code', 'wrong-type', 'message', 'must be ' || wanted
        || case when kind = 'string' and (value #>> '{}') ~ case when wanted ~ 'number' then '^-?\d+(\.\d+)?$'
          when wanted ~ 'true' then '^(true|false)$' else '^\M' end then ', written without quotes' else '' end,
      'expected', wanted);
    return;
  end if;
  if kind in ('number', 'string', 'array') then
    number := case kind when 'number' then (value #>> '{}')::numeric when 'string' then length(value #>> '{}')
      else jsonb_array_length(value) end;
    limits := case kind when 'number' then array['minimum', 'maximum', ''] when 'string' then array['minLength', 'maxLength', ' characters']
      else array['minItems', 'maxItems', ' items'] end;
    if number < (schema ->> limits[1])::numeric or kind = 'number' and number <= (schema ->> 'exclusiveMinimum')::numeric then
      return next jsonb_build_object('field', path, 'value', shown, 'code', case kind when 'number' then 'too-small' else 'too-short' end,
        'message', case kind when 'number' then 'is too small' else 'is too short' end,
        'expected', case when schema ? limits[1] then 'at least ' || (schema ->> limits[1])
          else 'more than ' || (schema ->> 'exclusiveMinimum') end || case schema ->> limits[1] when '1' then rtrim(limits[3], 's') else limits[3] end);
    elsif number > (schema ->> limits[2])::numeric then
      return next jsonb_build_object('field', path, 'value', shown, 'code', case kind when 'number' then 'too-large' else 'too-long' end,
        'message', case kind when 'number' then 'is too large' else 'is too long' end,
        'expected', 'at most ' || (schema ->> limits[2]) || case schema ->> limits[2] when '1' then rtrim(limits[3], 's') else limits[3] end);
    end if;
  end if;
  if kind = 'string' then
    if schema ? 'pattern' and value #>> '{}' !~ (schema ->> 'pattern') then
      return next jsonb_build_object('field', path, 'value', shown, 'code', 'wrong-form', 'message', 'has the wrong form',
        'expected', coalesce(schema ->> 'x-form', 'text that matches ' || (schema ->> 'pattern')));
    end if;
  elsif kind = 'array' then
    if jsonb_typeof(schema -> 'items') = 'object' and schema -> 'items' <> '{}' then
      for item in select jsonb_array_elements(value) loop
        return query select * from etl.schema_errors(schema -> 'items', item, format('%s[%s]', path, i));
        get diagnostics told_below = row_count;
        told := told + told_below;
        exit when told >= 100;
        i := i + 1;
      end loop;
    end if;
  elsif kind = 'object' then
    for name, item in select * from jsonb_each(value) loop
      field := properties -> name;
      if field is not null then
        return query select * from etl.schema_errors(field, item, case when path = '' then name else path || '.' || name end);
        get diagnostics told_below = row_count;
        told := told + told_below;
      elsif additional = 'false' then
        known := coalesce(known, (select array_agg(key) from jsonb_object_keys(properties) as key));
        near := case when told < 10 then etl.nearest_name(name, known) end;
        told := told + 1;
        return next jsonb_strip_nulls(jsonb_build_object(
          'field', left(case when path = '' then name else path || '.' || name end, 200),
          'code', 'unknown-name', 'message', 'is not a known name' || coalesce('; did you mean ' || near || '?', ''),
          'expected', coalesce(near, 'one of: ' || array_to_string(known, ', '))));
      elsif jsonb_typeof(additional) = 'object' then
        return query select * from etl.schema_errors(additional, item, case when path = '' then name else path || '.' || name end);
      end if;
      exit when told >= 100;
    end loop;
    for name in select jsonb_array_elements_text(schema -> 'required') loop
      field := properties -> name;
      if not value ? name and not field ? 'default' then
        return next jsonb_build_object('field', case when path = '' then name else path || '.' || name end,
          'code', 'missing', 'message', 'is missing',
          'expected', case field ->> 'type' when 'string' then 'text' when 'boolean' then 'true or false'
            when 'integer' then 'a number' when 'number' then 'a number' when 'array' then 'a list' when 'object' then 'an object'
            else coalesce(field ->> 'type', 'value') end);
      end if;
    end loop;
  end if;
end $$;
