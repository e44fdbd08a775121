-- A JSON number, or text that is one, with every digit; null where the value is none. Takes JSON,
-- because a JSON number needs no check.
create or replace function etl.to_numeric(value jsonb) returns numeric
language sql immutable parallel safe
return case jsonb_typeof(value)
  when 'number' then value::numeric
  when 'string' then case
    when value #>> '{}' ~ '^ *[+-]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+)(?:[eE][+-]?[0-9]{1,3})? *$'
      and length(value #>> '{}') < 1000 then (value #>> '{}')::numeric end
end;
