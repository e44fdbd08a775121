-- Replays the open records of a run's quarantine: they become the body of a new run with this conf, in one transaction
-- with the note that it has them. Requests for one quarantine go one after the other; where another replay has
-- all of them in hand, its run is the answer (created: false). A run that has none raises no-open-records.
-- options: rule (only records that it rejected), dry_run, and those of etl.submit_run.
create or replace function etl.replay_run(run_id uuid, conf jsonb, options jsonb default '{}') returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  upload uuid := etl.uuid7();
  only_rule text := options ->> 'rule';
  records bigint;
  running uuid;
  submitted jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended('etl replay ' || replay_run.run_id, 0));
  -- a record once, whatever number of its outputs failed
  with open as (
    select row_number() over (order by q.chunk_no, q.position) - 1 as place, q.chunk_no, q.position,
      regexp_replace(min(coalesce(q.record, q.raw)), E'\r?\n', ' ', 'g') || E'\n' as line
    from etl.quarantine as q
    where q.run_id = replay_run.run_id and q.state = 'open' and (only_rule is null or q.rule = only_rule)
    group by q.chunk_no, q.position
  ), parts as (
    select o.place, o.line, sum(octet_length(o.line)) over (order by o.place) / 1048576 as mib from open as o
  ), stored as (
    insert into etl.uploads (upload_id, part_no, data)
    select upload, dense_rank() over (order by p.mib) - 1, convert_to(string_agg(p.line, '' order by p.place), 'UTF8')
    from parts as p group by p.mib
  ), noted as (
    update etl.quarantine as q set state = 'replaying', tries = q.tries + 1, replay_place = o.place
    from open as o where q.run_id = replay_run.run_id and q.chunk_no = o.chunk_no and q.position = o.position
      and q.state = 'open'
    returning 1
  )
  select count(*) into records from noted;
  if records = 0 then
    select q.replayed_by into running from etl.quarantine as q
      where q.run_id = replay_run.run_id and q.state = 'replaying' and (only_rule is null or q.rule = only_rule)
      order by q.replayed_by desc limit 1;
    if running is null then
      perform etl.raise_problem('conflict', format('Run %s has no open record in its quarantine%s: none was rejected, or all have been replayed.',
        replay_run.run_id, case when only_rule is null then '' else ' that rule ' || only_rule || ' rejected' end), status => 409);
    end if;
    return (select jsonb_build_object('run_id', r.run_id, 'state', r.state, 'created', false, 'skipped', false)
      from etl.runs as r where r.run_id = running);
  end if;
  submitted := etl.submit_run(jsonb_set(conf, '{source,upload_id}', to_jsonb(upload)),
    (options - 'rule') || jsonb_build_object('trigger', 'replay', 'replay_of', replay_run.run_id));
  update etl.quarantine as q set replayed_by = (submitted ->> 'run_id')::uuid
    where q.run_id = replay_run.run_id and q.state = 'replaying' and q.replayed_by is distinct from (submitted ->> 'run_id')::uuid
      and (q.replayed_by is null or not exists (
        select 1 from etl.runs as r where r.run_id = q.replayed_by and r.state in ('queued', 'running')));
  return submitted;
end $$;
comment on function etl.replay_run(uuid, jsonb, jsonb) is 'loads the open records of a quarantine again, as a new run';

-- When a replay ends, each record that it had is either loaded, or open again, with the new reason where there is one.
-- Records of the replay's own quarantine went back to where they came from.
create or replace function etl.settle_replay() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  succeeded boolean := new.state = 'succeeded' and not new.dry_run;
begin
  with places as (
    -- records are numbered by chunk; those before a chunk are what the chunks before it have read
    select c.chunk_no, coalesce(sum(c.records_read) over (order by c.chunk_no rows between unbounded preceding and 1 preceding), 0) as before
    from etl.chunks as c where c.run_id = new.run_id
  ), again as (
    select distinct on (p.before + q.position) p.before + q.position as place, q.rule, q.message, q.field
    from etl.quarantine as q join places as p on p.chunk_no = q.chunk_no
    where q.run_id = new.run_id order by p.before + q.position, q."output"
  ), had as (
    select q.run_id, q.chunk_no, q.position, q."output", a.place is not null as rejected, a.rule, a.message, a.field
    from etl.quarantine as q left join again as a on a.place = q.replay_place
    where q.run_id = new.replay_of and q.replayed_by = new.run_id and q.state <> 'replayed'
  )
  update etl.quarantine as q set state = case when succeeded and not h.rejected then 'replayed' else 'open' end,
    rule = coalesce(h.rule, q.rule), message = coalesce(h.message, q.message),
    field = case when h.rejected then h.field else q.field end
  from had as h
  where q.run_id = h.run_id and q.chunk_no = h.chunk_no and q.position = h.position and q."output" = h."output";
  update etl.quarantine as q set state = 'returned' where q.run_id = new.run_id and q.state = 'open';
  return null;
end $$;
create or replace trigger settle_replay after update on etl.runs
  for each row when (old.ended_at is null and new.ended_at is not null and new.replay_of is not null)
  execute function etl.settle_replay();
