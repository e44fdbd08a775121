-- In which order runs are executed, and what one that comes late may change.

-- The name that owns the rows of a run.
create or replace function etl.source_name(params jsonb, run_label text) returns text
language sql immutable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(params #>> '{source,name}', case params #>> '{source,type}' when 'synthetic' then 'synthetic' else run_label end)
$$;

-- The order in which runs must be executed: those with one key go one at a time, as they were asked for. Without a
-- version the record that was read last counts, and a cursor is moved by one run at a time. Null: in any order.
create or replace function etl.order_key(params jsonb) returns text
language sql immutable as $$
  select case when params -> 'dry_run' = 'true' then null
    when coalesce(params ->> 'write', 'upsert') not in ('replace', 'mirror') and coalesce(params -> 'deleted', 'null') = 'null' and (params #>> '{source,type}' = 'synthetic'
      or params #>> '{source,version}' is not null and params #>> '{source,cursor}' is null) then null
    else etl.source_name(params, params ->> 'run_label') || ' ' || (params ->> 'schema_name') || '.' || (params ->> 'table_name') end
$$;

-- Whether a run publishes all that it has at once, in the transaction that ends it. A replay has only what was rejected.
create or replace function etl.at_once(run etl.runs) returns boolean
language sql immutable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(run.params ->> 'write' in ('replace', 'mirror'), false) and run.replay_of is null
$$;

-- Whether another run has put something into the table of a run, from the same source.
create or replace function etl.has_loaded_same(other etl.runs, run etl.runs) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp set jit = off set enable_seqscan = off as $$
  select other.run_id <> run.run_id and other.schema_name = run.schema_name and other.table_name = run.table_name
    and etl.source_name(other.params, other.run_label) = etl.source_name(run.params, run.run_label)
    and exists (select from etl.chunks as c where c.run_id = other.run_id and c.state = 'published')
$$;

-- The run whose place in the order of requests a run takes, the first of a chain of replays, and whether it comes late:
-- another run of its source and table that was requested after it has put something there since. Late runs
-- cannot know what the later one found as it was, so they add what is missing and change nothing. Where a later one has
-- replaced or mirrored (superseded), nothing is missing but what the source had no more: they do not even add it.
-- What runs for the first time is executed in the order of requests, unless a version decides, and is not late.
create or replace function etl.order_of(run_id uuid, out order_run_id uuid, out late boolean, out superseded boolean)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp set jit = off set enable_seqscan = off as $$
declare
  run etl.runs;
  root etl.runs;
begin
  select * into run from etl.runs as r where r.run_id = order_of.run_id;
  root := run;
  while root.replay_of is not null loop
    select * into root from etl.runs as r where r.run_id = root.replay_of;
    exit when not found;
  end loop;
  order_run_id := coalesce(root.run_id, run.replay_of, run.run_id);
  -- what waits for its first attempt has loaded nothing: it is not looked at, however much waits
  superseded := exists (select from etl.runs as r where r.run_id > order_run_id and r.replay_of is null
    and r.params ->> 'write' in ('replace', 'mirror') and r.attempt > 0 and etl.has_loaded_same(r, run));
  -- what another executed in any order has loaded, a run that replaces or mirrors leaves alone row by row
  late := (run.replay_of is not null or run.attempt_base > 0 or run.comes_back) and exists (
    select from etl.runs as r where r.run_id > order_run_id and r.replay_of is null and r.attempt > 0
      and (not etl.at_once(run) or r.cursor_key is not null) and etl.has_loaded_same(r, run));
end $$;
