-- Keeps etl.metrics_totals: statement by statement, so that deleting 100,000 rows is one change of it.
create or replace function etl.count_metrics() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  delta etl.metrics_totals;
begin
  if tg_op = 'INSERT' then
    select null, count(*), count(*) filter (where n.low_ratio and n.counts), count(*) filter (where n.counts),
      coalesce(sum(n.ratio) filter (where n.counts), 0) into delta
    from (select r.ratio, r.low_ratio, not r.dry_run and r.replay_of is null and r.ratio is not null as counts from new_rows as r) as n;
  elsif tg_op = 'DELETE' then
    select null, -count(*), -count(*) filter (where n.low_ratio and n.counts), -count(*) filter (where n.counts),
      -coalesce(sum(n.ratio) filter (where n.counts), 0) into delta
    from (select r.ratio, r.low_ratio, not r.dry_run and r.replay_of is null and r.ratio is not null as counts from old_rows as r) as n;
  else
    select null, sum(n.sign), sum(n.sign) filter (where n.low_ratio and n.counts), sum(n.sign) filter (where n.counts),
      sum(n.ratio * n.sign) filter (where n.counts) into delta
    from (
      select 1 as sign, r.ratio, r.low_ratio, not r.dry_run and r.replay_of is null and r.ratio is not null as counts from new_rows as r
      union all
      select -1, r.ratio, r.low_ratio, not r.dry_run and r.replay_of is null and r.ratio is not null from old_rows as r) as n;
  end if;
  if coalesce(delta.runs, 0) = 0 and coalesce(delta.ratio_runs, 0) = 0 and coalesce(delta.low_ratio_runs, 0) = 0
    and coalesce(delta.ratio_sum, 0) = 0 then
    return null;
  end if;
  insert into etl.metrics_totals as t (shard, runs, low_ratio_runs, ratio_runs, ratio_sum)
  values (pg_backend_pid() % 16, coalesce(delta.runs, 0), coalesce(delta.low_ratio_runs, 0), coalesce(delta.ratio_runs, 0),
    coalesce(delta.ratio_sum, 0))
  on conflict (shard) do update set runs = t.runs + excluded.runs, low_ratio_runs = t.low_ratio_runs + excluded.low_ratio_runs,
    ratio_runs = t.ratio_runs + excluded.ratio_runs, ratio_sum = t.ratio_sum + excluded.ratio_sum;
  return null;
end $$;

-- Counts all rows anew.
create or replace function etl.recount_metrics() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  lock table public.etl_improved_metrics in share mode;
  delete from etl.metrics_totals;
  insert into etl.metrics_totals (shard, runs, low_ratio_runs, ratio_runs, ratio_sum)
  select 0, count(*), count(*) filter (where m.low_ratio and m.counts), count(*) filter (where m.counts),
    coalesce(sum(m.ratio) filter (where m.counts), 0)
  from (select r.ratio, r.low_ratio, not r.dry_run and r.replay_of is null and r.ratio is not null as counts
    from public.etl_improved_metrics as r) as m;
end $$;
comment on function etl.recount_metrics() is 'counts etl.metrics_totals anew from the metrics tables of all schemas';

create or replace function etl.recount_metrics_after_truncate() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform etl.recount_metrics();
  return null;
end $$;

-- Gives a metrics table what its parent does not hand down: triggers, and the indexes of later versions.
create or replace function etl.watch_metrics(metrics_table regclass) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  wanted record;
begin
  execute format('create or replace trigger count_inserted after insert on %s referencing new table as new_rows for each statement execute function etl.count_metrics()', metrics_table);
  execute format('create or replace trigger count_updated after update on %s referencing old table as old_rows new table as new_rows for each statement execute function etl.count_metrics()', metrics_table);
  execute format('create or replace trigger count_deleted after delete on %s referencing old table as old_rows for each statement execute function etl.count_metrics()', metrics_table);
  execute format('create or replace trigger count_truncated after truncate on %s for each statement execute function etl.recount_metrics_after_truncate()', metrics_table);
  for wanted in
    select regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX \S+ ON (ONLY )?\S+ ', '') as definition
    from pg_index as i
    where i.indrelid = 'public.etl_improved_metrics'::regclass and not i.indisunique and metrics_table <> i.indrelid
  loop
    if not exists (select from pg_index as i where i.indrelid = metrics_table
        and regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX \S+ ON (ONLY )?\S+ ', '') = wanted.definition) then
      execute format('create index on %s %s', metrics_table, wanted.definition);
    end if;
  end loop;
end $$;

do $$
begin
  perform etl.watch_metrics(c.oid::regclass) from pg_class as c
  where c.oid = 'public.etl_improved_metrics'::regclass
    or c.oid in (select i.inhrelid from pg_inherits as i where i.inhparent = 'public.etl_improved_metrics'::regclass);
  if not exists (select from etl.metrics_totals) then
    perform etl.recount_metrics();
  end if;
end $$;
