-- Records that a replay of version 0.1.0 had: what that rejected again is open in the replay's own quarantine.
alter table etl.quarantine
  add column if not exists state text not null default 'open'
    constraint quarantine_state_known check (state in ('open', 'replaying', 'replayed', 'returned')),
  add column if not exists tries integer not null default 0;
update etl.quarantine set state = 'replayed', tries = 1 where replayed_by is not null;
