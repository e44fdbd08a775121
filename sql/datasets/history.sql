-- Datasets of which every version of a key is kept (write: history): key and version together are the key of a row, so a row
-- changes only where the same version comes with another content. From when to when a version holds is in two views,
-- <table>_history and <table>_current. A property of the dataset: its rows have other keys than those of an upsert.

-- What is declared as key without the version that a history has at its end.
create or replace function etl.declared_key(declared jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select case when declared -> 'history' = 'true' then (declared -> 'key') - (-1) else declared -> 'key' end
$$;

-- Whether a dataset has rows, or columns that are declared. Into what is no table, or one that runs code of others with the
-- rights of whoever looks (policies, views), it does not look: etl.check_destination refuses it.
create or replace function etl.has_rows(target etl.datasets) returns boolean
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := etl.find_table(target.schema_name, target.table_name);
  found_one boolean;
begin
  if target.declared is not null then
    return true;
  elsif not coalesce((select c.relkind in ('r', 'p') from pg_class as c where c.oid = relation) and etl.is_harmless(relation), false) then
    return false;
  end if;
  execute format('select exists (select from %s)', relation) into found_one;
  return found_one;
end $$;

-- Where a conf cannot write a history, or not into a dataset that is one.
create or replace function etl.history_errors(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  named text := concat_ws('.', params ->> 'schema_name', params ->> 'table_name');
  source jsonb := case jsonb_typeof(params -> 'source') when 'object' then params -> 'source' else '{}' end;
  target etl.datasets;
  errors jsonb := '[]';
begin
  select * into target from etl.datasets as d where d.dataset = named;
  if params ->> 'write' is distinct from 'history' then
    if coalesce(target.history, false) and etl.has_rows(target) then
      errors := errors || jsonb_build_object('field', 'write', 'value', params -> 'write', 'code', 'conflict',
        'message', format('cannot be: %s keeps a history, whose rows have key and version as their key', named),
        'expected', 'history, or another table_name');
    end if;
    return errors;
  end if;
  if source -> 'key' is null then
    errors := errors || jsonb_build_object('field', 'source.key', 'code', 'missing', 'message', 'is missing: a history is that of a key',
      'expected', 'the fields that tell what a version is of');
  end if;
  if jsonb_typeof(source -> 'version') is distinct from 'string' then
    errors := errors || jsonb_build_object('field', 'source.version', 'code', 'missing', 'message', 'is missing: a history needs it',
      'expected', 'the field with the time from which a version holds');
  elsif source -> 'key' @> (source -> 'version') then
    errors := errors || jsonb_build_object('field', 'source.key', 'value', source -> 'key', 'code', 'conflict',
      'message', 'has the version in it', 'expected', 'the key alone: a history adds the version');
  end if;
  if coalesce(params -> 'deleted', 'null') <> 'null' then
    errors := errors || jsonb_build_object('field', 'deleted', 'value', params -> 'deleted', 'code', 'conflict',
      'message', 'cannot be together with write: history, which deletes nothing', 'expected', 'null, or write: upsert');
  end if;
  if length(params ->> 'table_name') > 55 then
    errors := errors || jsonb_build_object('field', 'table_name', 'value', params -> 'table_name', 'code', 'too-long',
      'message', 'is too long for the views of a history', 'expected', 'at most 55 characters');
  end if;
  if target.dataset is not null and not target.history and etl.has_rows(target) then
    errors := errors || jsonb_build_object('field', 'write', 'value', 'history', 'code', 'conflict',
      'message', format('not possible: %s has rows that are not a history', named), 'expected', 'another table_name');
  end if;
  return errors;
end $$;

-- Notes that a dataset keeps a history, for a run that writes one; refuses a run that does not write as its dataset does by now.
-- Runs as the owner of schema etl, for whoever may write into the table.
create or replace function etl.declare_history(run_id uuid) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '2s' as $$
declare
  run etl.runs;
  errors jsonb;
  named text;
begin
  select * into run from etl.runs as r where r.run_id = declare_history.run_id;
  named := run.schema_name || '.' || run.table_name;
  if run.params ->> 'write' <> 'history' and not exists (select from etl.datasets as d where d.dataset = named and d.history) then
    return;
  end if;
  if not run.dry_run then
    perform etl.require_writer(run);
    insert into etl.datasets (dataset, schema_name, table_name) values (named, run.schema_name, run.table_name) on conflict do nothing;
    perform from etl.datasets as d where d.dataset = named for update;
  end if;
  errors := etl.history_errors(run.params, run.origins);
  if errors <> '[]' then
    perform etl.raise_problem('invalid-conf', format('%s %s', errors #>> '{0,field}', errors #>> '{0,message}'), errors);
  end if;
  if run.dry_run then
    return;
  end if;
  update etl.datasets as d set history = run.params ->> 'write' = 'history' where d.dataset = named;
  if run.params ->> 'write' = 'history' then
    perform etl.make_history_views(run.schema_name, run.table_name);
  else
    perform etl.drop_history_views(run.schema_name, run.table_name);
  end if;
end $$;
comment on function etl.declare_history(uuid) is 'notes that a dataset keeps every version of its keys';

-- Whether a view is one of a dataset's history and belongs to this installation, so that nothing else is replaced or dropped.
create or replace function etl.is_history_view(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.relkind = 'v' and (c.relowner = e.nspowner or pg_has_role(e.nspowner, c.relowner, 'usage'))
    and coalesce(obj_description(c.oid, 'pg_class'), '') in ('each version of a key, and from when to when it held', 'the version of each key that holds now')
  from pg_class as c cross join pg_namespace as e where c.oid = relation and e.nspname = 'etl'
$$;

create or replace function etl.drop_history_views(schema_name text, table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  each text;
  dependents text;
begin
  foreach each in array array[table_name || '_current', table_name || '_history'] loop
    if etl.is_history_view(etl.find_table(schema_name, each)) then
      execute format('drop view %I.%I', schema_name, each);
    end if;
  end loop;
exception when dependent_objects_still_exist then
  get stacked diagnostics dependents = pg_exception_detail;
  perform etl.raise_problem('conflict', format('The views of the history of %I.%I would have to be dropped, and other things are built on them: %s. Drop them first and make them again afterwards.',
    schema_name, table_name, replace(dependents, E'\n', '; ')), status => 409);
end $$;

-- Makes the views of a history: each version with valid_from, valid_to (null: none follows) and is_current, and those that hold now.
-- Views that are as they should be are left alone: whoever reads one would hold up each run. With security_invoker a reader needs
-- the right to read the table, and row security asks about him, so that the views themselves may be open to everybody.
create or replace function etl.make_history_views(schema_name text, table_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  relation regclass := etl.find_table(schema_name, table_name);
  declared jsonb := (select d.declared from etl.datasets as d where d.dataset = make_history_views.schema_name || '.' || make_history_views.table_name);
  history text := format('%I.%I', schema_name, table_name || '_history');
  present text := format('%I.%I', schema_name, table_name || '_current');
  keys text;
  begins text;
  extra text := '';
  version_type text;
  each text;
begin
  if not coalesce((select c.relkind in ('r', 'p') from pg_class as c where c.oid = relation), false) then
    return;
  end if;
  foreach each in array array[history, present] loop
    if to_regclass(each) is not null and not etl.is_history_view(to_regclass(each)) then
      perform etl.raise_problem('conflict', format('%s exists and is no view of a history. Give it another name.', each), status => 409);
    end if;
  end loop;
  if not exists (
      select from (values (history), (present)) as v (name)
      where to_regclass(v.name) is null
        or not exists (select from pg_class as c where c.oid = to_regclass(v.name) and 'security_invoker=true' = any (c.reloptions))
        or exists (select from pg_attribute as a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
          and not exists (select from pg_attribute as s where s.attrelid = to_regclass(v.name) and s.attname = a.attname)))
    and exists (select from pg_depend as d join pg_rewrite as r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
      where r.ev_class = to_regclass(history) and d.refobjid = relation) then
    return;
  end if;
  if declared is null then
    -- the version, which is the last part of the key, has no | in it
    keys := 'regexp_replace(t.event_id, ''\|[^|]*$'', '''')';
    extra := keys || ' as key, ';
    begins := '(''epoch''::timestamptz + floor(t.version)::float8 * interval ''1 second'' + ((t.version - floor(t.version)) * 1000000)::float8 * interval ''1 microsecond'')';
  else
    select string_agg(format('t.%I', c.value ->> 'name'), ', ' order by k.place) filter (where k.place < jsonb_array_length(declared -> 'key')),
      max(c.value ->> 'type') filter (where k.place = jsonb_array_length(declared -> 'key')),
      max(format('t.%I', c.value ->> 'name')) filter (where k.place = jsonb_array_length(declared -> 'key'))
      into keys, version_type, begins
    from jsonb_array_elements_text(declared -> 'key') with ordinality as k (path, place)
    join jsonb_array_elements(declared -> 'columns') as c on c.value ->> 'path' = k.path;
    if version_type not in ('timestamptz', 'date') then
      perform etl.raise_problem('invalid-conf', format('The version of a history is a time, and %s is %s. Name a field with a time as source.version.', declared ->> 'version', version_type),
        jsonb_build_array(jsonb_build_object('field', 'source.version', 'value', declared -> 'version', 'message', 'is no time')));
    end if;
    if version_type = 'date' then
      begins := format('(%s::timestamp at time zone %L)', begins, 'UTC');
    end if;
    select string_agg(c.value ->> 'name', ', ') into each from jsonb_array_elements(declared -> 'columns') as c
      where c.value ->> 'name' in ('valid_from', 'valid_to', 'is_current');
    if each is not null then
      perform etl.raise_problem('invalid-conf', format('A history has its own columns valid_from, valid_to and is_current, and the records also have %s. Rename it in a transform.', each));
    end if;
  end if;
  execute format('create or replace view %s with (security_invoker = true) as select %s%s as valid_from, lead(%s) over w as valid_to, lead(%s) over w is null as is_current, t.*
    from %s as t window w as (partition by %s order by %s)', history, extra, begins, begins, begins, relation, keys, begins);
  execute format('create or replace view %s with (security_invoker = true) as select h.* from %s as h where h.is_current', present, history);
  execute format('comment on view %s is %L', history, 'each version of a key, and from when to when it held');
  execute format('comment on view %s is %L', present, 'the version of each key that holds now');
  execute format('grant select on %s, %s to public', history, present);
exception
  when wrong_object_type or invalid_table_definition then
    perform etl.raise_problem('conflict', format('%s or %s exists and is none of a history: %s. Give it another name.', history, present, sqlerrm), status => 409);
  when insufficient_privilege then
    perform etl.raise_problem('missing-grant', format('The views of the history of %s cannot be made (%s). As the owner of the schema: grant usage, create on schema %I to %I',
      relation, sqlerrm, schema_name, current_user));
  when lock_not_available then
    -- somebody reads a view that is of an earlier form: the next run makes it anew
    if to_regclass(history) is null or to_regclass(present) is null then
      perform etl.raise_problem('conflict', format('%s is in use just now, so its views cannot be made. Try again when the queries on it have ended.', relation), status => 409);
    end if;
end $$;
