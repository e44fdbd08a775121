-- Wakes the servers for work of a kind when the transaction that made it commits; etl.due_work() knows the kinds.
create or replace function etl.wake(kind text) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  select pg_notify('etl_work', kind)
$$;
