-- Runs and all that belongs to them.
create table if not exists etl.pools (
  pool text primary key check (pool ~ '^[A-Za-z][A-Za-z0-9_.-]{0,99}$'),
  slots integer not null check (slots between 0 and 1000),
  description text,
  updated_at timestamptz not null default now()
);
-- whether its slots are each server's, so that more servers have more of them, or those of all servers together
alter table etl.pools add column if not exists per_server boolean not null default false;
insert into etl.pools (pool, slots, description, per_server)
values ('default_pool', 4, 'runs that name no pool', true) on conflict do nothing;

create table if not exists etl.servers (
  server_id text primary key,
  version text not null,
  -- runs that it executes at once
  run_slots integer not null,
  started_at timestamptz not null default clock_timestamp(),
  -- prolonged while it serves; then it counts no more
  seen_until timestamptz not null
);
comment on table etl.servers is 'servers that execute runs; see etl.prolong_server';

create table if not exists etl.run_transitions (
  from_state text not null,
  to_state text not null,
  why text not null,
  primary key (from_state, to_state)
);
comment on table etl.run_transitions is 'the only changes of state that etl.runs accepts';
insert into etl.run_transitions (from_state, to_state, why) values
  ('queued', 'running', 'a server took the run up'),
  ('queued', 'cancelled', 'cancelled before it started'),
  ('queued', 'failed', 'could not be started, or its attempts are used up'),
  ('running', 'running', 'another attempt took over'),
  ('running', 'queued', 'given back: a transient error, or the server is stopping'),
  ('running', 'succeeded', 'all stages ended well'),
  ('running', 'failed', 'a stage failed'),
  ('running', 'cancelled', 'cancelled while it ran'),
  ('failed', 'queued', 'retry'),
  ('cancelled', 'queued', 'retry')
on conflict do nothing;

create table if not exists etl.runs (
  run_id uuid primary key,
  run_label text not null,
  state text not null default 'queued'
    constraint runs_state_known check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  attempt integer not null default 0,
  -- first attempt since the last retry request: bounds attempts, not retries
  attempt_base integer not null default 0,
  trigger text not null default 'sql',
  requested_by text not null default current_user,
  conf jsonb not null,
  params jsonb not null,
  origins jsonb not null,
  schema_name text not null,
  table_name text not null,
  audit_table_name text not null,
  dry_run boolean not null,
  pool text not null references etl.pools (pool),
  overlap text not null constraint runs_overlap_known check (overlap in ('queue', 'skip', 'cancel')),
  -- runs with one key (source name and dataset) are executed one at a time, in the order of their requests
  cursor_key text,
  replay_of uuid,
  idempotency_key text,
  traceparent text,
  server_id text,
  -- what identifies the input, pinned by the first attempt
  pin jsonb,
  requested_at timestamptz not null default now(),
  admitted_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  -- last sign of life of the attempt that runs
  seen_at timestamptz,
  cancel_requested_at timestamptz,
  cancel_requested_by text,
  deadline_at timestamptz,
  -- grows with every change that a watcher may want to see
  revision bigint not null default 0,
  num_chunks integer,
  counts jsonb,
  total_rows bigint,
  expected_rows bigint,
  ratio double precision,
  low_ratio boolean,
  error jsonb,
  warnings jsonb not null default '[]',
  constraint runs_ended_when_terminal
    check ((state in ('succeeded', 'failed', 'cancelled')) = (ended_at is not null)),
  constraint runs_running_is_admitted check (state <> 'running' or admitted_at is not null)
);
alter table etl.runs
  add column if not exists seen_at timestamptz,
  -- ms that attempts which have ended worked on it; null where the run ended before there was this column
  add column if not exists worked_ms double precision,
  -- when the attempt that runs began
  add column if not exists attempt_started_at timestamptz,
  -- a step counts as a minute of waiting
  add column if not exists priority integer not null default 0,
  -- not taken up before, after a failure
  add column if not exists next_attempt_at timestamptz not null default '-infinity',
  -- servers in a row that have died with it without a word, while it did not get on; of those the ones that count as no attempt
  add column if not exists deaths integer not null default 0,
  add column if not exists deaths_spared integer not null default 0,
  -- the last of them: which server, and its last sign of life
  add column if not exists died_on text,
  add column if not exists died_at timestamptz,
  -- steps that chunks had made by then
  add column if not exists steps_at_death bigint not null default 0,
  -- since when what the run needs has been away; null where it is not
  add column if not exists outage_since timestamptz,
  -- of a run with many chunks, why one server executes it ("alone"), or which servers do not help and why ("left")
  add column if not exists sharing jsonb,
  -- when destination and overlap were seen to; runs from before there was this column had that with their request
  add column if not exists accepted_at timestamptz default '-infinity',
  -- whether it had ended and was taken up again: later requests may have loaded meanwhile
  add column if not exists comes_back boolean not null default false;
alter table etl.runs alter column accepted_at drop default;
comment on table etl.runs is 'one row a run, from its request on';
create index if not exists runs_requested_at on etl.runs (requested_at desc, run_id desc);
create index if not exists runs_label_requested_at on etl.runs (run_label, requested_at desc);
create index if not exists runs_ended_at on etl.runs (ended_at) where ended_at is not null;
-- lists and counts by state: most runs have succeeded
create index if not exists runs_not_succeeded on etl.runs (state, requested_at desc, run_id desc)
  where state <> 'succeeded';
-- What waits for a place: by turn, and by label where it waits for no order. The time is a length since 2000, as an index
-- must not depend on a session's time zone.
create or replace function etl.first_turn(requested_at timestamptz, priority integer) returns interval
language sql immutable
return requested_at - timestamptz '2000-01-01 00:00:00+00' - priority * interval '1 minute';
comment on function etl.first_turn(timestamptz, integer) is 'when it would be the turn of a run whose label had none before: a step of priority counts as a minute';
create index if not exists runs_waiting_by_turn on etl.runs (pool, etl.first_turn(requested_at, priority))
  where state = 'queued' and admitted_at is null and accepted_at is not null;
create index if not exists runs_waiting_in_any_order on etl.runs (pool, run_label, etl.first_turn(requested_at, priority), run_id)
  where cursor_key is null and state = 'queued' and admitted_at is null and accepted_at is not null;
create index if not exists runs_not_accepted on etl.runs (requested_at, run_id)
  where state = 'queued' and admitted_at is null and accepted_at is null;
create index if not exists runs_label_in_outage on etl.runs (run_label, outage_since)
  where state = 'queued' and admitted_at is null and outage_since is not null;
create index if not exists runs_order_in_outage on etl.runs (cursor_key, outage_since)
  where cursor_key is not null and state = 'queued' and admitted_at is null and outage_since is not null;
drop index if exists etl.runs_waiting;
-- those that take the place of earlier ones
create index if not exists runs_at_once on etl.runs (run_id)
  where params ->> 'write' in ('replace', 'mirror') and replay_of is null;
create index if not exists runs_active on etl.runs (pool)
  where admitted_at is not null and state in ('queued', 'running');
create index if not exists runs_waiting_in_order on etl.runs (cursor_key, requested_at, run_id)
  where cursor_key is not null and state = 'queued' and admitted_at is null;
create unique index if not exists runs_one_active_per_label on etl.runs (run_label)
  where admitted_at is not null and state in ('queued', 'running');
create unique index if not exists runs_one_active_per_cursor on etl.runs (cursor_key)
  where cursor_key is not null and admitted_at is not null and state in ('queued', 'running');
create index if not exists runs_label_admitted_at on etl.runs (run_label, admitted_at desc nulls last);

create table if not exists etl.idempotency_keys (
  key text primary key check (length(key) between 1 and 255),
  conf_hash text not null,
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index if not exists idempotency_keys_expires_at on etl.idempotency_keys (expires_at);
create index if not exists idempotency_keys_run_id on etl.idempotency_keys (run_id);

create table if not exists etl.stages (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  stage text not null constraint stages_stage_known check
    (stage in ('extract', 'transform', 'chunk', 'validate', 'ge_validate', 'load', 'finalize')),
  state text not null constraint stages_state_known check
    (state in ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
  started_at timestamptz,
  ended_at timestamptz,
  busy_ms double precision not null default 0,
  records_in bigint not null default 0,
  records_out bigint not null default 0,
  attempts integer not null default 0,
  error jsonb,
  primary key (run_id, stage)
);

create table if not exists etl.chunks (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  chunk_no integer not null,
  state text not null default 'planned' constraint chunks_state_known
    check (state in ('planned', 'prepared', 'published')),
  slice jsonb not null,
  attempts integer not null default 0,
  worker text,
  records_read bigint not null default 0,
  rejected bigint not null default 0,
  filtered bigint not null default 0,
  extra bigint not null default 0,
  events bigint not null default 0,
  duplicates bigint not null default 0,
  inserted bigint not null default 0,
  updated bigint not null default 0,
  unchanged bigint not null default 0,
  cursor_nulls bigint not null default 0,
  spill_bytes bigint not null default 0,
  stage_ms jsonb not null default '{}',
  error jsonb,
  prepared_at timestamptz,
  published_at timestamptz,
  primary key (run_id, chunk_no)
);
alter table etl.chunks
  -- rows that went, or were marked as gone; those that the source no longer has are counted with the run's first chunk
  add column if not exists deleted bigint not null default 0,
  add column if not exists marked bigint not null default 0,
  -- deletions of a feed that lost against no other event of their key, whether or not there was a row
  add column if not exists deletions bigint not null default 0,
  -- of the last file of its slice, up to its end, from the file's beginning or from its own; null where lines are told otherwise
  add column if not exists newlines bigint;
comment on table etl.chunks is 'the units of parallel work; slice says where the records are, never what they are';
-- which server has prepared it, and its rows on its disk until they are in the table
alter table etl.chunks add column if not exists server_id text;

-- Runs that several servers work on (sql/runs/share.sql). Deleted when the run ends.
create table if not exists etl.shared_runs (
  run_id uuid primary key references etl.runs (run_id) on delete cascade,
  -- the attempt that offers it
  attempt integer not null,
  -- its coordinator's right to chunks, as that of etl.run_helpers
  holder uuid not null,
  -- hashes of what must be the same on every server that helps, by what it is
  same jsonb not null,
  phase text not null default 'prepare' constraint shared_runs_phase_known check (phase in ('prepare', 'resolve', 'publish')),
  -- a chunk that was prepared again is not what resolve saw
  stale boolean not null default false
);
comment on table etl.shared_runs is 'runs that go on and are offered to other servers';

create table if not exists etl.run_helpers (
  -- chosen anew each time a server joins
  holder uuid primary key,
  run_id uuid not null references etl.shared_runs (run_id) on delete cascade,
  server_id text not null,
  seen_at timestamptz not null default clock_timestamp()
);
create index if not exists run_helpers_run on etl.run_helpers (run_id);
comment on table etl.run_helpers is 'servers that help with a shared run';

create table if not exists etl.shared_chunks (
  run_id uuid not null references etl.shared_runs (run_id) on delete cascade,
  chunk_no integer not null,
  state text not null default 'open' constraint shared_chunks_state_known
    check (state in ('open', 'taken', 'prepared', 'publishing')),
  -- who alone may write it
  holder uuid,
  server_id text,
  -- times that it was taken to be prepared
  takes integer not null default 0,
  -- a helper has failed at it, so the coordinator does it and fails the run, if it must
  own boolean not null default false,
  -- what its spill is (SpillMeta), and a digest of its positions, keys and fingerprints
  meta jsonb,
  reused boolean not null default false,
  digest text,
  -- what the suite has kept of its values in files
  spills bytea[] not null default '{}',
  -- what resolve has decided (ChunkDecision); which of its rows, as bits, where it is not all of them or none
  decision jsonb,
  inserts bytea,
  updates bytea,
  primary key (run_id, chunk_no)
);
comment on table etl.shared_chunks is 'chunks of shared runs: who has them, and what resolve has decided';

create table if not exists etl.quarantine (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  chunk_no integer not null,
  -- index of the record in its chunk, and of the output where a transform gives several
  position integer not null,
  output integer not null default 0,
  rule text not null,
  message text not null,
  field text,
  raw text not null,
  created_at timestamptz not null default now(),
  replayed_by uuid,
  primary key (run_id, chunk_no, position, output)
);
alter table etl.quarantine
  -- where it stands: file or URL, and line from 1; null where there is none
  add column if not exists file text,
  add column if not exists line bigint,
  -- its line of the chunk, from 1, until the run ends: nobody knows before in which line of the file the chunk begins
  add column if not exists slice_line bigint,
  -- JSON of the record, to be loaded again, where raw is not that
  add column if not exists record text,
  -- the bytes of raw, where text cannot hold them
  add column if not exists raw_bytes bytea,
  -- open: can be replayed; replaying: a replay has it in hand; replayed: it was loaded; returned: rejected by a
  -- replay, and open again where it came from
  add column if not exists state text not null default 'open'
    constraint quarantine_state_known check (state in ('open', 'replaying', 'replayed', 'returned')),
  -- replays that have had it
  add column if not exists tries integer not null default 0,
  -- its number among the records of the last replay, from 0
  add column if not exists replay_place bigint;
comment on table etl.quarantine is 'records that failed a row rule, as they were read';

create table if not exists etl.suites (
  name text primary key check (length(name) between 1 and 200),
  suite jsonb not null,
  row_wise boolean not null,
  origin text not null default 'api' check (origin in ('file', 'api')),
  updated_at timestamptz not null default now(),
  updated_by text
);
comment on table etl.suites is 'expectation suites, in the JSON of Great Expectations 1.x';

create table if not exists etl.validations (
  run_id uuid primary key references etl.runs (run_id) on delete cascade,
  suite_name text not null,
  success boolean not null,
  result jsonb not null,
  created_at timestamptz not null default now()
);
comment on table etl.validations is 'validation result of each run that had a suite, in the shape of Great Expectations 1.x';

create table if not exists etl.comparisons (
  run_id uuid primary key references etl.runs (run_id) on delete cascade,
  dataset text not null,
  found jsonb not null
);
comment on table etl.comparisons is 'what dry runs with compare have found, with the first rows that differ';

create table if not exists etl.uploads (
  upload_id uuid not null,
  part_no integer not null,
  data bytea not null,
  created_at timestamptz not null default now(),
  primary key (upload_id, part_no)
);
comment on table etl.uploads is 'request bodies that carry data, in parts of about 1 MiB';
-- kept for a week and read once: compressing them costs more than it saves
do $$
begin
  if (select a.attstorage from pg_attribute as a where a.attrelid = 'etl.uploads'::regclass and a.attname = 'data') <> 'e' then
    alter table etl.uploads alter column data set storage external;
  end if;
end $$;

create table if not exists etl.cursors (
  source_name text not null,
  dataset text not null,
  position text not null,
  run_id uuid not null,
  updated_at timestamptz not null default now(),
  primary key (source_name, dataset)
);
-- the oldest transaction of the source that was open then: mode exact reads what is not older
alter table etl.cursors add column if not exists snapshot text;

create table if not exists etl.run_logs (
  run_id uuid not null references etl.runs (run_id) on delete cascade,
  line_no integer not null,
  logged_at timestamptz not null,
  level text not null,
  message text not null,
  fields jsonb not null default '{}',
  primary key (run_id, line_no)
);

create table if not exists etl.cancel_requests (
  request_no bigint generated always as identity primary key,
  run_id uuid not null,
  requested_by text not null,
  requested_at timestamptz not null default clock_timestamp()
);
comment on table etl.cancel_requests is 'runs to be cancelled; a server takes the rows out within a second';

alter table etl.runs
  -- what asked for the run, if a schedule did; runs outlive schedules
  add column if not exists schedule text,
  add column if not exists slot timestamptz,
  add column if not exists slot_previous timestamptz;
create index if not exists runs_schedule on etl.runs (schedule, requested_at desc) where schedule is not null;

-- What the pages of the dashboard look up by.
create index if not exists runs_replay_of on etl.runs (replay_of) where replay_of is not null;
-- the last load that succeeded of a label, however many runs have failed since
create index if not exists runs_label_succeeded on etl.runs (run_label, requested_at desc)
  where state = 'succeeded' and not dry_run;
create index if not exists runs_schedule_succeeded on etl.runs (schedule, requested_at desc)
  where schedule is not null and state = 'succeeded' and not dry_run;
-- labels that fail, from one to the next, however many runs have
create index if not exists runs_label_failed on etl.runs (run_label, requested_at desc) where state = 'failed';
