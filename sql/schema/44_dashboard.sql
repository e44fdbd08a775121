-- What the pages of the dashboard look up by.
create index if not exists runs_replay_of on etl.runs (replay_of) where replay_of is not null;
