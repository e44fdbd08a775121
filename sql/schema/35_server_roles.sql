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
