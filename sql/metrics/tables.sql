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

-- What the daily views show. Kept up to date by the day: etl.refresh_daily() computes those of etl.days_changed anew.
create table if not exists etl.metrics_daily (
  day date primary key,
  num_runs bigint not null,
  total_rows_sum bigint,
  total_rows_avg double precision,
  expected_rows_sum bigint,
  expected_rows_avg double precision,
  ratio_avg double precision,
  ratio_min double precision,
  ratio_max double precision,
  low_ratio_count bigint not null,
  dry_run_count bigint not null,
  chunks_sum bigint,
  last_run_at timestamptz not null,
  runs bigint not null,
  total_rows bigint
);
comment on table etl.metrics_daily is 'figures of each day over the metrics tables of all schemas';

create table if not exists etl.alerts_daily (
  day date not null,
  kind text not null,
  alert_count bigint not null,
  last_alert_at timestamptz not null,
  primary key (day, kind)
);
comment on table etl.alerts_daily is 'alerts of each day';

create table if not exists etl.days_changed (
  of text not null constraint days_changed_of_known check (of in ('metrics', 'alerts')),
  -- more than once, so that runs that end at the same time do not wait for each other
  day date not null
);
comment on table etl.days_changed is 'days whose figures are computed anew by the next refresh of the daily views';
