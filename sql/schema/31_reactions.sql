-- What happens after a run: its end, the consumers of datasets, exports to other systems.
create table if not exists etl.run_ends (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  -- 1 for the first end; a retry adds another
  end_no integer not null,
  ended_at timestamptz not null,
  -- the columns that a retry overwrites, as they were
  snapshot jsonb not null,
  consumed_at timestamptz,
  primary key (run_id, end_no)
);
alter table etl.run_ends add column if not exists next_attempt_at timestamptz not null default '-infinity';
create index if not exists run_ends_unconsumed on etl.run_ends (ended_at) where consumed_at is null;
comment on table etl.run_ends is 'written in the transaction that ends a run; etl_consumer takes each row once';

create table if not exists etl.view_refresh (
  singleton boolean primary key default true check (singleton),
  requested bigint not null default 0,
  done bigint not null default 0,
  refreshed_at timestamptz,
  duration_ms double precision
);
insert into etl.view_refresh default values on conflict do nothing;

create table if not exists etl.consumers (
  consumer text primary key,
  datasets text[] not null,
  emits text[] not null default '{}',
  mode text not null constraint consumers_mode_known check (mode in ('each', 'batch')),
  skip_unchanged boolean not null default false,
  active boolean not null default true,
  registered_at timestamptz not null default now()
);
comment on table etl.consumers is 'what starts on dataset events; published by the servers from pipeline/consumers/registered.ts';

create table if not exists etl.deliveries (
  delivery_id bigint generated always as identity primary key,
  consumer text not null,
  -- null: asked for by hand
  event_no bigint references etl.dataset_events (event_no) on delete cascade,
  params jsonb not null default '{}',
  state text not null default 'pending' constraint deliveries_state_known
    check (state in ('pending', 'done', 'failed', 'skipped')),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default '-infinity',
  error text,
  result jsonb,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (consumer, event_no)
);
create index if not exists deliveries_waiting on etl.deliveries (consumer, event_no nulls first, delivery_id) where state = 'pending';
create index if not exists deliveries_event_no on etl.deliveries (event_no);
comment on table etl.deliveries is 'one row for each dataset event and consumer of it: each event is delivered once to each';

alter table etl.datasets add column if not exists stale_after_seconds double precision;
comment on column etl.datasets.stale_after_seconds is 'without a dataset event for so long the dataset is stale; null: what ETL_ALERT_STALE_SECONDS says';
alter table etl.dataset_events add column if not exists details jsonb not null default '{}';
create index if not exists dataset_events_run_id on etl.dataset_events (run_id);

create table if not exists etl.reports (
  report_id bigint generated always as identity primary key,
  consumer text not null,
  dataset text,
  analysis_type text not null,
  run_ids uuid[] not null default '{}',
  report jsonb not null,
  created_at timestamptz not null default now()
);
create index if not exists reports_created_at on etl.reports (created_at desc, report_id desc);
create index if not exists reports_consumer on etl.reports (consumer, analysis_type, created_at desc);

create table if not exists etl.exports (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  target text not null constraint exports_target_known check (target in ('mlflow', 'openlineage')),
  -- which end of the run, 1 for the first
  end_no integer not null,
  state text not null default 'pending' constraint exports_state_known check (state in ('pending', 'started', 'done', 'failed', 'skipped')),
  requested_at timestamptz not null default clock_timestamp(),
  -- openlineage: when START was sent; the run goes on while the state is started
  started_at timestamptz,
  -- mlflow: its run id
  external_id text,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default '-infinity',
  error text,
  updated_at timestamptz not null default now(),
  primary key (run_id, target, end_no)
);
create index if not exists exports_pending on etl.exports (target, updated_at) where state = 'pending';
comment on table etl.exports is 'runs as MLflow and OpenLineage know them, and what went wrong on the way there';
