-- Returns a running run to the queue, still admitted: at once when its server stops, after 1 to 10 s when it failed transiently.
-- What the environment causes (`error` has outage_minutes) is no attempt of the run's: it is waited for by time, in pauses that
-- grow to 60 s, and ends the run after so many minutes. An attempt that worked for five minutes had what it needs: a new outage.
create or replace function etl.give_back_run(run_id uuid, attempt integer, error jsonb default null) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
  since timestamptz;
  outage_minutes double precision := (give_back_run.error ->> 'outage_minutes')::double precision;
  problem jsonb := give_back_run.error - 'outage_minutes';
begin
  select * into run from etl.runs as r
    where r.run_id = give_back_run.run_id and r.attempt = give_back_run.attempt and r.state = 'running' for no key update;
  if not found then return false; end if;
  if outage_minutes is not null then
    since := case when run.next_attempt_at > clock_timestamp() - interval '5 minutes' then run.outage_since end;
    since := coalesce(since, clock_timestamp());
    if clock_timestamp() - since >= outage_minutes * interval '1 minute' then
      perform etl.finish_run(run.run_id, run.attempt, jsonb_build_object('state', 'failed', 'error', problem || jsonb_build_object('detail',
        format('%s It was waited for since %s, for the %s minutes of ETL_OUTAGE_MINUTES. Retry the run when the cause is gone.',
          problem ->> 'detail', etl.iso(since), outage_minutes))));
      return true;
    end if;
  end if;
  update etl.runs as r set state = 'queued', server_id = null, error = coalesce(problem, r.error), outage_since = since,
    -- neither a server that stops in an orderly way nor an outage has used the attempt up
    attempt_base = case when problem is null or outage_minutes is not null then r.attempt_base + 1 else r.attempt_base end,
    next_attempt_at = case when problem is null then '-infinity'
      when since is not null then clock_timestamp() + least(interval '60 seconds', greatest(interval '1 second', (clock_timestamp() - since) / 2))
      else clock_timestamp() + least(10, power(2, r.attempt - r.attempt_base - 1)) * interval '1 second' end
    where r.run_id = run.run_id;
  perform etl.wake('runs');
  return true;
end $$;
