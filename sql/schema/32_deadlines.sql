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
