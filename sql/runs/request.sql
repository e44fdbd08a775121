-- A run is asked for, and accepted after the commit.

-- Moves the records that a conf carries into etl.uploads, as NDJSON under an id made from their content,
-- and answers with the params that name them there: run rows stay small, numbers keep every digit.
create or replace function etl.store_records(params jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  body bytea;
  digest bytea;
  id uuid;
begin
  if params #>> '{source,type}' is distinct from 'inline' or jsonb_typeof(params #> '{source,records}') is distinct from 'array' then
    return params;
  end if;
  select convert_to(coalesce(string_agg(r.record::text || E'\n', '' order by r.place), ''), 'UTF8') into body
    from jsonb_array_elements(params #> '{source,records}') with ordinality as r (record, place);
  digest := sha256(body);
  -- version 8 of RFC 9562, as store/uploads.ts makes it
  id := overlay(overlay(left(encode(digest, 'hex'), 32) placing '8' from 13)
    placing substr('89ab', ((get_byte(digest, 8) >> 4) & 3) + 1, 1) from 17)::uuid;
  perform pg_advisory_xact_lock(hashtextextended('etl upload ' || id, 0));
  update etl.uploads as u set created_at = now() where u.upload_id = id;
  if not found then
    insert into etl.uploads (upload_id, part_no, data)
    select id, part, substring(body from part * 1048576 + 1 for 1048576)
    from generate_series(0, greatest(0, (length(body) - 1) / 1048576)) as part;
  end if;
  return jsonb_set(params, '{source}', (params -> 'source') - 'records' - 'records_path'
    || jsonb_build_object('format', 'ndjson', 'upload_id', id));
end $$;

-- Adds a line to the run's audit table, or to the public one where the run's does not exist (a dry run creates none) or is not trusted.
create or replace function etl.audit(run etl.runs, event text, actor text, details jsonb default '{}') returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  audit_table text := etl.home_of(run.schema_name, run.audit_table_name, 'public.etl_improved_audit');
begin
  execute format('insert into %s (run_id, run_label, event, status, actor, params, details) values ($1, $2, $3, $4, $5, $6, $7)', audit_table)
    using run.run_id, run.run_label, event, run.state, actor, etl.shown_params(run.params, run.origins), details;
end $$;

-- Asks for a run: parameters resolved and checked, run row, idempotency key. Everything that others could have to wait
-- for is left to a server after the commit (etl.accept_run, etl.admit_runs), as a client may keep its transaction open.
-- With the option `immediate`, for callers whose transaction ends with this statement, destination and overlap are seen
-- to at once. Answers {run_id, state, created, skipped}; a repeated key answers with the original run.
-- options: idempotency_key, trigger, requested_by, replay_of, traceparent, schedule, slot, slot_previous, time_zone, immediate,
-- admits (who asks calls etl.admit_runs() after the commit, so that servers need not be woken for it),
-- server_id (who asks is about to execute it; others leave it alone for a while: etl.claim_run).
create or replace function etl.submit_run(conf jsonb, options jsonb default '{}') returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' set plan_cache_mode = force_generic_plan set jit = off as $$
declare
  key text := options ->> 'idempotency_key';
  immediate boolean := coalesce((options ->> 'immediate')::boolean, false);
  asked_conf jsonb := conf;
  hash text;
  known etl.idempotency_keys;
  resolved record;
  run etl.runs;
  existing uuid;
  slot timestamptz := coalesce((options ->> 'slot')::timestamptz, now());
begin
  if jsonb_typeof(conf) is distinct from 'object' then
    perform etl.raise_problem('invalid-conf', 'The conf must be a JSON object, such as {"batch_size": 1000}.');
  end if;
  if key is not null then
    if length(key) not between 1 and 255 then
      perform etl.raise_problem('bad-request', 'An idempotency key has 1 to 255 characters.', status => 400);
    end if;
    hash := encode(sha256(convert_to(conf::text, 'UTF8')), 'hex');
    perform pg_advisory_xact_lock(hashtextextended('etl idempotency ' || key, 0));
    select * into known from etl.idempotency_keys as k where k.key = submit_run.options ->> 'idempotency_key';
    if found and known.expires_at > now() then
      if known.conf_hash <> hash then
        perform etl.raise_problem('idempotency-conflict',
          format('This idempotency key belongs to run %s, which was requested with another conf. Use a new key for a new run.', known.run_id));
      end if;
      return (select jsonb_build_object('run_id', r.run_id, 'state', r.state, 'created', false, 'skipped', false)
        from etl.runs as r where r.run_id = known.run_id);
    end if;
    delete from etl.idempotency_keys as k where k.key = submit_run.options ->> 'idempotency_key';
  end if;

  select * into resolved from etl.resolve_request(conf, slot, (options ->> 'slot_previous')::timestamptz,
    coalesce(options ->> 'time_zone', 'UTC'));
  if jsonb_array_length(resolved.errors) > 0 then
    perform etl.raise_problem(
      case when not jsonb_path_exists(resolved.errors, '$[*] ? (!(@.code == "unknown-name"))') then 'unknown-parameter' else 'invalid-conf' end,
      format('The conf has %s: %s', case jsonb_array_length(resolved.errors) when 1 then 'an error' else jsonb_array_length(resolved.errors) || ' errors' end,
        (select string_agg(format('%s %s', e ->> 'field', e ->> 'message'), '; ') from jsonb_array_elements(resolved.errors) as e)),
      resolved.errors);
  end if;

  run.run_id := etl.uuid7();
  run.run_label := resolved.params ->> 'run_label';
  run.state := 'queued';
  run.attempt := 0;
  run.attempt_base := 0;
  run.trigger := coalesce(options ->> 'trigger', 'sql');
  run.requested_by := coalesce(options ->> 'requested_by', session_user);
  -- records with personal data are in etl.uploads only, which the run's end empties
  run.conf := case when resolved.params -> 'exclude' = '[]' and resolved.params -> 'hash' = '[]' then asked_conf else asked_conf #- '{source,records}' end;
  run.params := resolved.params;
  run.origins := resolved.origins;
  run.schema_name := resolved.params ->> 'schema_name';
  run.table_name := resolved.params ->> 'table_name';
  run.audit_table_name := resolved.params ->> 'audit_table_name';
  run.dry_run := (resolved.params ->> 'dry_run')::boolean;
  run.pool := resolved.params ->> 'pool';
  run.overlap := resolved.params ->> 'overlap';
  run.replay_of := (options ->> 'replay_of')::uuid;
  run.idempotency_key := key;
  run.traceparent := options ->> 'traceparent';
  run.server_id := options ->> 'server_id';
  run.schedule := options ->> 'schedule';
  run.slot := (options ->> 'slot')::timestamptz;
  run.slot_previous := (options ->> 'slot_previous')::timestamptz;
  run.requested_at := clock_timestamp();
  run.revision := 0;
  run.priority := (resolved.params ->> 'priority')::integer;
  run.next_attempt_at := '-infinity';
  run.warnings := coalesce(options -> 'warnings', '[]');
  run.cursor_key := etl.order_key(resolved.params);
  run.deadline_at := run.requested_at + interval '1 second' * (case jsonb_typeof(resolved.params -> 'sla_seconds')
    when 'number' then resolved.params ->> 'sla_seconds' else resolved.params #>> '{sla_seconds,run}' end)::double precision;

  perform etl.prepare_destination(run, immediate and not run.dry_run
    and (run.schedule is null or etl.loads_own(run) or etl.servers_may_make(run.schema_name, etl.event_table(run), run.audit_table_name)));
  if immediate then
    existing := etl.make_way(run);
    if existing is not null then
      if key is not null then
        -- the same request again must not make the run that this one did not
        insert into etl.idempotency_keys (key, conf_hash, run_id, expires_at)
        values (key, hash, existing, now() + interval '24 hours');
      end if;
      return jsonb_build_object('run_id', existing, 'created', false, 'skipped', true,
        'state', (select r.state from etl.runs as r where r.run_id = existing));
    end if;
    run.accepted_at := run.requested_at;
  end if;

  run.params := etl.store_records(run.params);
  -- by name: a later version of the schema may have columns that this function does not know
  insert into etl.runs (run_id, run_label, state, attempt, attempt_base, trigger, requested_by, conf, params, origins, schema_name, table_name,
    audit_table_name, dry_run, pool, overlap, replay_of, idempotency_key, traceparent, server_id, schedule, slot, slot_previous, requested_at,
    revision, priority, next_attempt_at, warnings, cursor_key, deadline_at, accepted_at)
  values (run.run_id, run.run_label, run.state, run.attempt, run.attempt_base, run.trigger, run.requested_by, run.conf, run.params, run.origins, run.schema_name, run.table_name,
    run.audit_table_name, run.dry_run, run.pool, run.overlap, run.replay_of, run.idempotency_key, run.traceparent, run.server_id, run.schedule, run.slot, run.slot_previous, run.requested_at,
    run.revision, run.priority, run.next_attempt_at, run.warnings, run.cursor_key, run.deadline_at, run.accepted_at);
  if key is not null then
    insert into etl.idempotency_keys (key, conf_hash, run_id, expires_at)
    values (key, hash, run.run_id, now() + interval '24 hours');
  end if;
  if immediate then
    perform etl.audit_request(run);
  end if;
  -- who admits after its commit needs nobody else for it
  if not coalesce((options ->> 'admits')::boolean, false) then
    perform etl.wake('requests');
  end if;
  return jsonb_build_object('run_id', run.run_id, 'state', 'queued', 'created', true, 'skipped', false);
end $$;

create or replace function etl.request_run(conf jsonb default '{}', idempotency_key text default null) returns uuid
language sql set search_path = pg_catalog, etl, pg_temp as $$
  select (etl.submit_run(conf, jsonb_strip_nulls(jsonb_build_object('idempotency_key', idempotency_key, 'trigger', 'sql'))) ->> 'run_id')::uuid
$$;
comment on function etl.request_run(jsonb, text) is
  'asks for a run, as POST /api/etl/run does; answers with its id';

-- Makes way for a new run as its overlap says: asks for the cancellation of the older runs of its label, or answers
-- the oldest of them, for which this one is skipped. One new run of a label at a time.
create or replace function etl.make_way(run etl.runs) returns uuid
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  older uuid;
begin
  if run.overlap = 'queue' then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl overlap ' || run.run_label, 0));
  for older in
    select r.run_id from etl.runs as r where r.run_label = run.run_label and r.state in ('queued', 'running')
      and (r.requested_at, r.run_id) < (run.requested_at, run.run_id) order by r.requested_at
  loop
    if run.overlap = 'skip' then
      return older;
    end if;
    perform etl.cancel_run(older, run.requested_by);
  end loop;
  return null;
end $$;

create or replace function etl.audit_request(run etl.runs) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  select etl.audit(run, 'requested', run.requested_by, jsonb_build_object('trigger', run.trigger, 'conf', run.conf - 'source')
    || case when run.schedule is null then '{}' else jsonb_build_object('schedule', run.schedule, 'slot', etl.iso(run.slot)) end)
$$;

-- Does for a run that was asked for in SQL what had to wait for the commit: makes its destination and applies overlap.
-- What is wrong ends the run; what may pass is tried again. Answers whether there was one.
create or replace function etl.accept_run() returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '2s' set plan_cache_mode = force_generic_plan set jit = off as $$
declare
  run etl.runs;
  older uuid;
  code text;
  told text;
  raised text;
begin
  select * into run from etl.runs as r
    where r.state = 'queued' and r.accepted_at is null and r.admitted_at is null and r.next_attempt_at <= clock_timestamp()
    order by r.requested_at, r.run_id limit 1 for no key update skip locked;
  if not found then
    return false;
  end if;
  begin
    perform etl.prepare_destination(run, not run.dry_run);
    older := etl.make_way(run);
    update etl.runs as r set accepted_at = clock_timestamp() where r.run_id = run.run_id;
    perform etl.audit_request(run);
    if older is not null then
      perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'cancelled', 'error', jsonb_build_object(
        'type', '/api/problems/cancelled', 'title', 'Cancelled', 'status', 409, 'run_id', older, 'detail',
        format('Skipped: run %s of the same label was waiting or running, and overlap is skip.', older))));
    end if;
  exception when others then
    get stacked diagnostics code = returned_sqlstate, told = message_text, raised = pg_exception_detail;
    -- locks, conflicts, resources, a database that is not ready
    if code in ('40001', '40P01', '55P03') or code ~ '^(53|57|58|ET5)' then
      update etl.runs as r set next_attempt_at = clock_timestamp() + interval '2 seconds' where r.run_id = run.run_id;
      return true;
    end if;
    perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'failed', 'error', case
      when code ~ '^ET' then raised::jsonb || jsonb_build_object('type', '/api/problems/' || (raised::jsonb ->> 'type'))
      else jsonb_build_object('type', '/api/problems/database-error', 'title', 'The database refused a statement', 'status', 500,
        'detail', format('The database refused a statement: %s (SQLSTATE %s)', told, code)) end));
  end;
  return true;
end $$;
comment on function etl.accept_run() is 'makes destination and way for a run that was asked for in SQL, after its commit; false where none waits';
