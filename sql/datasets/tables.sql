-- Datasets, their events and their typed views.
create table if not exists etl.datasets (
  dataset text primary key,
  schema_name text not null,
  table_name text not null,
  maintained boolean not null default false,
  created_at timestamptz not null default now()
);
comment on column etl.datasets.maintained is 'whether etl_maintenance deletes old rows; only etl_improved_events by default';

create table if not exists etl.dataset_events (
  event_no bigint generated always as identity primary key,
  dataset text not null,
  run_id uuid,
  emitted_by text not null,
  counts jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index if not exists dataset_events_dataset on etl.dataset_events (dataset, event_no);

alter table etl.datasets add column if not exists fingerprints_from bigint;
comment on column etl.datasets.fingerprints_from is 'taken over from the original: block of the table from which on fingerprints may not be known yet; null: all are';
alter table etl.datasets add column if not exists stale_after_seconds double precision;
comment on column etl.datasets.stale_after_seconds is 'without a dataset event for so long the dataset is stale; null: what ETL_ALERT_STALE_SECONDS says';
alter table etl.dataset_events add column if not exists details jsonb not null default '{}';
create index if not exists dataset_events_run_id on etl.dataset_events (run_id);

create table if not exists etl.tombstones (
  dataset text not null,
  source text not null,
  -- the key, as a run's table of keys has it
  event_id text not null,
  version numeric,
  -- the run as which the deletion counts in the order of requests
  run_id uuid not null,
  deleted_at timestamptz not null default now(),
  primary key (dataset, source, event_id)
);
create index if not exists tombstones_deleted_at on etl.tombstones using brin (deleted_at);
comment on table etl.tombstones is 'keys that records of a feed have deleted, so that an older version that comes late brings no row back; deleted with the events of their age';

create table if not exists etl.deletions (
  dataset text not null,
  source text not null,
  -- times that a run has deleted rows of the source, or may have
  times bigint not null default 0,
  primary key (dataset, source)
);
comment on table etl.deletions is 'a row that whoever deletes rows of a source from a dataset counts up in the transaction, and whoever adds rows in any order locks: what was compared before another deleted is compared anew';

-- Typed views: what analysts query instead of JSON paths. All that a view is made from is in
-- etl.datasets, so etl.refresh_typed_views() makes the views again wherever the table is restored.
alter table etl.datasets
  add column if not exists columns jsonb,
  add column if not exists view_name text,
  add column if not exists view_sql text;
comment on column etl.datasets.columns is 'declared columns of the typed view, [{name, path, type}]; null: the dataset has no typed view. Set by etl.set_dataset_columns';
comment on column etl.datasets.view_name is 'the typed view, in the schema of the table';
comment on column etl.datasets.view_sql is 'what the view was last made from: a view that is up to date is left alone, and its readers with it';
create unique index if not exists datasets_view_name on etl.datasets (schema_name, view_name);
alter table etl.datasets drop constraint if exists datasets_columns_and_view;
alter table etl.datasets add constraint datasets_columns_and_view
  check ((columns is null) = (view_name is null) and (columns is null or jsonb_typeof(columns) = 'array'));

-- Typed tables: what the first load of a dataset has declared.
alter table etl.datasets add column if not exists declared jsonb;
comment on column etl.datasets.declared is 'of a typed table, as its first load declared it: {source, key, version, occurred_at, columns: [{name, path, type}]}; null: a table of events';
alter table etl.datasets add column if not exists history boolean not null default false;
comment on column etl.datasets.history is 'every version of a key is kept (write: history): key and version together are the key of a row';
alter table etl.datasets add column if not exists private jsonb;
comment on column etl.datasets.private is 'personal data by source, as its first run declared it: {source: {exclude: [path], hash: [path], mark}}; mark tells which secret the hashes are made with';
alter table etl.datasets drop constraint if exists datasets_typed_or_events;
alter table etl.datasets add constraint datasets_typed_or_events
  check (declared is null or (jsonb_typeof(declared) = 'object' and columns is null and fingerprints_from is null));
alter table etl.datasets add column if not exists age_column name;
comment on column etl.datasets.age_column is 'of a typed table that is maintained: the column, a time or a day, that tells the age of a row';
alter table etl.datasets drop constraint if exists datasets_typed_not_maintained;
alter table etl.datasets drop constraint if exists datasets_typed_maintained;
alter table etl.datasets add constraint datasets_typed_maintained check (declared is null or not maintained
  or (declared -> 'own' is distinct from 'true' and age_column is not null));
comment on constraint datasets_typed_maintained on etl.datasets is 'of a typed table a column must tell the age of rows, and rows of a table of the user''s own are deleted by its owner; see etl.maintain_dataset';

alter table etl.datasets add column if not exists distributed boolean not null default false;
comment on column etl.datasets.distributed is 'whether its table was distributed with Citus (etl.distribute_dataset); a restore makes a plain one, which doctor tells';

-- Tables whose first load goes on without indexes (first_load.sql).
create table if not exists etl.first_loads (
  relation regclass primary key,
  run_id uuid not null,
  primary_key name not null,
  -- what makes them, the primary key's first
  indexes text[] not null,
  began_at timestamptz not null default clock_timestamp()
);
comment on table etl.first_loads is 'tables that get their first rows without indexes; whoever comes has them made (etl.end_first_load)';
