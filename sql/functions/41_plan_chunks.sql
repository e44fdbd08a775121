-- Stores the pin and the slices of a run; a later attempt finds what the first one stored.
create or replace function etl.plan_chunks(run_id uuid, attempt integer, pin jsonb, slices jsonb, warnings jsonb default '[]')
returns table (chunk_no integer, state text)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  update etl.runs as r set pin = coalesce(r.pin, plan_chunks.pin), num_chunks = jsonb_array_length(slices),
    warnings = case when r.pin is null then r.warnings || plan_chunks.warnings else r.warnings end
    where r.run_id = plan_chunks.run_id and r.attempt = plan_chunks.attempt and r.state = 'running';
  if not found then return; end if;
  insert into etl.chunks (run_id, chunk_no, slice)
  select plan_chunks.run_id, (s.no - 1)::integer, s.slice from jsonb_array_elements(slices) with ordinality as s (slice, no)
  on conflict on constraint chunks_pkey do nothing;
  return query select c.chunk_no, c.state from etl.chunks as c where c.run_id = plan_chunks.run_id order by c.chunk_no;
end $$;
