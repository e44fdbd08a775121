-- Refuses a destination that exists with another shape, saying what differs; what does not exist is no problem.
create or replace function etl.check_destination(schema_name text, table_name text, audit_table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  qualified text := format('%I.%I', schema_name, table_name);
  audit_table text := format('%I.%I', schema_name, audit_table_name);
  missing text;
begin
  perform etl.check_schema(schema_name);
  if to_regclass(qualified) is not null then
    select string_agg(format('%s %s', wanted.name, wanted.type), ', ' order by wanted.place) into missing
    from (values
      (1, 'event_id', 'text'), (2, 'event_type', 'text'), (3, 'occurred_at', 'timestamp with time zone'), (4, 'source', 'text'),
      (5, 'version', 'numeric'), (6, 'payload', 'jsonb'), (7, 'fingerprint', 'bytea'), (8, 'event_date', 'date'),
      (9, 'event_hour', 'smallint'), (10, 'run_id', 'uuid'), (11, 'first_seen_at', 'timestamp with time zone'),
      (12, 'updated_at', 'timestamp with time zone')) as wanted (place, name, type)
    where not exists (
      select from pg_attribute as a
      where a.attrelid = to_regclass(qualified) and a.attname = wanted.name and not a.attisdropped
        and format_type(a.atttypid, null) = wanted.type);
    if missing is not null then
      perform etl.raise_problem('destination-mismatch',
        format('%s exists with another shape: it lacks %s. Name another table_name, or run sql/etl_migration.sql if it is an older installation.', qualified, missing),
        jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'lacks ' || missing)));
    end if;
    if not exists (
      select from pg_index as i
      join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      where i.indrelid = to_regclass(qualified) and i.indisunique and i.indnkeyatts = 1 and i.indpred is null
        and a.attname = 'event_id') then
      perform etl.raise_problem('destination-mismatch',
        format('%s has no primary key or unique index on event_id alone, so an upsert could not find its rows.', qualified),
        jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', table_name, 'message', 'has no unique index on event_id')));
    end if;
  end if;
  if to_regclass(audit_table) is not null and not exists (
    select from pg_attribute as a where a.attrelid = to_regclass(audit_table)
      and a.attname in ('run_id', 'run_label', 'event', 'status', 'actor', 'params', 'details') having count(*) = 7) then
    perform etl.raise_problem('destination-mismatch',
      format('%s exists and is no audit table. Name another audit_table_name.', audit_table),
      jsonb_build_array(jsonb_build_object('field', 'audit_table_name', 'value', audit_table_name, 'message', 'is a table of another shape')));
  end if;
exception when insufficient_privilege then
  perform etl.raise_problem('missing-grant',
    format('Role %I may not look into schema %I. As its owner: grant usage on schema %I to %I', current_user, schema_name, schema_name, current_user),
    jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name, 'message', 'is not open to the role',
      'expected', format('grant usage on schema %I to %I', schema_name, current_user))));
end $$;
