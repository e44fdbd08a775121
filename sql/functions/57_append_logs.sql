-- Adds lines to the logs of runs and keeps the last ones of each (log_lines of etl.reaction_settings).
-- lines: [{run_id, logged_at, level, message, fields}], in their order.
create or replace function etl.append_logs(lines jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  kept integer := (select s.log_lines from etl.reaction_settings as s);
  run uuid;
begin
  for run in
    select distinct r.run_id from jsonb_array_elements(lines) as l
    join etl.runs as r on r.run_id = (l ->> 'run_id')::uuid order by 1
  loop
    perform pg_advisory_xact_lock(hashtextextended('etl logs ' || run, 0));
    insert into etl.run_logs (run_id, line_no, logged_at, level, message, fields)
    select run, coalesce((select max(k.line_no) from etl.run_logs as k where k.run_id = run), 0)
      + row_number() over (order by l.no), (l.line ->> 'logged_at')::timestamptz, l.line ->> 'level', l.line ->> 'message',
      coalesce(l.line -> 'fields', '{}')
    from jsonb_array_elements(lines) with ordinality as l (line, no)
    where l.line ->> 'run_id' = run::text;
    delete from etl.run_logs as k where k.run_id = run
      and k.line_no <= (select max(m.line_no) from etl.run_logs as m where m.run_id = run) - kept;
  end loop;
end $$;
