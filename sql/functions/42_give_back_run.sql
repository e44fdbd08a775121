-- Returns a running run to the queue, still admitted: at once when its server stops, after 1 to 10 s when it failed transiently.
create or replace function etl.give_back_run(run_id uuid, attempt integer, error jsonb default null) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  update etl.runs as r set state = 'queued', server_id = null, error = coalesce(give_back_run.error, r.error),
    -- a server that stops in an orderly way has not used the attempt up
    attempt_base = case when give_back_run.error is null then r.attempt_base + 1 else r.attempt_base end,
    next_attempt_at = case when give_back_run.error is null then '-infinity'
      else clock_timestamp() + least(10, power(2, r.attempt - r.attempt_base - 1)) * interval '1 second' end
    where r.run_id = give_back_run.run_id and r.attempt = give_back_run.attempt and r.state = 'running';
  perform etl.wake('runs');
  return found;
end $$;
