-- The tables that every destination schema has, in public. Other schemas get
-- children of these, so that a query on the public table sees every schema.
-- at, id, num_rows, avg_ratio and threshold_pct are what the system that this project replaces calls things: its panels read them.
create table if not exists public.etl_improved_audit (
  audit_id bigint generated always as identity primary key
);
alter table public.etl_improved_audit
  add column if not exists run_id uuid,
  add column if not exists run_label text,
  add column if not exists event text not null default 'finished',
  add column if not exists status text,
  add column if not exists actor text,
  add column if not exists params jsonb,
  add column if not exists details jsonb,
  add column if not exists created_at timestamptz not null default now();
alter table public.etl_improved_audit
  add column if not exists id bigint generated always as (audit_id) stored,
  add column if not exists at timestamptz generated always as (created_at) stored,
  -- what a run has loaded; a row taken over is a chunk of one
  add column if not exists num_rows bigint generated always as (case
    when jsonb_typeof(details #> '{audit,num_rows}') = 'number' then (details #> '{audit,num_rows}')::bigint
    when event = 'finished' and params -> 'dry_run' is distinct from 'true' and jsonb_typeof(details -> 'total_rows') = 'number'
      then (details -> 'total_rows')::bigint end) stored;
create index if not exists etl_improved_audit_run_id on public.etl_improved_audit (run_id);
create index if not exists etl_improved_audit_created_at on public.etl_improved_audit (created_at);
create index if not exists etl_improved_audit_dataset on public.etl_improved_audit ((details ->> 'dataset'), audit_id)
  where event in ('dataset_altered', 'dataset_columns_put', 'dataset_columns_delete');
comment on table public.etl_improved_audit is 'append-only: what happened to each run, by whom, with which parameters';

create table if not exists public.etl_improved_metrics (
  run_id uuid primary key
);
alter table public.etl_improved_metrics
  add column if not exists run_label text not null default 'etl_improved',
  add column if not exists status text not null default 'succeeded',
  add column if not exists total_rows bigint,
  add column if not exists expected_rows bigint,
  add column if not exists ratio double precision,
  add column if not exists min_acceptance_ratio double precision,
  add column if not exists low_ratio boolean not null default false,
  add column if not exists num_chunks integer,
  add column if not exists dry_run boolean not null default false,
  add column if not exists replay_of uuid,
  add column if not exists inserted bigint not null default 0,
  add column if not exists updated bigint not null default 0,
  add column if not exists unchanged bigint not null default 0,
  add column if not exists rejected bigint not null default 0,
  add column if not exists duplicates bigint not null default 0,
  add column if not exists filtered bigint not null default 0,
  add column if not exists extra bigint not null default 0,
  add column if not exists deleted bigint not null default 0,
  add column if not exists marked bigint not null default 0,
  add column if not exists schema_name text,
  add column if not exists table_name text,
  add column if not exists duration_ms double precision,
  add column if not exists waited_ms double precision,
  add column if not exists stages jsonb not null default '{}',
  add column if not exists attempt integer not null default 1,
  add column if not exists requested_at timestamptz,
  add column if not exists started_at timestamptz,
  add column if not exists created_at timestamptz not null default now();
create sequence if not exists public.etl_improved_metrics_id_seq;
alter table public.etl_improved_metrics
  add column if not exists id bigint not null default nextval('public.etl_improved_metrics_id_seq'),
  add column if not exists at timestamptz generated always as (created_at) stored;
alter sequence public.etl_improved_metrics_id_seq owned by public.etl_improved_metrics.id;
create index if not exists etl_improved_metrics_created_at on public.etl_improved_metrics (created_at desc, run_id desc);
comment on table public.etl_improved_metrics is 'one row a run, in every terminal state';

create table if not exists public.etl_improved_alerts (
  alert_id bigint generated always as identity primary key
);
alter table public.etl_improved_alerts
  add column if not exists kind text not null default 'run_failed',
  add column if not exists severity text not null default 'warning',
  add column if not exists message text not null default '',
  add column if not exists run_id uuid,
  add column if not exists run_label text,
  add column if not exists fingerprint text,
  add column if not exists details jsonb not null default '{}',
  add column if not exists created_at timestamptz not null default now();
alter table public.etl_improved_alerts
  add column if not exists id bigint generated always as (alert_id) stored,
  add column if not exists at timestamptz generated always as (created_at) stored,
  add column if not exists ratio double precision generated always as (case
    when jsonb_typeof(details -> 'ratio') = 'number' then (details -> 'ratio')::double precision end) stored,
  add column if not exists avg_ratio double precision generated always as (case
    when jsonb_typeof(details -> 'avg_ratio') = 'number' then (details -> 'avg_ratio')::double precision
    -- what ratio_drop stored
    when kind = 'ratio_drop' and jsonb_typeof(details -> 'mean') = 'number' then (details -> 'mean')::double precision end) stored,
  add column if not exists threshold_pct double precision generated always as (case
    when jsonb_typeof(details -> 'threshold_pct') = 'number' then (details -> 'threshold_pct')::double precision end) stored;
create index if not exists etl_improved_alerts_created_at on public.etl_improved_alerts (created_at desc);
comment on table public.etl_improved_alerts is 'what the consumer found and told';
