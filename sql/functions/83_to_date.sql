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
