-- What a restore does before the data: checks, creates what is missing, empties what the backup holds.
-- Follows `insert into pg_temp.etl_restore (manifest)`. A backup carries this text for psql; `deno task restore`
-- runs its own, the same. Everything is in one transaction.
do $etl_restore$
declare
  manifest jsonb := (select r.manifest from pg_temp.etl_restore as r);
  each record;
  missing text;
begin
  -- what runs with the owner's rights takes no name from a schema that others may create in
  perform set_config('search_path', 'pg_catalog, pg_temp', true);
  -- nobody can ask for a run from here on
  lock table etl.runs in access exclusive mode;
  if exists (select from etl.runs as r where r.state in ('queued', 'running')) then
    perform etl.raise_problem('conflict', format('Runs are active (%s), and a restore would pull their rows from under them. Wait for them or cancel them, then restore again.',
      (select string_agg(a.run_id::text, ', ') from (select r.run_id from etl.runs as r where r.state in ('queued', 'running')
        order by r.requested_at limit 5) as a)), status => 409);
  end if;

  -- what was registered after the backup keeps its place: its table is not touched
  create temp table etl_restore_datasets on commit drop as select * from etl.datasets;
  for each in
    select d.* from jsonb_to_recordset(manifest -> 'destinations') as d (schema_name text, table_name text, audit_table_name text, declared jsonb)
  loop
    perform etl.ensure_destination(each.schema_name, case when each.declared is null then each.table_name end, each.audit_table_name);
    if each.declared is not null and to_regclass(format('%I.%I', each.schema_name, each.table_name)) is null then
      perform etl.make_typed_table(each.schema_name, each.table_name, each.declared);
    end if;
  end loop;

  create temp table etl_restore_tables on commit drop as
  select t.ordinality as place, t.value ->> 'kind' as kind, t.value -> 'columns' as columns, t.value -> 'identity' as identity,
    format('%I.%I', t.value ->> 'schema_name', t.value ->> 'table_name') as qualified,
    to_regclass(format('%I.%I', t.value ->> 'schema_name', t.value ->> 'table_name')) as relation
  from jsonb_array_elements(manifest -> 'tables') with ordinality as t;
  for each in
    select t.qualified, t.relation, t.kind, c.name, c.type
    from pg_temp.etl_restore_tables as t cross join jsonb_to_recordset(t.columns) as c (name text, type text)
    where not exists (
      select from pg_attribute as a where a.attrelid = t.relation and a.attname = c.name and not a.attisdropped and a.attgenerated = '')
    order by t.place
  loop
    -- a column that somebody has added to a destination table; to_regtype knows types only
    if each.kind = 'destination' and each.relation is not null and to_regtype(each.type) is not null then
      execute format('alter table %s add column %I %s', each.qualified, each.name, each.type);
    else
      missing := concat_ws(', ', missing, format('%s.%I', each.qualified, each.name));
    end if;
  end loop;
  if missing is not null then
    perform etl.raise_problem('conflict', format('The backup contains columns that this database lacks: %s. It was made by a newer version: run `deno task setup-db` of that version first.', missing),
      status => 409);
  end if;

  -- counting, delivering and guarding happened when the rows were first written
  create temp table etl_restore_triggers on commit drop as
  select t.tgrelid::regclass as relation, t.tgname as name from pg_trigger as t
  join pg_temp.etl_restore_tables as r on r.relation = t.tgrelid
  where not t.tgisinternal and t.tgenabled = 'O';
  for each in select * from pg_temp.etl_restore_triggers loop
    execute format('alter table only %s disable trigger %I', each.relation, each.name);
  end loop;

  -- with what refers to it in schema etl, e.g. logs of runs; what refers to it elsewhere stops the restore
  with recursive emptied as (
    select t.relation::oid as relation from pg_temp.etl_restore_tables as t
    union
    select c.conrelid from emptied as e
    join pg_constraint as c on c.confrelid = e.relation and c.contype = 'f'
    join pg_class as k on k.oid = c.conrelid and k.relnamespace = 'etl'::regnamespace
  )
  select string_agg(case c.relkind when 'p' then '' else 'only ' end || e.relation::regclass, ', ') into missing
  from emptied as e join pg_class as c on c.oid = e.relation;
  execute 'truncate ' || missing;
end $etl_restore$;
