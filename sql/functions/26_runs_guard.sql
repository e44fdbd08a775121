-- Stores no change of state that etl.run_transitions does not list, and tells watchers of every change.
create or replace function etl.runs_guard() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if new.state <> old.state and not exists (
      select from etl.run_transitions as t where t.from_state = old.state and t.to_state = new.state) then
    raise exception 'run % cannot go from % to %', new.run_id, old.state, new.state using errcode = 'check_violation';
  end if;
  new.revision := old.revision + 1;
  perform pg_notify('etl_run', format('%s %s %s', new.run_id, new.state,
    case when new.cancel_requested_at is null then '' else 'cancel' end));
  return new;
end $$;
create or replace trigger runs_guard before update on etl.runs
  for each row execute function etl.runs_guard();
