-- Whether a table has a row from before the cutoff, from the index on that column where there is one.
create or replace function etl.has_older(relation regclass, time_column name, cutoff timestamptz) returns boolean
language plpgsql stable set search_path = pg_catalog, etl, pg_temp set enable_seqscan = off set jit = off as $$
declare
  found_one boolean;
begin
  execute format('select exists (select from only %s where %I < $1%s)', relation, time_column,
    case time_column when 'occurred_at' then ' or occurred_at is null and first_seen_at < $1' else '' end) into found_one using cutoff;
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
    raise insufficient_privilege using message = format('%s is no audit table of this installation', relation);
  end if;
  execute format('delete from only %s where ctid = any ($1) and created_at < $2', relation)
    using rows, least(cutoff, now() - interval '7 days');
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function etl.delete_audit(regclass, tid[], timestamptz) is 'deletes old lines of an audit table, none of the last 7 days';

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
  age text;
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
  age := case column_name when 'occurred_at' then 'coalesce(occurred_at, first_seen_at)' else quote_ident(column_name) end;
  place := current.progress -> relation::oid::text;
  deleted := 0;
  if place is null then
    place := jsonb_build_object(
      'table', (select format('%I.%I', n.nspname, c.relname) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation),
      'deleted', 0, 'last', '(0,0)', 'done', false,
      'blocks', case when etl.has_older(relation, column_name, current.cutoff)
        then pg_relation_size(relation) / current_setting('block_size')::bigint else 0 end);
  end if;
  last := (place ->> 'last')::tid;
  upto := least((place ->> 'blocks')::bigint, split_part(trim(leading '(' from last::text), ',', 1)::bigint + span);
  execute format('select array_agg(c.at) from (
      select o.ctid as at from only %s as o where o.ctid > $1 and o.ctid < $2 and %s < $3 limit $4 %s) as c',
    relation, age, case when delete_old.task = 'clean_old_audit' then '' else 'for update skip locked' end) into chosen using last, format('(%s,0)', upto)::tid, current.cutoff, batch;
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
      execute format('delete from only %s where ctid = any ($1) and %s < $2', relation, age)
        using chosen, current.cutoff;
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
