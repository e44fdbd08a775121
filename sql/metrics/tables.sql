create table if not exists etl.totals (
  singleton boolean primary key default true check (singleton),
  runs bigint not null default 0,
  low_ratio_runs bigint not null default 0,
  ratio_runs bigint not null default 0,
  ratio_sum double precision not null default 0
);
comment on table etl.totals is 'what deleted rows of etl_improved_metrics add to the all-time figures';
insert into etl.totals default values on conflict do nothing;

-- What keeps history, latest and scrape cheap whatever the history holds.
create index if not exists etl_improved_metrics_ratio on public.etl_improved_metrics (created_at desc, run_id desc)
  where ratio is not null;
-- in the order of the history, so that a page of any schema needs no sort
create index if not exists etl_improved_metrics_run_label on public.etl_improved_metrics (run_label, created_at desc, run_id desc);
create index if not exists etl_improved_metrics_status on public.etl_improved_metrics (status, created_at desc, run_id desc);
create index if not exists etl_improved_metrics_dry_run on public.etl_improved_metrics (created_at desc, run_id desc)
  where dry_run;

create table if not exists etl.metrics_totals (
  -- several rows, so that runs that end at the same time do not wait for each other
  shard integer primary key,
  runs bigint not null default 0,
  low_ratio_runs bigint not null default 0,
  ratio_runs bigint not null default 0,
  ratio_sum double precision not null default 0
);
comment on table etl.metrics_totals is 'sums over the rows that etl_improved_metrics holds in all schemas, kept by triggers; etl.totals has the deleted ones';

create index if not exists etl_improved_metrics_succeeded on public.etl_improved_metrics (created_at desc)
  where status = 'succeeded' and not dry_run;
