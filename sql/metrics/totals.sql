-- All-time figures, and what Prometheus scrapes.

-- Keeps etl.metrics_totals: statement by statement, so that deleting 100,000 rows is one change of it.
create or replace function etl.count_metrics() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  delta etl.metrics_totals;
  free integer;
begin
  if tg_op in ('INSERT', 'UPDATE') then
    insert into etl.days_changed (of, day)
    select distinct 'metrics', (n.created_at at time zone 'UTC')::date from new_rows as n;
  end if;
  if tg_op in ('UPDATE', 'DELETE') then
    insert into etl.days_changed (of, day)
    select distinct 'metrics', (o.created_at at time zone 'UTC')::date from old_rows as o;
  end if;
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
  -- a sum that somebody's open transaction has changed is passed over: who ends a run waits for nobody
  select t.shard into free from etl.metrics_totals as t limit 1 for no key update skip locked;
  update etl.metrics_totals as t set runs = t.runs + coalesce(delta.runs, 0),
    low_ratio_runs = t.low_ratio_runs + coalesce(delta.low_ratio_runs, 0),
    ratio_runs = t.ratio_runs + coalesce(delta.ratio_runs, 0), ratio_sum = t.ratio_sum + coalesce(delta.ratio_sum, 0)
    where t.shard = free;
  if not found then
    insert into etl.metrics_totals (shard, runs, low_ratio_runs, ratio_runs, ratio_sum)
    values (floor(random() * 2147483647)::integer, coalesce(delta.runs, 0), coalesce(delta.low_ratio_runs, 0),
      coalesce(delta.ratio_runs, 0), coalesce(delta.ratio_sum, 0));
  end if;
  return null;
end $$;

-- Has the figures of every day computed anew by the next refresh.
create or replace function etl.recount_days() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.days_changed (of, day)
  select 'metrics', d.day from etl.metrics_daily as d
  union select 'metrics', (m.created_at at time zone 'UTC')::date from public.etl_improved_metrics as m
  union select 'alerts', d.day from etl.alerts_daily as d
  union select 'alerts', (a.created_at at time zone 'UTC')::date from public.etl_improved_alerts as a;
end $$;
comment on function etl.recount_days() is 'has the figures of every day computed anew by the next refresh of the daily views';

-- Notes the days of alerts that came, changed or went.
create or replace function etl.note_alert_days() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if tg_op in ('INSERT', 'UPDATE') then
    insert into etl.days_changed (of, day) select distinct 'alerts', (n.created_at at time zone 'UTC')::date from new_rows as n;
  end if;
  if tg_op in ('UPDATE', 'DELETE') then
    insert into etl.days_changed (of, day) select distinct 'alerts', (o.created_at at time zone 'UTC')::date from old_rows as o;
  end if;
  return null;
end $$;
create or replace function etl.note_alert_days_after_truncate() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform etl.recount_days();
  return null;
end $$;
create or replace trigger note_inserted_days after insert on public.etl_improved_alerts referencing new table as new_rows
  for each statement execute function etl.note_alert_days();
create or replace trigger note_updated_days after update on public.etl_improved_alerts referencing old table as old_rows new table as new_rows
  for each statement execute function etl.note_alert_days();
create or replace trigger note_deleted_days after delete on public.etl_improved_alerts referencing old table as old_rows
  for each statement execute function etl.note_alert_days();
create or replace trigger note_truncated_days after truncate on public.etl_improved_alerts
  for each statement execute function etl.note_alert_days_after_truncate();

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
  perform etl.recount_days();
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

-- Everything that a Prometheus scrape shows of the database, from indexes, daily views and kept sums:
-- its cost does not depend on how much history there is.
create or replace function etl.scrape() returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
begin
  return jsonb_build_object(
    'latest', (select jsonb_build_object('total_rows', m.total_rows, 'expected_rows', m.expected_rows, 'ratio', m.ratio,
        'num_chunks', m.num_chunks, 'dry_run', m.dry_run, 'age_seconds', extract(epoch from clock_timestamp() - m.created_at))
      from public.v_etl_latest_metrics as m),
    'daily', coalesce((select jsonb_agg(jsonb_build_object('day', d.day, 'runs', d.runs, 'total_rows', d.total_rows,
        'ratio_avg', d.ratio_avg, 'low_ratio_count', d.low_ratio_count) order by d.day)
      from public.mv_etl_metrics_daily as d where d.runs > 0 and d.day > (now() at time zone 'UTC')::date - 7), '[]'),
    'alerts', coalesce((select jsonb_object_agg(a.kind, a.alerts) from (
      select k.kind, count(*) as alerts from public.etl_improved_alerts as k
      where k.created_at > now() - interval '24 hours' group by k.kind) as a), '{}'),
    'totals', (select jsonb_build_object('runs', sum(t.runs), 'low_ratio_runs', sum(t.low_ratio_runs),
        'ratio_avg', case when sum(t.ratio_runs) > 0 then sum(t.ratio_sum) / sum(t.ratio_runs) end)
      from (select runs, low_ratio_runs, ratio_runs, ratio_sum from etl.metrics_totals
        union all select runs, low_ratio_runs, ratio_runs, ratio_sum from etl.totals) as t),
    'pools', coalesce((select jsonb_agg(jsonb_build_object('pool', p.pool, 'slots', etl.pool_slots(p),
        'active', (select count(*) from etl.runs as r where r.pool = p.pool and r.admitted_at is not null and r.state in ('queued', 'running')),
        'waiting', (select count(*) from etl.runs as r where r.pool = p.pool and r.state = 'queued' and r.admitted_at is null)))
      from etl.pools as p), '[]'),
    'runnable_runs', etl.runnable_runs(),
    'last_success', (select extract(epoch from m.created_at) from public.etl_improved_metrics as m
      where m.status = 'succeeded' and not m.dry_run order by m.created_at desc limit 1),
    'pending', jsonb_build_object(
      'run_ends', (select count(*) from etl.run_ends as e where e.consumed_at is null),
      'notifications', (select count(*) from etl.notifications as n where n.state = 'pending'),
      'deliveries', (select count(*) from etl.deliveries as d where d.state = 'pending'),
      'exports', (select count(*) from etl.exports as x where x.state = 'pending')),
    'views_refreshed', (select extract(epoch from v.refreshed_at) from etl.view_refresh as v));
end $$;
comment on function etl.scrape() is 'what GET /api/etl/metrics shows of the database, in one cheap query';
