-- The columns of the table that every typed view begins with.
create or replace function etl.typed_view_fixed() returns text[]
language sql immutable parallel safe
return array['event_id', 'event_type', 'occurred_at', 'source', 'version', 'event_date', 'event_hour',
  'run_id', 'first_seen_at', 'updated_at'];
