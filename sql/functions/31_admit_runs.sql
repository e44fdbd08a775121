-- How early a waiting run is in the order of its pool, the smallest first: when it was asked for or its label had
-- its last turn, whichever is later, so that labels share a pool and nobody who asks later can keep on going first.
-- A step of priority counts as a minute of waiting, so that it shortens a wait and never lengthens another without bound.
create or replace function etl.turn_of(run etl.runs) returns timestamptz
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select greatest((run).requested_at, (select max(past.admitted_at) from etl.runs as past where past.run_label = (run).run_label))
    - (run).priority * interval '1 minute'
$$;

-- Gives the free slots of every pool to waiting runs; answers how many it gave. Servers call it after the commit of
-- what makes room or asks for it, in a transaction of its own. One admission happens at a time, which makes pools
-- exact on any number of servers, and it waits for nobody but other admissions: a run whose row a client has locked
-- is passed over. A run whose label is busy waits, as does one whose order_key is busy or has an earlier request.
create or replace function etl.admit_runs() returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  pool record;
  chosen record;
  taken text[];
  admitted integer := 0;
begin
  if not exists (select from etl.runs as r where r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null) then
    return 0;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl admission', 0));
  for pool in
    select p.pool, p.slots - (select count(*) from etl.runs as r
      where r.pool = p.pool and r.admitted_at is not null and r.state in ('queued', 'running')) as free
    from etl.pools as p where exists (
      select from etl.runs as r where r.pool = p.pool and r.state = 'queued' and r.admitted_at is null)
    order by p.pool
  loop
    continue when pool.free <= 0;
    -- what earlier pools of this loop got is busy here
    taken := '{}';
    for chosen in
      with active as materialized (
        select a.run_label, a.cursor_key from etl.runs as a where a.admitted_at is not null and a.state in ('queued', 'running')
      ), ready as (
        select distinct on (r.run_label) r.run_id, r.cursor_key, r.requested_at, etl.turn_of(r) as turn
        from etl.runs as r
        where r.pool = pool.pool and r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null
          and r.run_label not in (select a.run_label from active as a)
          and (r.cursor_key is null or not exists (select from active as a where a.cursor_key = r.cursor_key)
            and not exists (select from etl.runs as e where e.cursor_key = r.cursor_key and e.state = 'queued' and e.admitted_at is null
              and (e.requested_at, e.run_id) < (r.requested_at, r.run_id)))
        order by r.run_label, r.requested_at - r.priority * interval '1 minute', r.run_id
      )
      select * from ready as r order by r.turn, r.requested_at, r.run_id
    loop
      exit when pool.free <= 0;
      continue when chosen.cursor_key = any (taken);
      perform from etl.runs as r where r.run_id = chosen.run_id and r.state = 'queued' and r.admitted_at is null
        for no key update skip locked;
      continue when not found;
      update etl.runs as r set admitted_at = clock_timestamp() where r.run_id = chosen.run_id;
      taken := taken || chosen.cursor_key;
      pool.free := pool.free - 1;
      admitted := admitted + 1;
    end loop;
  end loop;
  if admitted > 0 then
    perform etl.wake('runs');
  end if;
  return admitted;
end $$;
comment on function etl.admit_runs() is 'gives free slots to waiting runs; answers how many';
