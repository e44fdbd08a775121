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
  trend_window integer not null default 10,
  ratio_drop double precision not null default 0.1,
  volume_drop double precision not null default 0.5,
  stale_after_seconds double precision,
  log_lines integer not null default 1000
);
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
