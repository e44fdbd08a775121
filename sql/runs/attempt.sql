-- What an attempt stores while it runs.

-- Stores how far a run is, wakes its watchers, and tells its server whether to go on.
create or replace function etl.report_progress(run_id uuid, attempt integer, stages jsonb)
returns table (is_current boolean, cancel_requested boolean)
language plpgsql set search_path = pg_catalog, etl, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  run etl.runs;
begin
  update etl.runs as r set seen_at = clock_timestamp()
    where r.run_id = report_progress.run_id and r.attempt = report_progress.attempt and r.state = 'running'
    returning * into run;
  if not found then
    -- an attempt that ends its run with what it publishes may be asked once more
    return query select exists (select from etl.runs as r where r.run_id = report_progress.run_id
      and r.attempt = report_progress.attempt and r.state = 'succeeded'), false;
    return;
  end if;
  insert into etl.stages as s (run_id, stage, state, started_at, ended_at, busy_ms, records_in, records_out, attempts)
  select run.run_id, o.stage, o.state, o.started_at, o.ended_at, o.busy_ms, o.records_in, o.records_out, o.attempts
  from jsonb_to_recordset(stages) as o (stage text, state text, started_at timestamptz, ended_at timestamptz,
    busy_ms double precision, records_in bigint, records_out bigint, attempts integer)
  on conflict on constraint stages_pkey do update set state = excluded.state, started_at = excluded.started_at,
    ended_at = excluded.ended_at, busy_ms = excluded.busy_ms, records_in = excluded.records_in,
    records_out = excluded.records_out, attempts = excluded.attempts
  where (s.*) is distinct from (excluded.*);
  return query select true, run.cancel_requested_at is not null;
end $$;

-- The version that the last run of this label, source and table had, where this one has none; null else.
create or replace function etl.dropped_version(run_id uuid) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select (past.params #> '{source,version}')::text
  from etl.runs as r, lateral (
    select p.params from etl.runs as p
    where p.run_label = r.run_label and p.run_id <> r.run_id and p.state = 'succeeded' and not p.dry_run and p.replay_of is null
      and p.requested_at < r.requested_at and p.schema_name = r.schema_name and p.table_name = r.table_name
      and etl.source_name(p.params, p.run_label) = etl.source_name(r.params, r.run_label)
    order by p.requested_at desc limit 1) as past
  where r.run_id = dropped_version.run_id and r.replay_of is null and r.params #>> '{source,version}' is null
$$;

-- Stores the pin and the slices of a run; a later attempt finds what the first one stored.
create or replace function etl.plan_chunks(run_id uuid, attempt integer, pin jsonb, slices jsonb, warnings jsonb default '[]')
returns table (chunk_no integer, state text)
language plpgsql set search_path = pg_catalog, etl, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  dropped text := etl.dropped_version(plan_chunks.run_id);
begin
  update etl.runs as r set pin = coalesce(r.pin, plan_chunks.pin), num_chunks = jsonb_array_length(slices),
    warnings = case when r.pin is null then r.warnings || plan_chunks.warnings || case when dropped is null then '[]' else
      jsonb_build_array(format('The records have no version, and the run of this label before had "version": %s. Without it the record '
        'that is read last wins, also over newer rows. Put source.version back, unless that is meant.', dropped)) end else r.warnings end
    where r.run_id = plan_chunks.run_id and r.attempt = plan_chunks.attempt and r.state = 'running';
  if not found then return; end if;
  insert into etl.chunks (run_id, chunk_no, slice)
  select plan_chunks.run_id, (s.no - 1)::integer, s.slice from jsonb_array_elements(slices) with ordinality as s (slice, no)
  on conflict on constraint chunks_pkey do nothing;
  return query select c.chunk_no, c.state from etl.chunks as c where c.run_id = plan_chunks.run_id order by c.chunk_no;
end $$;

-- Returns a running run to the queue, still admitted: at once when its server stops, after 1 to 10 s when it failed transiently.
-- In an outage it gives its place in the pool back and keeps its label and its order key, so that nothing passes it there.
-- What the environment causes (`error` has outage_minutes) is no attempt of the run's: it is waited for by time, in pauses that
-- grow to 60 s, and ends the run after so many minutes. An attempt that worked for five minutes had what it needs: a new outage.
create or replace function etl.give_back_run(run_id uuid, attempt integer, error jsonb default null) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
  since timestamptz;
  outage_minutes double precision := (give_back_run.error ->> 'outage_minutes')::double precision;
  problem jsonb := give_back_run.error - 'outage_minutes';
begin
  select * into run from etl.runs as r
    where r.run_id = give_back_run.run_id and r.attempt = give_back_run.attempt and r.state = 'running' for no key update;
  if not found then return false; end if;
  if outage_minutes is not null then
    since := case when run.next_attempt_at > clock_timestamp() - interval '5 minutes' then run.outage_since end;
    since := coalesce(since, clock_timestamp());
    if clock_timestamp() - since >= outage_minutes * interval '1 minute' then
      perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'failed', 'error', problem || jsonb_build_object('detail',
        format('%s It was waited for since %s, for the %s minutes of ETL_OUTAGE_MINUTES. Retry the run when the cause is gone.',
          problem ->> 'detail', etl.iso(since), outage_minutes))));
      return true;
    end if;
  end if;
  update etl.runs as r set state = 'queued', worked_ms = etl.worked_ms(r), server_id = null, error = coalesce(problem, r.error), outage_since = since,
    admitted_at = case when since is null then r.admitted_at end,
    -- neither a server that stops in an orderly way nor an outage has used the attempt up
    attempt_base = case when problem is null or outage_minutes is not null then r.attempt_base + 1 else r.attempt_base end,
    next_attempt_at = case when problem is null then '-infinity'
      when since is not null then clock_timestamp() + least(interval '60 seconds', greatest(interval '1 second', (clock_timestamp() - since) / 2))
      else clock_timestamp() + least(10, power(2, r.attempt - r.attempt_base - 1)) * interval '1 second' end
    where r.run_id = run.run_id;
  perform etl.wake(case when since is null then 'runs' else 'requests' end);
  return true;
end $$;

-- Adds lines to the logs of runs and keeps the last ones of each (log_lines of etl.reaction_settings).
-- lines: [{run_id, logged_at, sent_at, level, message, fields}], in their order. Both times are by the clock of whoever
-- sends them; they are stored by the database's, as a run has lines of several servers.
create or replace function etl.append_logs(lines jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  kept integer := (select s.log_lines from etl.reaction_settings as s);
  run uuid;
begin
  for run in
    select distinct r.run_id from jsonb_array_elements(lines) as l
    join etl.runs as r on r.run_id = (l ->> 'run_id')::uuid order by 1
  loop
    perform pg_advisory_xact_lock(hashtextextended('etl logs ' || run, 0));
    insert into etl.run_logs (run_id, line_no, logged_at, level, message, fields)
    select run, coalesce((select max(k.line_no) from etl.run_logs as k where k.run_id = run), 0)
      + row_number() over (order by l.no), (l.line ->> 'logged_at')::timestamptz
        + coalesce(clock_timestamp() - (l.line ->> 'sent_at')::timestamptz, '0'), l.line ->> 'level', l.line ->> 'message',
      coalesce(l.line -> 'fields', '{}')
    from jsonb_array_elements(lines) with ordinality as l (line, no)
    where l.line ->> 'run_id' = run::text;
    delete from etl.run_logs as k where k.run_id = run
      and k.line_no <= (select max(m.line_no) from etl.run_logs as m where m.run_id = run) - kept;
  end loop;
end $$;

-- Manifests are made, analysed and dropped as the owner of schema etl: a server's role may create nothing there, since
-- what it created could be taken for one of the owner's functions.

-- Drops the manifests of a run that attempts up to this one have made.
create or replace function etl.drop_manifests(run_id uuid, up_to integer) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  prefix text := format('manifest_%s_', replace(run_id::text, '-', ''));
  manifest text;
begin
  for manifest in
    select c.relname from pg_class as c
    where c.relnamespace = 'etl'::regnamespace and c.relkind = 'r' and starts_with(c.relname, prefix)
      and substr(c.relname, length(prefix) + 1) ~ '^[0-9]+$' and substr(c.relname, length(prefix) + 1)::integer <= up_to
  loop
    execute format('drop table if exists etl.%I', manifest);
  end loop;
end $$;

-- Drops the manifests of runs that have ended, which a server that died has left, and what it shared.
create or replace function etl.drop_leftover_manifests() returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  manifest text;
begin
  for manifest in
    select c.relname from pg_class as c
    where c.relnamespace = 'etl'::regnamespace and c.relkind = 'r' and c.relname ~ '^manifest_[0-9a-f]{32}_[0-9]+$'
      and not exists (
        select from etl.runs as r where r.state in ('queued', 'running')
          and replace(r.run_id::text, '-', '') = substr(c.relname, 10, 32))
  loop
    execute format('drop table if exists etl.%I', manifest);
  end loop;
  delete from etl.shared_runs as s
  where not exists (select from etl.runs as r where r.run_id = s.run_id and r.state in ('queued', 'running'));
end $$;

-- Tells the planner what a manifest holds.
create or replace function etl.analyze_manifest(name text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
begin
  if name !~ '^manifest_[0-9a-f]{32}_[0-9]+$' then
    raise invalid_parameter_value using message = format('%s is not a manifest', name);
  end if;
  execute format('analyze etl.%I', name);
end $$;

-- Makes the manifest of an attempt and drops those of earlier ones. False for an attempt that is the run's no more.
create or replace function etl.create_manifest(run_id uuid, attempt integer, name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  destination regclass;
  manifest regclass;
begin
  if name is distinct from format('manifest_%s_%s', replace(run_id::text, '-', ''), attempt) then
    raise invalid_parameter_value using message = format('%s is not the manifest of attempt %s of run %s', name, attempt, run_id);
  end if;
  perform from etl.runs as r
    where r.run_id = create_manifest.run_id and r.attempt = create_manifest.attempt and r.state = 'running' for share;
  if not found then
    return false;
  end if;
  perform etl.drop_manifests(run_id, attempt - 1);
  execute format('create unlogged table if not exists etl.%I (event_id text not null, fingerprint bytea not null, version numeric,
    chunk_no integer not null, position integer not null) with (autovacuum_enabled = false)', name);
  -- beside the rows with which its keys are compared
  select etl.find_table(r.schema_name, r.table_name) into destination from etl.runs as r where r.run_id = create_manifest.run_id;
  manifest := format('etl.%I', name)::regclass;
  if etl.distribution_column(destination) = 'event_id' and etl.distribution_column(manifest) is null then
    execute 'select create_distributed_table($1, ''event_id'', colocate_with := $2::text)' using manifest, destination;
  end if;
  -- any server may work on any run
  execute (select coalesce(string_agg(format('grant select, insert, delete, truncate on etl.%I to %I', name, s.role_name), ';'), 'select')
    from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name);
  return true;
end $$;
