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
