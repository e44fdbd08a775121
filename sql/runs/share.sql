-- One run on several servers. Its coordinator, the server that has the run's attempt, plans, judges, resolves and ends it; chunks are
-- prepared and published by it and by helpers. Whoever has a chunk is its holder: every write of a chunk needs the run's
-- attempt and the chunk's holder (store/chunks.ts, lockChunk), so that a server which was taken for dead changes nothing.

-- Offers a run to other servers; what an earlier attempt has offered is over. False for an attempt that is the run's no more.
create or replace function etl.share_run(run_id uuid, attempt integer, holder uuid, same jsonb) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform from etl.runs as r
    where r.run_id = share_run.run_id and r.attempt = share_run.attempt and r.state = 'running' for share;
  if not found then return false; end if;
  delete from etl.shared_runs as s where s.run_id = share_run.run_id;
  insert into etl.shared_runs (run_id, attempt, holder, same)
  values (share_run.run_id, share_run.attempt, share_run.holder, share_run.same);
  insert into etl.shared_chunks (run_id, chunk_no)
  select c.run_id, c.chunk_no from etl.chunks as c where c.run_id = share_run.run_id;
  perform etl.wake('help');
  return true;
end $$;

-- The runs that a server could help with now: chunks are open to anybody, or its own are to be published.
create or replace function etl.shared_work(server_id text) returns table (run_id uuid, attempt integer, same jsonb)
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select s.run_id, s.attempt, s.same from etl.shared_runs as s
  join etl.runs as r on r.run_id = s.run_id and r.attempt = s.attempt
  where r.state = 'running' and r.cancel_requested_at is null and r.server_id <> shared_work.server_id and s.phase <> 'resolve'
    and exists (select from etl.shared_chunks as h join etl.chunks as c on c.run_id = h.run_id and c.chunk_no = h.chunk_no
      where h.run_id = s.run_id and (s.phase = 'prepare' or c.state <> 'published')
        and (h.state = 'open' and not h.own or h.state = 'prepared' and s.phase = 'publish' and h.server_id = shared_work.server_id))
  order by r.started_at
$$;

-- A server joins in; false where the run is not offered any more.
create or replace function etl.join_run(run_id uuid, attempt integer, holder uuid, server_id text) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.run_helpers (holder, run_id, server_id)
  select join_run.holder, s.run_id, join_run.server_id from etl.shared_runs as s
  where s.run_id = join_run.run_id and s.attempt = join_run.attempt for share;
  return found;
end $$;

-- A helper's sign of life; tells it whether to go on.
create or replace function etl.report_help(run_id uuid, attempt integer, holder uuid)
returns table (is_current boolean, cancel_requested boolean)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  return query
  update etl.run_helpers as h set seen_at = clock_timestamp()
  from etl.shared_runs as s join etl.runs as r on r.run_id = s.run_id
  where h.holder = report_help.holder and s.run_id = h.run_id and h.run_id = report_help.run_id
    and s.attempt = report_help.attempt and r.attempt = report_help.attempt and r.state = 'running'
  returning true, r.cancel_requested_at is not null;
  if not found then
    return query select false, false;
  end if;
end $$;

-- The next step of a chunk for its holder-to-be: to publish one that it has prepared, else to prepare one that nobody has, first
-- of those that it has prepared for an earlier attempt, then of those that nobody has. None where there is nothing to do now.
-- `in_hand` are the chunks that the holder knows to have: others, of a claim whose answer was lost, are open again.
create or replace function etl.claim_chunk(run_id uuid, attempt integer, holder uuid, server_id text, in_hand integer[])
returns table (step text, chunk_no integer, slice jsonb, state text, again boolean, fills boolean, decision jsonb)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.shared_runs;
  chosen record;
begin
  select s.* into run from etl.shared_runs as s join etl.runs as r on r.run_id = s.run_id
  where s.run_id = claim_chunk.run_id and s.attempt = claim_chunk.attempt and r.attempt = claim_chunk.attempt and r.state = 'running'
    and (s.holder = claim_chunk.holder
      or exists (select from etl.run_helpers as h where h.holder = claim_chunk.holder and h.run_id = s.run_id));
  if not found or run.phase = 'resolve' then return; end if;
  update etl.shared_chunks as h set state = case h.state when 'publishing' then 'prepared' else 'open' end
  where h.run_id = run.run_id and h.holder = claim_chunk.holder and h.state in ('taken', 'publishing') and h.chunk_no <> all(in_hand);
  if run.phase = 'publish' then
    select h.chunk_no, h.decision into chosen
    from etl.shared_chunks as h join etl.chunks as c on c.run_id = h.run_id and c.chunk_no = h.chunk_no
    where h.run_id = run.run_id and h.state = 'prepared' and h.holder = claim_chunk.holder and h.decision is not null
      and c.state <> 'published'
    order by h.chunk_no limit 1 for update of h skip locked;
    if found then
      update etl.shared_chunks as h set state = 'publishing' where h.run_id = run.run_id and h.chunk_no = chosen.chunk_no;
      return query select 'publish', chosen.chunk_no, null::jsonb, null::text, null::boolean, false, chosen.decision;
      return;
    end if;
  end if;
  select h.chunk_no, h.takes, c.slice, c.state, c.server_id into chosen
  from etl.shared_chunks as h join etl.chunks as c on c.run_id = h.run_id and c.chunk_no = h.chunk_no
  where h.run_id = run.run_id and h.state = 'open' and (not h.own or run.holder = claim_chunk.holder)
    and (run.phase = 'prepare' or c.state <> 'published')
  order by c.server_id is distinct from claim_chunk.server_id, c.server_id is not null, h.chunk_no limit 1 for update of h skip locked;
  if not found then return; end if;
  update etl.shared_chunks as h set state = 'taken', holder = claim_chunk.holder, server_id = claim_chunk.server_id, takes = h.takes + 1
  where h.run_id = run.run_id and h.chunk_no = chosen.chunk_no;
  return query select 'prepare', chosen.chunk_no, chosen.slice,
    -- counters and quarantine are those of the server that prepared it last, so only that one's spill goes with them
    case when chosen.server_id = claim_chunk.server_id then chosen.state else 'planned' end,
    chosen.takes > 0, run.phase = 'prepare', null::jsonb;
end $$;

-- Stores that a chunk is prepared, in the transaction that has locked it. False where it is another's by now. What resolve has seen
-- binds a chunk that is prepared again: if it became another, the run has to be resolved anew.
create or replace function etl.store_prepared(run_id uuid, chunk_no integer, holder uuid, meta jsonb, reused boolean, digest text, spills bytea[])
returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.shared_runs;
  before text;
begin
  select s.* into run from etl.shared_runs as s where s.run_id = store_prepared.run_id for share;
  select h.digest into before from etl.shared_chunks as h
  where h.run_id = store_prepared.run_id and h.chunk_no = store_prepared.chunk_no;
  update etl.shared_chunks as h set state = 'prepared', meta = store_prepared.meta, reused = store_prepared.reused,
    digest = store_prepared.digest, spills = store_prepared.spills
  where h.run_id = store_prepared.run_id and h.chunk_no = store_prepared.chunk_no and h.holder = store_prepared.holder and h.state = 'taken';
  if not found then return false; end if;
  if run.phase <> 'prepare' and before is distinct from store_prepared.digest then
    update etl.shared_runs as s set stale = true where s.run_id = store_prepared.run_id;
    update etl.shared_chunks as h set decision = null
    where h.run_id = store_prepared.run_id and h.chunk_no = store_prepared.chunk_no;
  end if;
  return true;
end $$;

-- Gives a chunk back, to be prepared by somebody else: after a failure by the coordinator, who fails the run where it must.
create or replace function etl.release_chunk(run_id uuid, chunk_no integer, holder uuid, failed boolean) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  update etl.shared_chunks as h set state = 'open', holder = null, own = h.own or failed
  where h.run_id = release_chunk.run_id and h.chunk_no = release_chunk.chunk_no and h.holder = release_chunk.holder;
  perform etl.wake('help');
end $$;

-- A helper goes, and with it the spill of its chunks.
create or replace function etl.leave_run(holder uuid) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  delete from etl.run_helpers as h where h.holder = leave_run.holder;
  if not found then return; end if;
  update etl.shared_chunks as h set state = 'open', holder = null where h.holder = leave_run.holder;
  perform etl.wake('help');
end $$;

-- Takes the chunks of helpers away that have given no sign of life for 6 s, and ends what they have open. Answers how many helpers.
create or replace function etl.release_helpers(run_id uuid, attempt integer) returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.shared_runs;
  dead uuid;
  gone integer := 0;
begin
  select * into run from etl.shared_runs as s where s.run_id = release_helpers.run_id and s.attempt = release_helpers.attempt;
  if not found then return 0; end if;
  for dead in
    delete from etl.run_helpers as h where h.run_id = run.run_id
      and greatest(h.seen_at, pg_postmaster_start_time()) < clock_timestamp() - interval '6 seconds' returning h.holder
  loop
    perform etl.end_backends(format('etl-run %s %s %s', run.run_id, run.attempt, left(dead::text, 8)));
    gone := gone + 1;
  end loop;
  -- one that somebody still writes is seen to the next time; one that a server died with may be the reason, and takes no other with it
  update etl.shared_chunks as h set state = 'open', holder = null, own = h.own or h.state <> 'prepared'
  where (h.run_id, h.chunk_no) in (
    select o.run_id, o.chunk_no from etl.shared_chunks as o
    where o.run_id = run.run_id and o.holder <> run.holder
      and not exists (select from etl.run_helpers as k where k.holder = o.holder)
    for update skip locked);
  if found then
    perform etl.wake('help');
  end if;
  return gone;
end $$;

-- Goes on to the next phase of a shared run: to resolve when every chunk is prepared, to publish when every chunk is decided.
create or replace function etl.advance_shared_run(run_id uuid, attempt integer, phase text) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  update etl.shared_runs as s set phase = advance_shared_run.phase
  where s.run_id = advance_shared_run.run_id and s.attempt = advance_shared_run.attempt
    and case advance_shared_run.phase
      when 'resolve' then not exists (select from etl.shared_chunks as h where h.run_id = s.run_id and h.state <> 'prepared')
      else not exists (select from etl.shared_chunks as h where h.run_id = s.run_id and h.decision is null) end;
  if not found then return false; end if;
  perform etl.wake('help');
  return true;
end $$;

-- Ends the sharing of a run by attempts up to this one.
create or replace function etl.unshare_run(run_id uuid, attempt integer) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  delete from etl.shared_runs as s where s.run_id = unshare_run.run_id and s.attempt <= unshare_run.attempt
$$;
