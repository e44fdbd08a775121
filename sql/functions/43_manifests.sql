-- Manifests are made, analysed and dropped as the owner of schema etl: a server's role may create nothing there, since
-- what it created could be taken for one of the owner's functions.

-- Drops the manifests of a run that attempts up to this one have made.
create or replace function etl.drop_manifests(run_id uuid, up_to integer) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  prefix text := format('manifest_%s_', replace(run_id::text, '-', ''));
  manifest text;
begin
  for manifest in
    select c.relname from pg_class as c
    where c.relnamespace = 'etl'::regnamespace and c.relkind = 'r' and starts_with(c.relname, prefix)
      and substr(c.relname, length(prefix) + 1) ~ '^[0-9]+$' and substr(c.relname, length(prefix) + 1)::integer <= up_to
  loop
    execute format('drop table if exists etl.%I', manifest);
  end loop;
end $$;

-- Drops the manifests of runs that have ended, which a server that died has left.
create or replace function etl.drop_leftover_manifests() returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  manifest text;
begin
  for manifest in
    select c.relname from pg_class as c
    where c.relnamespace = 'etl'::regnamespace and c.relkind = 'r' and c.relname ~ '^manifest_[0-9a-f]{32}_[0-9]+$'
      and not exists (
        select from etl.runs as r where r.state in ('queued', 'running')
          and replace(r.run_id::text, '-', '') = substr(c.relname, 10, 32))
  loop
    execute format('drop table if exists etl.%I', manifest);
  end loop;
end $$;

-- Tells the planner what a manifest holds.
create or replace function etl.analyze_manifest(name text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
begin
  if name !~ '^manifest_[0-9a-f]{32}_[0-9]+$' then
    raise invalid_parameter_value using message = format('%s is no manifest', name);
  end if;
  execute format('analyze etl.%I', name);
end $$;

-- Makes the manifest of an attempt and drops those of earlier ones. False for an attempt that is the run's no more.
create or replace function etl.create_manifest(run_id uuid, attempt integer, name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
begin
  if name is distinct from format('manifest_%s_%s', replace(run_id::text, '-', ''), attempt) then
    raise invalid_parameter_value using message = format('%s is not the manifest of attempt %s of run %s', name, attempt, run_id);
  end if;
  perform from etl.runs as r
    where r.run_id = create_manifest.run_id and r.attempt = create_manifest.attempt and r.state = 'running' for share;
  if not found then
    return false;
  end if;
  perform etl.drop_manifests(run_id, attempt - 1);
  execute format('create unlogged table if not exists etl.%I (event_id text not null, fingerprint bytea not null, version numeric,
    chunk_no integer not null, position integer not null) with (autovacuum_enabled = false)', name);
  -- any server may work on any run
  execute (select coalesce(string_agg(format('grant select, insert, truncate on etl.%I to %I', name, s.role_name), ';'), 'select')
    from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name);
  return true;
end $$;
