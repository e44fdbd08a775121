-- A value of a payload as a type of a typed view; null where it is none.

-- A whole number as bigint, null where the text is none or does not fit; 12.0 is 12, 12.5 is null.
-- The casts of typed views have no `set`, which would cost more than all they do. This one has an SQL body, bound
-- when it is made: PostgreSQL puts it into the query that uses the view, which is cheaper than a call.
create or replace function etl.to_bigint(value text) returns bigint
language sql immutable parallel safe
return case
  when value ~ '^-?[0-9]+$' and length(value) < 19 then value::bigint
  when value ~ '^ *[+-]?[0-9]+(?:[.]0*)? *$' and length(value) < 400 then
    case when value::numeric between -9223372036854775808 and 9223372036854775807 then value::numeric::bigint end
end;

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

-- true and false, also as the words and digits that PostgreSQL takes for them; null for anything else.
create or replace function etl.to_boolean(value text) returns boolean
language sql immutable parallel safe
return case
  when value = 'true' then true
  when value = 'false' then false
  when lower(btrim(value)) = any ('{true,t,yes,y,on,1}') then true
  when lower(btrim(value)) = any ('{false,f,no,n,off,0}') then false
end;

-- The date of an ISO date or time, as it is written there; null for anything else, a 30th of February too.
-- In PL/pgSQL, as it looks at the value often: put into the query, each look would unpack the payload again.
create or replace function etl.to_date(value text) returns date
language plpgsql stable parallel safe as $$ begin return case
  -- most dates, more cheaply: long expressions are slow in PostgreSQL, by the character
  when value like '____-__-__' and value ~ '^[0-9]+-[0-9]+-[0-9]+$' and value > '0001' collate "C"
    and substr(value, 6, 2) between '01' and '12' collate "C" and substr(value, 9) between '01' and '28' collate "C"
    then value::date
  when value > '0001' collate "C" and (
    value ~ '^[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))(?:[T ].*)?$'
    or value ~ '^(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29(?:[T ].*)?$')
    then left(value, 10)::date
end; end $$;

-- An ISO 8601 date or time as occurred_at takes it (pipeline/timestamps.ts): without an offset it is UTC,
-- whatever the session's time zone; null for anything else. The cast would fail on a 30th of February.
-- In PL/pgSQL, as it looks at the value often: put into the query, each look would unpack the payload again.
create or replace function etl.to_timestamptz(value text) returns timestamptz
language plpgsql stable parallel safe as $$ begin return case
  -- most times, as JSON has them, more cheaply: long expressions are slow in PostgreSQL, by the character
  when (value like '____-__-__T__:__:__Z' or value like '____-__-__T__:__:__.%Z') and length(value) <= 30
    and value ~ '^(?:[0-9]+[-T:])+[0-9]+(?:[.][0-9]+)?Z$'
    and value > '0001' collate "C" and substr(value, 6, 2) between '01' and '12' collate "C"
    and substr(value, 9, 2) between '01' and '28' collate "C" and substr(value, 12, 2) < '24' collate "C"
    and substr(value, 15, 1) < '6' collate "C" and substr(value, 18, 1) < '6' collate "C"
    then value::timestamptz
  when value > '0001' collate "C" and (
    value ~ '^[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)? *(?:[Zz]|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)?)?$'
    or value ~ '^(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)? *(?:[Zz]|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)?)?$')
    then case when substr(value, 17) ~ '[-Zz+]' then replace(value, ',', '.')::timestamptz
      else replace(value, ',', '.')::timestamp at time zone 'UTC' end
end; end $$;

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
