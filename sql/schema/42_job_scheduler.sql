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
  add column if not exists ticked_at timestamptz;
comment on table etl.job_scheduler is 'who runs the periodic jobs: pg_cron, else the servers; decided by setup-db and each server that starts';
