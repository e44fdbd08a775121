-- Starts as many waiting runs of a pool as it has free slots. Exact on any number
-- of servers: the pool's row is locked, so only one admission happens at a time.
-- Fair between labels: the label that was admitted longest ago goes first. A run
-- whose label or cursor is busy waits without holding up the others.
create or replace function etl.admit(pool text) returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  free integer;
  chosen uuid;
  admitted integer := 0;
  busy_labels text[];
  busy_cursors text[];
begin
  select p.slots into free from etl.pools as p where p.pool = admit.pool for update;
  select free - count(*) into free from etl.runs as r
    where r.pool = admit.pool and r.admitted_at is not null and r.state in ('queued', 'running');
  while free > 0 loop
    -- read once: the index of active runs is small, but has many dead entries when runs are short
    select coalesce(array_agg(r.run_label), '{}'), coalesce(array_agg(r.cursor_key) filter (where r.cursor_key is not null), '{}')
      into busy_labels, busy_cursors
      from etl.runs as r where r.admitted_at is not null and r.state in ('queued', 'running');
    select first.run_id into chosen
    from (
      select distinct on (r.run_label) r.run_id, r.run_label, r.requested_at, r.cursor_key
      from etl.runs as r
      where r.pool = admit.pool and r.state = 'queued' and r.admitted_at is null
        and r.run_label <> all(busy_labels)
      order by r.run_label, r.requested_at, r.run_id
    ) as first
    where first.cursor_key is null or first.cursor_key <> all(busy_cursors)
    order by (select max(past.admitted_at) from etl.runs as past where past.run_label = first.run_label) nulls first,
      first.requested_at, first.run_id
    limit 1;
    exit when chosen is null;
    begin
      update etl.runs set admitted_at = clock_timestamp() where run_id = chosen and admitted_at is null;
      perform etl.enqueue('etl_run', jsonb_build_object('run_id', chosen));
      admitted := admitted + 1;
      free := free - 1;
    exception when unique_violation then
      -- another pool has just admitted a run of this label or cursor; its end admits this one
      exit;
    end;
  end loop;
  return admitted;
end $$;
comment on function etl.admit(text) is 'starts waiting runs of a pool while it has free slots; answers how many';
