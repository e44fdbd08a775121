-- RFC 9562 version 7, with microseconds in rand_a: run ids sort by the time of their request.
create or replace function etl.uuid7() returns uuid
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select encode(
    substring(int8send(us / 1000) from 3 for 6)
      || substring(int8send(28672 + (us % 1000) * 4096 / 1000) from 7 for 2)
      || substring(uuid_send(gen_random_uuid()) from 9 for 8),
    'hex')::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) as clock
$$;
comment on function etl.uuid7() is 'a time-ordered UUID (RFC 9562 version 7)';
