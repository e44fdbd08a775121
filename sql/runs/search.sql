-- Rejected records that have a text, in any case, of the newest runs first: {records: [{run_id, run_label, requested_at, rule,
-- message, file, line, raw}], looked, back_to, cut}. raw is 200 characters around the text. Looks until `shown` are found or
-- `budget_ms` are over: looked and back_to say how far, cut whether there are older ones.
create or replace function etl.search_rejected(part text, shown integer, budget_ms integer) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  until timestamptz := clock_timestamp() + budget_ms * interval '1 millisecond';
  run record;
  place record;
  hits jsonb := '[]';
  looked bigint := 0;
  back_to timestamptz;
  slice constant integer := 1000;
begin
  for run in
    select r.run_id, r.run_label, r.requested_at from etl.runs as r
    where exists (select from etl.quarantine as q where q.run_id = r.run_id)
    order by r.requested_at desc, r.run_id desc
  loop
    select -1 as chunk_no, -1 as position, -1 as output into place;
    loop
      if jsonb_array_length(hits) >= shown or clock_timestamp() > until then
        return jsonb_build_object('records', hits, 'looked', looked, 'back_to', etl.iso(back_to), 'cut', true);
      end if;
      back_to := run.requested_at;
      with read as materialized (
        select q.* from etl.quarantine as q
        where q.run_id = run.run_id and (q.chunk_no, q.position, q.output) > (place.chunk_no, place.position, place.output)
        order by q.chunk_no, q.position, q.output limit slice),
      having_it as (
        select q.*, strpos(lower(q.raw), lower(part)) as at from read as q
        where strpos(lower(q.raw), lower(part)) > 0 order by q.chunk_no, q.position, q.output
        limit shown - jsonb_array_length(hits))
      select (select count(*) from read) as number, l.chunk_no, l.position, l.output,
        hits || coalesce((select jsonb_agg(jsonb_build_object('run_id', run.run_id, 'run_label', run.run_label,
            'requested_at', etl.iso(run.requested_at), 'rule', f.rule, 'message', f.message, 'file', f.file, 'line', f.line,
            'raw', substr(f.raw, greatest(1, f.at - 60), 200)) order by f.chunk_no, f.position, f.output)
          from having_it as f), '[]') as hits
        into place from (select q.chunk_no, q.position, q.output from read as q
          order by q.chunk_no desc, q.position desc, q.output desc limit 1) as l;
      exit when not found;
      hits := place.hits;
      looked := looked + place.number;
      exit when place.number < slice;
    end loop;
  end loop;
  return jsonb_build_object('records', hits, 'looked', looked, 'back_to', etl.iso(back_to), 'cut', false);
end $$;
