-- Drops the manifests of a run that attempts up to this one have made.
create or replace function etl.drop_manifests(run_id uuid, up_to integer) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
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

-- Makes the manifest of an attempt and drops those of earlier ones. False for an attempt that is the run's no more.
create or replace function etl.create_manifest(run_id uuid, attempt integer, name text) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
begin
  perform from etl.runs as r
    where r.run_id = create_manifest.run_id and r.attempt = create_manifest.attempt and r.state = 'running' for share;
  if not found then
    return false;
  end if;
  perform etl.drop_manifests(run_id, attempt - 1);
  execute format('create unlogged table if not exists etl.%I (event_id text not null, fingerprint bytea not null, version numeric,
    chunk_no integer not null, position integer not null) with (autovacuum_enabled = false)', name);
  return true;
end $$;
