-- etl_maintenance: asked for, resolved, and its bounded deletes.

-- The parameters of etl_maintenance and where each came from, first wins:
-- conf, variable etl_maintenance__<name>, environment, default. A retention is 7 to 1,095 days, or -1: a conf with another
-- is refused, a stored one is brought to the nearest limit: `adjusted` has what stands there, and its origin says so.
drop function if exists etl.resolve_maintenance(jsonb);
create or replace function etl.resolve_maintenance(
  conf jsonb, out params jsonb, out origins jsonb, out errors jsonb, out adjusted jsonb
)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb;
  environment_values jsonb;
  key text;
  field jsonb;
  value jsonb;
  origin text;
begin
  params := '{}';
  origins := '{}';
  adjusted := '{}';
  select s.maintenance, s.maintenance_environment into known, environment_values from etl.param_schema as s;
  if known -> 'properties' is null then
    perform etl.raise_problem('unavailable', 'The database is not set up: run `deno task setup-db` first.', status => 503);
  end if;
  select coalesce(jsonb_agg(e), '[]') into errors from etl.schema_errors(known, conf) as e;
  for key, field in select * from jsonb_each(known -> 'properties') loop
    select v.value into value from etl.variables as v where v.name = 'etl_maintenance__' || key;
    if jsonb_typeof(conf) = 'object' and conf ? key then
      value := conf -> key; origin := 'request';
    elsif found then
      origin := 'variable';
    elsif environment_values ? key then
      value := environment_values -> key; origin := 'environment';
    else
      value := field -> 'default'; origin := 'default';
    end if;
    if jsonb_typeof(value) = 'number' and ((value #>> '{}')::numeric between 0 and 6 or (value #>> '{}')::numeric > 1095) then
      if origin = 'request' then
        errors := errors || jsonb_build_object('field', key, 'value', value,
          'code', 'not-accepted', 'message', 'is not a retention: 7 to 1,095 days, or -1 to keep for ever', 'expected', '7 to 1095, or -1');
      else
        adjusted := adjusted || jsonb_build_object(key, value);
        value := to_jsonb(least(greatest((value #>> '{}')::numeric, 7), 1095)::integer);
      end if;
    end if;
    if origin not in ('request', 'default') then
      errors := errors || coalesce((
        select jsonb_agg(e || jsonb_build_object('message', format('%s (from the %s)', e ->> 'message', origin)))
        from etl.schema_errors(field, value, key) as e), '[]');
    end if;
    params := params || jsonb_build_object(key, value);
    origins := origins || jsonb_build_object(key, case when adjusted ? key
      then format('%s, with the value %s: not 7 to 1,095 days or -1', origin, adjusted -> key) else origin end);
  end loop;
end $$;
comment on function etl.resolve_maintenance(jsonb) is 'the parameters of a maintenance that is asked for with this conf';

-- Asks for etl_maintenance; a server carries it out. Only one is ever under way: while it is, a second request
-- is refused with its id. options: trigger (sql), requested_by, confirm (true: events may go by occurred_at, which
-- installations of 0.1.0 have to agree to once). A trigger of 'schedule' is never refused: it answers
-- the maintenance that is going on or that a schedule has asked for within the last hour, so that two schedulers
-- that fire at the same time ask once.
create or replace function etl.request_maintenance(conf jsonb default '{}', options jsonb default '{}') returns uuid
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  resolved record;
  asked_by text := coalesce(options ->> 'trigger', 'sql');
  going_on etl.maintenance_runs;
  made uuid := etl.uuid7();
begin
  select * into resolved from etl.resolve_maintenance(conf);
  if jsonb_array_length(resolved.errors) > 0 then
    perform etl.raise_problem(
      case when not exists (select from jsonb_array_elements(resolved.errors) as e where e ->> 'code' is distinct from 'unknown-name')
        then 'unknown-parameter' else 'invalid-conf' end,
      format('The conf of etl_maintenance has %s: %s',
        case jsonb_array_length(resolved.errors) when 1 then 'an error' else jsonb_array_length(resolved.errors) || ' errors' end,
        (select string_agg(concat_ws(' ', nullif(e ->> 'field', ''), e ->> 'message'), '; ') from jsonb_array_elements(resolved.errors) as e)),
      resolved.errors);
  end if;
  perform pg_advisory_xact_lock(hashtextextended('etl request_maintenance', 0));
  select * into going_on from etl.maintenance_runs as m
    where m.state in ('queued', 'running')
      or (asked_by = 'schedule' and m.trigger = 'schedule' and m.requested_at > now() - interval '1 hour')
    order by m.requested_at desc limit 1;
  if found then
    if asked_by = 'schedule' then
      return going_on.maintenance_id;
    end if;
    perform etl.raise_problem('conflict',
      format('Maintenance %s is in progress (%s since %s). See GET /api/etl/maintenance/%s and repeat the request when it has ended.',
        going_on.maintenance_id, going_on.state, etl.iso(coalesce(going_on.started_at, going_on.requested_at)), going_on.maintenance_id),
      status => 409, extra => jsonb_build_object('maintenance_id', going_on.maintenance_id));
  end if;
  insert into etl.maintenance_runs (maintenance_id, trigger, requested_by, conf, params, origins)
  values (made, asked_by, coalesce(options ->> 'requested_by', current_user), conf, resolved.params, resolved.origins);
  insert into etl.maintenance_tasks (maintenance_id, task_no, task, cutoff)
  select made, t.task_no, t.task, now() - t.days * interval '1 day'
  from (
    select w.task_no, w.task, nullif((resolved.params ->> w.param)::integer, -1) as days
    from (values (1, 'clean_old_metrics', 'retention_days_metrics'), (2, 'clean_old_audit', 'retention_days_audit'),
      (3, 'clean_old_alerts', 'retention_days_alerts'), (4, 'clean_old_events', 'retention_days_events'),
      (5, 'refresh_mvs', null), (6, 'vacuum_analyze', null)) as w (task_no, task, param)) as t;
  insert into public.etl_improved_audit (event, status, actor, params, details)
  values ('maintenance_requested', 'queued', coalesce(options ->> 'requested_by', current_user), resolved.params,
    jsonb_build_object('maintenance_id', made, 'trigger', asked_by));
  if (options ->> 'confirm')::boolean then
    update etl.param_schema set events_by_occurred_at = true;
  end if;
  update etl.maintenance_tasks as t set warnings = jsonb_build_array(format('%s comes from the %s; %s days are taken',
      w.param, resolved.origins ->> w.param, resolved.params ->> w.param))
    from (values ('clean_old_metrics', 'retention_days_metrics'), ('clean_old_audit', 'retention_days_audit'),
      ('clean_old_alerts', 'retention_days_alerts'), ('clean_old_events', 'retention_days_events')) as w (task, param)
    where t.maintenance_id = made and t.task = w.task and resolved.adjusted ? w.param;
  perform etl.wake('maintenance');
  return made;
end $$;
comment on function etl.request_maintenance(jsonb, jsonb) is 'asks for etl_maintenance with these retention_days_*; answers its id';

-- Whether the rows of a table lie in other tables: its partitions, or the shards of a distributed table (Citus).
create or replace function etl.is_spread(relation regclass) returns boolean
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  spread boolean := (select c.relkind = 'p' from pg_class as c where c.oid = relation);
begin
  if not spread and to_regclass('pg_catalog.pg_dist_partition') is not null then
    execute 'select exists (select 1 from pg_catalog.pg_dist_partition where logicalrelid = $1)' into spread using relation;
  end if;
  return spread;
end $$;

-- What comes after "from" to get the rows of a table, without those of the tables that inherit from it.
create or replace function etl.rows_of(relation regclass) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case when etl.is_spread(relation) then '' else 'only ' end || format('%I.%I', n.nspname, c.relname)
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation
$$;

-- The tables that a task of etl_maintenance cleans, in every schema in use, and the column that tells a row's age
-- (etl.is_older has what is true of the old ones).
create or replace function etl.maintained_tables(task text) returns table (relation regclass, time_column name)
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  with recursive parents (task, parent) as (
    values ('clean_old_metrics', 'public.etl_improved_metrics'::regclass), ('clean_old_audit', 'public.etl_improved_audit'::regclass),
      ('clean_old_alerts', 'public.etl_improved_alerts'::regclass)
  ), family (relation) as (
    select p.parent::oid from parents as p where p.task = maintained_tables.task
    union
    select i.inhrelid from family as f join pg_inherits as i on i.inhparent = f.relation
  )
  select f.relation::regclass, 'created_at'::name from family as f
  union all
  select stored.relation, t.age_column
  from (select etl.find_table(d.schema_name, d.table_name) as relation, case when d.declared is null then 'occurred_at' else d.age_column end as age_column
    from etl.datasets as d where d.maintained and not coalesce((d.declared -> 'own')::boolean, false)) as t
  -- the partitions of a table one by one, where this role may clean them, else all through their table
  cross join lateral (select array_agg(p.relid) as relations, bool_and(has_table_privilege(p.relid, 'select')
      and has_table_privilege(p.relid, 'update') and has_table_privilege(p.relid, 'delete') and etl.is_trusted(p.relid)) as may
    from pg_partition_tree(t.relation) as p where p.isleaf and p.relid <> t.relation) as parts
  cross join lateral unnest(case when parts.may then parts.relations else array[t.relation] end) as stored (relation)
  where maintained_tables.task = 'clean_old_events' and exists (
    select from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    where a.attrelid = t.relation and a.attname = t.age_column and not a.attisdropped and c.relkind in ('r', 'p'))
    and etl.is_trusted(t.relation)
$$;
comment on function etl.maintained_tables(text) is 'the tables that a task of etl_maintenance cleans';

-- What in SQL is true of the rows of a maintained table that are older than a cutoff (an expression): of events by first_seen_at
-- where they have no occurred_at, of a typed table by _etl_first_seen_at where the column that tells their age has nothing. A
-- day is old when it is over. Rows of a typed table that no run has written are nobody's to delete.
create or replace function etl.is_older(relation regclass, time_column name, cutoff text) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select case
    when etl.is_typed(relation) then format('_etl_run_id is not null and (%1$I < %2$s or %1$I is null and _etl_first_seen_at < %3$s)', time_column,
      case a.atttypid when 'date'::regtype then format('(%s at time zone %L)::date', cutoff, 'UTC') else cutoff end, cutoff)
    when time_column = 'occurred_at' then format('(occurred_at < %1$s or occurred_at is null and first_seen_at < %1$s)', cutoff)
    else format('%I < %s', time_column, cutoff) end
  from pg_attribute as a where a.attrelid = relation and a.attname = time_column and not a.attisdropped
$$;

-- Whether a table has a row from before the cutoff, from the index on that column where there is one.
create or replace function etl.has_older(relation regclass, time_column name, cutoff timestamptz) returns boolean
language plpgsql stable set search_path = pg_catalog, etl, pg_temp set enable_seqscan = off set jit = off as $$
declare
  found_one boolean;
begin
  execute format('select exists (select 1 from %s where %s)', etl.rows_of(relation), etl.is_older(relation, time_column, '$1'))
    into found_one using cutoff;
  return found_one;
end $$;

-- Deletes lines of an audit table that are older than the cutoff, and than 7 days whatever that says: the server's
-- role may write lines, and neither change nor delete any. Runs as the owner of schema etl.
create or replace function etl.delete_audit(relation regclass, rows tid[], cutoff timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp
set jit = off set enable_seqscan = off set enable_indexscan = off set enable_indexonlyscan = off set enable_bitmapscan = off as $$
declare
  gone bigint;
begin
  if relation not in (select m.relation from etl.maintained_tables('clean_old_audit') as m) or not etl.is_trusted(relation) then
    raise insufficient_privilege using message = format('%s is not an audit table of this installation', relation);
  end if;
  execute format('delete from only %s where ctid = any ($1) and created_at < $2', relation)
    using rows, least(cutoff, now() - interval '7 days');
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function etl.delete_audit(regclass, tid[], timestamptz) is 'deletes old lines of an audit table, none of the last 7 days';

-- Deletes a batch of the old events of a table whose rows lie in others (etl.is_spread), oldest first: by the index on
-- occurred_at, then those without one. `place` says from where on, and is brought up to date.
create or replace function etl.delete_old_by_age(relation regclass, cutoff timestamptz, batch integer, inout place jsonb,
  out deleted bigint, out done boolean)
language plpgsql set search_path = pg_catalog, etl, pg_temp set jit = off set enable_seqscan = off
set enable_indexscan = on set enable_indexonlyscan = on set enable_bitmapscan = on as $$
declare
  -- what a load has locked is left for the next maintenance; several shards cannot be locked by one statement
  locked text := case when (select c.relkind = 'p' from pg_class as c where c.oid = relation) then 'for update skip locked' else '' end;
  chosen text[];
  undated text[];
  last timestamptz;
begin
  execute format('select array_agg(k.event_id), max(k.occurred_at) from (
      select event_id, occurred_at from %s where occurred_at >= $1 and occurred_at < $2 order by occurred_at limit $3 %s) as k',
    relation, locked) into chosen, last using coalesce(place ->> 'after', '-infinity')::timestamptz, cutoff, batch;
  chosen := coalesce(chosen, '{}');
  if cardinality(chosen) < batch then
    execute format('select array_agg(k.event_id) from (
        select event_id from %s where occurred_at is null and first_seen_at < $1 limit $2 %s) as k',
      relation, locked) into undated using cutoff, batch - cardinality(chosen);
    chosen := chosen || coalesce(undated, '{}');
  end if;
  execute format('delete from %s where event_id = any ($1) and coalesce(occurred_at, first_seen_at) < $2', relation)
    using chosen, cutoff;
  get diagnostics deleted = row_count;
  done := cardinality(chosen) < batch;
  place := place || jsonb_strip_nulls(jsonb_build_object('after', last));
end $$;

-- Deletes a batch of a table's old rows and notes in the same transaction how far it got, so that whoever
-- carries on after a crash counts nothing twice. The table is walked once in the order of its blocks: no
-- index is needed, and no batch passes the rows again that an earlier one has deleted. A row that somebody
-- else has locked is left for the next maintenance, so that no batch waits for a load; a load waits for a
-- batch, some milliseconds, only if both want the same row. Lines of an audit never change, so they need no
-- lock, and the server's role no right to update them.
create or replace function etl.delete_old(maintenance_id uuid, attempt integer, task text, relation regclass,
  batch integer default 5000, out deleted bigint, out done boolean)
language plpgsql set search_path = pg_catalog, etl, pg_temp
-- ranges of row addresses are always the right way here; what is switched off costs so much that it would be compiled
set jit = off set enable_seqscan = off set enable_indexscan = off set enable_indexonlyscan = off set enable_bitmapscan = off as $$
declare
  -- blocks looked at by one call at most: 16 MiB
  span constant bigint := 2048;
  current etl.maintenance_tasks;
  place jsonb;
  column_name name;
  older text;
  last tid;
  upto bigint;
  chosen tid[];
begin
  select t.* into current from etl.maintenance_tasks as t
    join etl.maintenance_runs as m on m.maintenance_id = t.maintenance_id
    where t.maintenance_id = delete_old.maintenance_id and t.task = delete_old.task and t.state = 'running'
      and m.state = 'running' and m.attempt = delete_old.attempt
    for update of t;
  if not found then
    perform etl.raise_problem('superseded', format('Maintenance %s is carried out by another server now.', maintenance_id), status => 409);
  end if;
  if delete_old.task = 'clean_old_audit' then
    current.cutoff := least(current.cutoff, now() - interval '7 days');
  end if;
  select w.time_column into column_name from etl.maintained_tables(delete_old.task) as w where w.relation = delete_old.relation;
  older := etl.is_older(relation, column_name, '$1');
  place := current.progress -> relation::oid::text;
  deleted := 0;
  if place is null then
    place := jsonb_build_object(
      'table', (select format('%I.%I', n.nspname, c.relname) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation),
      'deleted', 0, 'last', '(0,0)', 'done', false,
      'blocks', case when etl.has_older(relation, column_name, current.cutoff)
        then pg_relation_size(relation) / current_setting('block_size')::bigint else 0 end);
  end if;
  if etl.is_spread(relation) then
    select d.place, d.deleted, d.done into place, deleted, done from etl.delete_old_by_age(relation, current.cutoff, batch, place) as d;
    place := place || jsonb_build_object('deleted', (place ->> 'deleted')::bigint + deleted, 'done', done);
    update etl.maintenance_tasks as t set deleted = t.deleted + delete_old.deleted, batches = t.batches + 1,
      progress = t.progress || jsonb_build_object(relation::oid::text, place)
      where t.maintenance_id = delete_old.maintenance_id and t.task = delete_old.task;
    return;
  end if;
  last := (place ->> 'last')::tid;
  upto := least((place ->> 'blocks')::bigint, split_part(trim(leading '(' from last::text), ',', 1)::bigint + span);
  execute format('select array_agg(c.at) from (
      select o.ctid as at from only %s as o where %s and o.ctid > $2 and o.ctid < $3 limit $4 %s) as c',
    relation, older, case when delete_old.task = 'clean_old_audit' then '' else 'for update skip locked' end) into chosen using current.cutoff, last, format('(%s,0)', upto)::tid, batch;
  if cardinality(chosen) > 0 then
    if delete_old.task = 'clean_old_metrics' then
      -- what goes stays in the all-time figures
      execute format('with gone as (
          delete from only %s where ctid = any ($1)
          returning low_ratio, ratio, not dry_run and replay_of is null and ratio is not null as counts)
        update etl.totals as t set runs = t.runs + s.runs, low_ratio_runs = t.low_ratio_runs + s.low_ratio_runs,
          ratio_runs = t.ratio_runs + s.ratio_runs, ratio_sum = t.ratio_sum + s.ratio_sum
        from (select count(*) as runs, count(*) filter (where low_ratio and counts) as low_ratio_runs,
          count(*) filter (where counts) as ratio_runs, coalesce(sum(ratio) filter (where counts), 0) as ratio_sum from gone) as s',
        relation) using chosen;
    elsif delete_old.task = 'clean_old_audit' then
      perform etl.delete_audit(relation, chosen, current.cutoff);
    else
      execute format('delete from only %s where ctid = any ($2) and %s', relation, older)
        using current.cutoff, chosen;
    end if;
    deleted := cardinality(chosen);
  end if;
  if deleted = batch then
    last := chosen[batch];
  else
    last := format('(%s,0)', upto)::tid;
  end if;
  done := deleted < batch and upto >= (place ->> 'blocks')::bigint;
  place := place || jsonb_build_object('deleted', (place ->> 'deleted')::bigint + deleted, 'last', last::text, 'done', done);
  update etl.maintenance_tasks as t set deleted = t.deleted + delete_old.deleted, batches = t.batches + 1,
    progress = t.progress || jsonb_build_object(relation::oid::text, place)
    where t.maintenance_id = delete_old.maintenance_id and t.task = delete_old.task;
end $$;
comment on function etl.delete_old(uuid, integer, text, regclass, integer) is 'deletes a batch of old rows for a task of etl_maintenance';

-- Tells how a maintenance ended: one that failed is an incident until one succeeds; of one that did, Slack is told where
-- that is wished. deleted: rows by task.
create or replace function etl.tell_maintenance(state text, error text, deleted jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  figures text := (select string_agg(format('%s %s', d.value, replace(d.key, 'clean_old_', '')), ', ' order by d.key)
    from jsonb_each_text(deleted) as d where d.value::bigint > 0);
begin
  if state = 'failed' then
    perform etl.raise_alert('maintenance_failed', 'etl_maintenance', format('The maintenance failed: %s', left(error, 1500)),
      jsonb_build_object('severity', 'error', 'details', jsonb_build_object('deleted', deleted)));
  elsif not etl.resolve_alert('maintenance_failed', 'etl_maintenance', format('The maintenance succeeded. Deleted: %s.', coalesce(figures, 'nothing')))
    and exists (select from etl.reaction_settings as s where s.maintenance_slack and 'slack' = any (s.channels)) then
    insert into etl.notifications (notification_id, channel, type, payload)
    values (etl.uuid7(), 'slack', 'raised', jsonb_build_object('kind', 'Maintenance succeeded', 'subject', 'etl_maintenance',
      'severity', 'info', 'message', format('Deleted: %s.', coalesce(figures, 'nothing')), 'run_id', null, 'run_label', null,
      'fingerprint', 'maintenance:etl_maintenance', 'occurrences', 1, 'details', jsonb_build_object('deleted', deleted),
      'opened_at', etl.iso(clock_timestamp()), 'at', etl.iso(clock_timestamp())));
    perform etl.wake('channel slack');
  end if;
end $$;

-- Deletes a batch of tombstones that are older than the events that are kept; answers how many went.
create or replace function etl.purge_tombstones(maintenance_id uuid, batch integer default 5000) returns integer
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  gone integer;
begin
  delete from etl.tombstones as t where t.ctid = any (array(
    select o.ctid from etl.tombstones as o join etl.maintenance_tasks as m
      on m.maintenance_id = purge_tombstones.maintenance_id and m.task = 'clean_old_events' and o.deleted_at < m.cutoff
    limit batch for update of o skip locked));
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function etl.purge_tombstones(uuid, integer) is 'deletes a batch of tombstones that are older than the events that are kept';
