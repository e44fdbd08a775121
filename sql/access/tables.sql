-- Who may use the HTTP interface: API tokens, and the sessions of people who have signed in with one.
create table if not exists etl.api_tokens (
  -- the part of a token that is no secret, so that it can be named in lists and logs
  token_id text primary key constraint api_tokens_id_form check (token_id ~ '^[0-9a-f]{10}$'),
  name text not null constraint api_tokens_name_form check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,99}$'),
  -- SHA-256 of the whole token: it has 256 random bits, which no slow hash would make harder to guess
  token_hash bytea not null constraint api_tokens_hash_length check (length(token_hash) = 32),
  role text not null constraint api_tokens_role_known check (role in ('viewer', 'operator', 'admin')),
  created_at timestamptz not null default now(),
  created_by text not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  revoked_by text
);
create unique index if not exists api_tokens_name on etl.api_tokens (name) where revoked_at is null;
comment on table etl.api_tokens is
  'tokens of the HTTP interface; once there is one, also one that is revoked, every request needs one';

create table if not exists etl.sessions (
  session_id text primary key constraint sessions_id_form check (session_id ~ '^[0-9a-f]{20}$'),
  session_hash bytea not null constraint sessions_hash_length check (length(session_hash) = 32),
  -- signed in with a token of the table, or with the one of the environment
  token_id text references etl.api_tokens (token_id) on delete cascade,
  environment_hash bytea,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint sessions_of_one_token check ((token_id is null) <> (environment_hash is null))
);
create index if not exists sessions_expires_at on etl.sessions (expires_at);
create index if not exists sessions_token_id on etl.sessions (token_id);
comment on table etl.sessions is 'who has signed in to the dashboard; each ends with its token';

-- Roles that servers log in as without owning anything. Only the owner writes here: whoever is listed is granted.
create table if not exists etl.server_roles (
  role_name text primary key,
  -- whether runs may create destinations that are missing
  may_create boolean not null default false,
  granted_at timestamptz not null default now()
);
comment on table etl.server_roles is 'roles that servers use; each set-up renews their grants, see etl.grant_server_role';

create table if not exists etl.reader_roles (
  role_name text primary key,
  granted_at timestamptz not null default now()
);
comment on table etl.reader_roles is 'roles that dashboards read with; each set-up renews their grants, see etl.grant_reader_role';

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
