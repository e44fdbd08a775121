-- etl_maintenance: what was asked for, and how far each of its tasks is.
create table if not exists etl.maintenance_runs (
  maintenance_id uuid primary key,
  state text not null default 'queued'
    constraint maintenance_runs_state_known check (state in ('queued', 'running', 'succeeded', 'failed')),
  trigger text not null default 'sql',
  requested_by text not null default current_user,
  conf jsonb not null,
  params jsonb not null,
  origins jsonb not null,
  -- fences earlier attempts out: only the current one may delete
  attempt integer not null default 0,
  server_id text,
  requested_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  error text,
  constraint maintenance_runs_ended_when_terminal check ((state in ('succeeded', 'failed')) = (ended_at is not null))
);
-- not taken up before, after a failure
alter table etl.maintenance_runs add column if not exists next_attempt_at timestamptz not null default '-infinity';
create unique index if not exists maintenance_runs_one_active on etl.maintenance_runs ((true)) where state in ('queued', 'running');
comment on table etl.maintenance_runs is 'one row for each time that etl_maintenance was asked for; at most one is not done';

create table if not exists etl.maintenance_tasks (
  maintenance_id uuid not null references etl.maintenance_runs (maintenance_id) on delete cascade,
  task_no smallint not null,
  task text not null constraint maintenance_tasks_task_known check
    (task in ('clean_old_metrics', 'clean_old_audit', 'clean_old_alerts', 'clean_old_events', 'refresh_mvs', 'vacuum_analyze')),
  state text not null default 'pending' constraint maintenance_tasks_state_known check
    (state in ('pending', 'running', 'succeeded', 'failed', 'skipped')),
  -- rows from before this time are deleted; the same for every attempt
  cutoff timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  deleted bigint not null default 0,
  batches bigint not null default 0,
  -- by table: blocks to look at, position reached, rows deleted; written with each batch
  progress jsonb not null default '{}',
  warnings jsonb not null default '[]',
  error text,
  primary key (maintenance_id, task)
);
