-- Schedules: when runs are due by the clock, and what became of each of these times.
create table if not exists etl.schedules (
  name text primary key constraint schedules_name_form check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,99}$'),
  description text,
  cron text not null constraint schedules_cron_form check (
    cron ~ '^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^\s@]+(\s+\S+){4})$'),
  time_zone text not null default 'UTC',
  conf jsonb not null default '{}' constraint schedules_conf_is_object check (jsonb_typeof(conf) = 'object'),
  active boolean not null default true,
  missed text not null default 'last' constraint schedules_missed_known check (missed in ('last', 'all', 'none')),
  grace_seconds integer not null default 120 constraint schedules_grace_bounds check (grace_seconds between 0 and 86400),
  overlap text not null default 'skip' constraint schedules_overlap_known check (overlap in ('queue', 'skip', 'cancel')),
  paused_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  updated_by text,
  -- kept by triggers and by the server that computes the slots
  paused_at timestamptz,
  -- grows whenever the slots have to be computed again
  revision bigint not null default 1,
  -- slots are made from here on, and are stored up to slots_until
  plan_from timestamptz not null default now(),
  slots_until timestamptz,
  -- why no slots can be computed
  problem text,
  -- the same thing twice would be two truths
  constraint schedules_overlap_outside_conf check (not conf ? 'overlap')
);
comment on table etl.schedules is 'runs that are due by the clock; a server computes their slots, etl.tick_schedules() turns due ones into runs';
comment on column etl.schedules.overlap is 'when a run of the same label is going on: make no run (skip), wait (queue) or cancel the older one';
comment on column etl.schedules.missed is 'what to run of slots that are later than the grace: the newest (last), up to 100 (all), nothing (none)';

create table if not exists etl.slots (
  schedule text not null references etl.schedules (name) on update cascade on delete cascade,
  slot timestamptz not null,
  slot_previous timestamptz,
  state text not null default 'pending' constraint slots_state_known
    check (state in ('pending', 'requested', 'skipped', 'missed', 'failed')),
  run_id uuid,
  -- the run that was going on, where overlap = skip made none
  blocked_by uuid,
  note text,
  problem jsonb,
  decided_at timestamptz,
  primary key (schedule, slot),
  constraint slots_previous_is_before check (slot_previous < slot),
  constraint slots_decided_unless_pending check ((state = 'pending') = (decided_at is null)),
  constraint slots_requested_has_run check ((state = 'requested') = (run_id is not null)),
  constraint slots_blocked_is_skipped check (blocked_by is null or state = 'skipped'),
  constraint slots_without_run_says_why check (state not in ('skipped', 'missed') or note is not null),
  constraint slots_failed_has_problem check (state <> 'failed' or problem is not null)
);
create index if not exists slots_pending on etl.slots (slot) where state = 'pending';
create index if not exists slots_decided_at on etl.slots (decided_at) where decided_at is not null;
create index if not exists slots_run_id on etl.slots (run_id) where run_id is not null;
comment on table etl.slots is 'the times at which a schedule is due, 8 days ahead, and what became of those that have passed';
