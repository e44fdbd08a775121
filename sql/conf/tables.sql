-- Parameters: their schema, saved confs, variables.
create table if not exists etl.param_schema (
  singleton boolean primary key default true check (singleton),
  schema jsonb not null,
  -- run parameters found in the environment of the server that started last
  environment jsonb not null default '{}'
);
comment on table etl.param_schema is
  'JSON Schema of the run parameters, generated from pipeline/params.ts; what etl.request_run checks against';

create table if not exists etl.variables (
  name text primary key check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,199}$'),
  value jsonb not null,
  updated_at timestamptz not null default now(),
  updated_by text
);
comment on table etl.variables is
  'values that a parameter falls back to, named etl_improved__<parameter>; other names are free for user code';

create table if not exists etl.configurations (
  name text primary key check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,99}$'),
  conf jsonb not null check (jsonb_typeof(conf) = 'object'),
  description text,
  updated_at timestamptz not null default now(),
  updated_by text
);
comment on table etl.configurations is 'saved confs that can be run by name';

alter table etl.param_schema
  add column if not exists maintenance jsonb not null default '{}',
  add column if not exists maintenance_environment jsonb not null default '{}',
  -- false: events of 0.1.0 went by updated_at, and nobody has agreed yet that others go
  add column if not exists events_by_occurred_at boolean not null default true;
comment on column etl.param_schema.maintenance is
  'JSON Schema of the parameters of etl_maintenance, generated from pipeline/maintenance/params.ts';
