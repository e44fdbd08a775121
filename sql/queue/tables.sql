-- What servers do for each other: who does which work, and what clients have asked for that a server does after the commit.
create table if not exists etl.leases (
  -- a kind of work that one server does at a time, e.g. "channel slack"
  name text primary key,
  holder uuid not null,
  -- prolonged by its holder while it works; from then on anybody may take it
  held_until timestamptz not null
);
comment on table etl.leases is 'work that one server does at a time, while it does it; see etl.claim_lease';

create table if not exists etl.jobs (
  name text primary key,
  -- of a file of sql/cron, UTC
  schedule text not null,
  next_at timestamptz not null,
  -- failures in a row
  failures integer not null default 0
);
comment on table etl.jobs is 'periodic jobs that the servers run, as pg_cron does not: each due time is one server''s';

create table if not exists etl.job_runs (
  job_run_no bigint generated always as identity primary key,
  name text not null,
  due_at timestamptz not null,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  status text not null default 'running' constraint job_runs_status_known check (status in ('running', 'succeeded', 'failed')),
  message text
);
create index if not exists job_runs_name on etl.job_runs (name, job_run_no desc);
comment on table etl.job_runs is 'the newest 500 times that the servers ran each periodic job';

-- Who runs the periodic jobs of sql/cron.
create table if not exists etl.job_scheduler (
  singleton boolean primary key default true check (singleton),
  kind text not null constraint job_scheduler_kind_known check (kind in ('pg_cron', 'servers')),
  -- where pg_cron is, and the role that its jobs belong to
  cron_database text,
  cron_role text,
  -- in words: why it is not pg_cron, or what somebody should know
  reason text,
  -- statements that would change that, with the database to run them in
  grants jsonb not null default '[]',
  decided_at timestamptz not null default now(),
  decided_by text not null default current_user
);
alter table etl.job_scheduler
  -- when etl.tick_schedules() was last called
  add column if not exists ticked_at timestamptz,
  -- when pg_cron did so, and since when it should
  add column if not exists cron_ticked_at timestamptz,
  add column if not exists cron_since timestamptz,
  -- which database noted it: a copy doesn't believe it
  add column if not exists database_identity text,
  -- variables etl_job__<name> as they were seen last, and the schedules that came of them, by job
  add column if not exists wishes jsonb not null default '{}',
  add column if not exists schedules jsonb not null default '{}';
comment on table etl.job_scheduler is 'who runs the periodic jobs: pg_cron, else the servers; decided by setup-db and each server that starts';
