-- Moves the records that a conf carries into etl.uploads, as NDJSON under an id made from their content,
-- and answers with the params that name them there: run rows stay small, numbers keep every digit.
create or replace function etl.store_records(params jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  body bytea;
  digest bytea;
  id uuid;
begin
  if params #>> '{source,type}' is distinct from 'inline' or jsonb_typeof(params #> '{source,records}') is distinct from 'array' then
    return params;
  end if;
  select convert_to(coalesce(string_agg(r.record::text || E'\n', '' order by r.place), ''), 'UTF8') into body
    from jsonb_array_elements(params #> '{source,records}') with ordinality as r (record, place);
  digest := sha256(body);
  -- version 8 of RFC 9562, as store/uploads.ts makes it
  id := overlay(overlay(left(encode(digest, 'hex'), 32) placing '8' from 13)
    placing substr('89ab', ((get_byte(digest, 8) >> 4) & 3) + 1, 1) from 17)::uuid;
  perform pg_advisory_xact_lock(hashtextextended('etl upload ' || id, 0));
  update etl.uploads as u set created_at = now() where u.upload_id = id;
  if not found then
    insert into etl.uploads (upload_id, part_no, data)
    select id, part, substring(body from part * 1048576 + 1 for 1048576)
    from generate_series(0, greatest(0, (length(body) - 1) / 1048576)) as part;
  end if;
  return jsonb_set(params, '{source}', (params -> 'source') - 'records' - 'records_path'
    || jsonb_build_object('format', 'ndjson', 'upload_id', id));
end $$;
