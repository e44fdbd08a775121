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
