-- Alerts: what was found (public.etl_improved_alerts), which of it is still going on, and who is told.
alter table public.etl_improved_alerts
  -- found again within the suppression window: recorded, not told
  add column if not exists suppressed boolean not null default false,
  add column if not exists resolved_at timestamptz;
create index if not exists etl_improved_alerts_open on public.etl_improved_alerts (fingerprint) where resolved_at is null;
create index if not exists etl_improved_alerts_run_id on public.etl_improved_alerts (run_id);

create table if not exists etl.reaction_settings (
  singleton boolean primary key default true check (singleton),
  -- where alerts are sent: slack, webhook
  channels text[] not null default '{}',
  openlineage boolean not null default false,
  suppress_seconds double precision not null default 3600,
  trend_window integer not null default 7,
  ratio_drop double precision not null default 0.2,
  volume_drop double precision not null default 0.5,
  stale_after_seconds double precision,
  log_lines integer not null default 1000
);
-- when a backup was put in place last: what fell due before that gets its ticks first
alter table etl.reaction_settings add column if not exists restored_at timestamptz;
alter table etl.reaction_settings add column if not exists maintenance_slack boolean not null default true;
comment on table etl.reaction_settings is 'how finished runs are judged and who is told; published by the server that started last';
insert into etl.reaction_settings default values on conflict do nothing;

create table if not exists etl.alert_states (
  fingerprint text primary key,
  kind text not null,
  subject text not null,
  opened_at timestamptz not null,
  last_at timestamptz not null,
  occurrences bigint not null default 1,
  -- occurrences since the last message
  suppressed bigint not null default 0,
  notified_at timestamptz,
  resolved_at timestamptz
);
alter table etl.alert_states
  add column if not exists acknowledged_at timestamptz,
  add column if not exists acknowledged_by text,
  -- nobody is told before
  add column if not exists silenced_until timestamptz,
  add column if not exists silenced_by text,
  -- who closed it by hand; null where it ended by itself
  add column if not exists resolved_by text;
comment on table etl.alert_states is 'one row a fingerprint (kind and subject): whether its incident goes on, and when somebody was told of it';

create table if not exists etl.notifications (
  notification_id uuid primary key,
  channel text not null,
  type text not null constraint notifications_type_known check (type in ('raised', 'recovered')),
  payload jsonb not null,
  state text not null default 'pending' constraint notifications_state_known check (state in ('pending', 'sent', 'failed')),
  attempts integer not null default 0,
  last_error text,
  created_at timestamptz not null default now(),
  sent_at timestamptz
);
create index if not exists notifications_pending on etl.notifications (channel, notification_id) where state = 'pending';
create index if not exists notifications_created_at on etl.notifications (created_at);
comment on table etl.notifications is 'what leaves for Slack and the webhook: written with the alert, delivered at least once, notification_id to deduplicate by';

create table if not exists etl.notification_channels (
  channel text primary key,
  next_send_at timestamptz not null default '-infinity',
  blocked_until timestamptz not null default '-infinity',
  -- in a row, since when
  failures integer not null default 0,
  failing_since timestamptz,
  last_error text
);

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
create index if not exists run_ends_to_judge on etl.run_ends (ended_at, run_id, end_no) where consumed_at is null;
drop index if exists etl.run_ends_unconsumed;
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
-- of the file, hexadecimal, where the consumer is SQL
alter table etl.consumers add column if not exists sha256 text;
comment on table etl.consumers is 'what starts on dataset events; published by the servers: those of the program and of ETL_CONSUMERS_DIR';

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
-- when somebody had it delivered again; null once it is done
alter table etl.deliveries add column if not exists redelivered_at timestamptz;
create index if not exists deliveries_given_up on etl.deliveries (consumer) where state = 'failed' or redelivered_at is not null;
create index if not exists deliveries_waiting on etl.deliveries (consumer, event_no nulls first, delivery_id) where state = 'pending';
create index if not exists deliveries_event_no on etl.deliveries (event_no);
comment on table etl.deliveries is 'one row for each dataset event and consumer of it: each event is delivered once to each';

create table if not exists etl.consumer_transactions (
  xact xid8 primary key
);
comment on table etl.consumer_transactions is 'a row while a consumer''s transaction lasts, which only the tick-off of its deliveries takes away';

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

create table if not exists etl.deadlines (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  -- run, or the name of a stage
  scope text not null,
  deadline_at timestamptz not null,
  missed_at timestamptz,
  met_at timestamptz,
  primary key (run_id, scope)
);
create index if not exists deadlines_open on etl.deadlines (deadline_at) where missed_at is null and met_at is null;
comment on table etl.deadlines is 'when a run and its stages should have ended (sla_seconds), stored with the request';
