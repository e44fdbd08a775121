-- SQLSTATE ET422 (or the status given) carries a problem whose JSON is in DETAIL;
-- the server turns it into application/problem+json, psql shows message and hint.
create or replace function etl.raise_problem(
  type text, message text, errors jsonb default '[]', status integer default 422, extra jsonb default '{}'
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'ET' || status,
    message = message,
    detail = (extra || jsonb_build_object('type', type, 'status', status, 'detail', message, 'errors', errors))::text;
end $$;
