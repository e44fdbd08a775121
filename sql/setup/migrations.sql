-- Which numbered migrations the database has had, and which versions have set it up.
create schema if not exists etl;

create table if not exists etl.migrations (
  name text primary key constraint migrations_name_form check (name ~ '^\d{4}_[a-z0-9_]+$'),
  -- SHA-256 of the file
  checksum text not null,
  -- false where the schema was new, so that there was nothing to change
  executed boolean not null,
  applied_at timestamptz not null default clock_timestamp(),
  applied_by text not null default session_user
);
comment on table etl.migrations is 'numbered migrations (sql/migrations) that this database has had';

create table if not exists etl.setups (
  -- of etl_setup.sql, which a server compares with its own
  checksum text primary key,
  first_applied_at timestamptz not null default clock_timestamp(),
  applied_at timestamptz not null default clock_timestamp(),
  applied_by text not null default session_user
);
comment on table etl.setups is 'versions of etl_setup.sql that have been applied; the last applied one is the database''s';

-- Carries a migration out, once. Its row comes first, so that of two at once one waits. A new schema needs none.
create or replace function etl.apply_migration(name text, checksum text, statements text) returns void
language plpgsql set client_min_messages = warning as $$
declare
  earlier etl.migrations;
  refusal text;
  is_new boolean := to_regclass('etl.runs') is null;
begin
  insert into etl.migrations (name, checksum, executed) values (apply_migration.name, apply_migration.checksum, not is_new)
  on conflict on constraint migrations_pkey do nothing;
  if found then
    if not is_new then execute statements; end if;
    return;
  end if;
  select * into earlier from etl.migrations as m where m.name = apply_migration.name;
  if earlier.checksum <> apply_migration.checksum then
    refusal := format('Migration %s was changed after this database had it (%s). Migrations are never changed: restore the file and write another.',
      name, to_char(earlier.applied_at at time zone 'UTC', 'YYYY-MM-DD'));
    raise exception '%', refusal using errcode = 'ET409',
      detail = jsonb_build_object('type', 'conflict', 'status', 409, 'detail', refusal, 'errors', '[]'::jsonb)::text;
  end if;
end $$;

-- Refuses to set up a database that a newer version has migrated.
create or replace function etl.require_known_migrations(known text[]) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  newer text;
  refusal text;
begin
  select string_agg(m.name, ', ' order by m.name) into newer from etl.migrations as m where m.name <> all (known);
  if newer is null then return; end if;
  refusal := format('The database is newer than this program, which does not know its migrations %s. Use the version that made them, or a later one.', newer);
  raise exception '%', refusal using errcode = 'ET409',
    detail = jsonb_build_object('type', 'conflict', 'status', 409, 'detail', refusal, 'errors', '[]'::jsonb)::text;
end $$;
