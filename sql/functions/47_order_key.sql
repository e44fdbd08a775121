-- The order in which runs must be executed: those with one key go one at a time, as they were asked for. Without a
-- version the record that was read last counts, and a cursor is moved by one run at a time. Null: in any order.
create or replace function etl.order_key(params jsonb) returns text
language sql immutable as $$
  select case when params -> 'dry_run' = 'true' or params #>> '{source,type}' = 'synthetic'
      or params #>> '{source,version}' is not null and params #>> '{source,cursor}' is null then null
    else etl.source_name(params, params ->> 'run_label') || ' ' || (params ->> 'schema_name') || '.' || (params ->> 'table_name') end
$$;
