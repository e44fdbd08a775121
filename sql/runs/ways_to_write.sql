-- What `write: replace` and `write: mirror` need of SQL.

-- What a conf may not ask for together, in the way that it writes.
create or replace function etl.write_errors(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  write text := params ->> 'write';
  source jsonb := params -> 'source';
  marks boolean := params ->> 'on_missing' = 'mark';
  errors jsonb := '[]';
begin
  errors := errors || coalesce((
    select jsonb_agg(jsonb_build_object('field', 'source.' || c.name, 'value', c.value, 'code', 'conflict',
      'message', format('cannot be together with write: %s, which needs all that the source has', write),
      'expected', 'no cursor, or write: upsert'))
    from (values ('cursor', source -> 'cursor'), ('config.cursor', source #> '{config,cursor}'),
      ('config.incremental', source #> '{config,incremental}')) as c (name, value)
    where write in ('replace', 'mirror') and c.value <> 'null'), '[]');
  -- of the synthetic source it says how many records there are
  if write = 'mirror' and origins ->> 'batch_size' in ('request', 'configuration') and source ->> 'type' <> 'synthetic' then
    errors := errors || jsonb_build_object('field', 'batch_size', 'value', params -> 'batch_size', 'code', 'conflict',
      'message', 'cannot be together with write: mirror: rows beyond it would look as if the source had them no more',
      'expected', 'no batch_size');
  end if;
  if write = 'mirror' and not marks and source ->> 'type' = 'module' and coalesce(source ->> 'module', source ->> 'name') = 'rest'
    and coalesce(source #>> '{config,paging,by}', 'none') <> 'none' then
    errors := errors || jsonb_build_object('field', 'on_missing', 'value', params -> 'on_missing', 'code', 'conflict',
      'message', 'cannot be delete for an API that is read page by page: what moves between pages meanwhile is missed, and would be deleted',
      'expected', 'mark');
  end if;
  if params -> 'deleted' <> 'null' and (write = 'append' or source ->> 'key' is null) then
    errors := errors || jsonb_build_object('field', case when write = 'append' then 'deleted' else 'source.key' end,
      'value', case when write = 'append' then params -> 'deleted' end, 'code', 'conflict',
      'message', case when write = 'append' then 'is nothing for write: append, which changes no row'
        else 'is missing: a record that deletes needs the key to delete' end,
      'expected', case when write = 'append' then 'write: upsert' else 'the fields that identify a record' end);
  end if;
  if exists (select from jsonb_array_elements_text(case jsonb_typeof(params -> 'exclude') when 'array' then params -> 'exclude' else '[]' end
      || case jsonb_typeof(params -> 'hash') when 'array' then params -> 'hash' else '[]' end) as p (path)
      where etl.is_within(params #>> '{deleted,field}', p.path)) then
    errors := errors || jsonb_build_object('field', 'deleted.field', 'value', params #> '{deleted,field}', 'code', 'conflict',
      'message', 'is left out or hashed, so no record can be recognized as a deletion', 'expected', 'a field that is neither');
  end if;
  if marks and write <> 'mirror' then
    errors := errors || jsonb_build_object('field', 'on_missing', 'value', params -> 'on_missing', 'code', 'conflict',
      'message', format('is for write: mirror, and this is write: %s', write), 'expected', 'write: mirror');
  end if;
  if write not in ('mirror', 'replace') and origins ->> 'max_delete_ratio' in ('request', 'configuration') then
    errors := errors || jsonb_build_object('field', 'max_delete_ratio', 'value', params -> 'max_delete_ratio', 'code', 'conflict',
      'message', format('is for write: mirror, and write: %s deletes nothing', write), 'expected', 'write: mirror');
  end if;
  return errors;
end $$;

-- Gives the table of a mirror the column in which it marks rows. Runs as the owner of schema etl, who owns the table, for
-- whoever may write into it.
create or replace function etl.add_mark_column(run_id uuid) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '10s' as $$
declare
  run etl.runs;
  relation regclass;
begin
  select * into run from etl.runs as r where r.run_id = add_mark_column.run_id and r.state = 'running'
    and r.params ->> 'write' = 'mirror' and r.params ->> 'on_missing' = 'mark' and not r.dry_run;
  if not found then
    raise invalid_parameter_value using message = format('run %s marks nothing', run_id);
  end if;
  relation := to_regclass(format('%I.%I', run.schema_name, run.table_name));
  if relation is null or etl.marks_rows(relation) then
    return;
  end if;
  if not has_table_privilege(session_user, relation, 'insert') or not etl.is_trusted(relation)
    or not exists (select from etl.datasets as d where d.schema_name = run.schema_name and d.table_name = run.table_name) then
    perform etl.raise_problem('missing-grant', format('%s has no column _etl_deleted_at, in which rows are marked. As its owner: alter table %s add column _etl_deleted_at timestamptz',
      relation, relation));
  end if;
  execute format('alter table %s add column if not exists _etl_deleted_at timestamptz', relation);
end $$;

-- Whether a table has the column in which a mirror marks rows that its source no longer has.
create or replace function etl.marks_rows(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select exists (select from pg_attribute as a where a.attrelid = relation and a.attname = '_etl_deleted_at'
    and not a.attisdropped and a.atttypid = 'timestamptz'::regtype)
$$;
