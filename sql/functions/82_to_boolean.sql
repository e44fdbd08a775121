-- true and false, also as the words and digits that PostgreSQL takes for them; null for anything else.
create or replace function etl.to_boolean(value text) returns boolean
language sql immutable parallel safe
return case
  when value = 'true' then true
  when value = 'false' then false
  when lower(btrim(value)) = any ('{true,t,yes,y,on,1}') then true
  when lower(btrim(value)) = any ('{false,f,no,n,off,0}') then false
end;
