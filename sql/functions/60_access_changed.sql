-- Tells every server to look tokens and sessions up anew, when the transaction that has changed them ends.
create or replace function etl.access_changed() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform pg_notify('etl_access', '');
  return null;
end $$;

create or replace trigger api_tokens_changed
  after insert or delete or truncate or update of token_hash, role, expires_at, revoked_at on etl.api_tokens
  for each statement execute function etl.access_changed();
create or replace trigger sessions_changed
  after delete or truncate on etl.sessions
  for each statement execute function etl.access_changed();
