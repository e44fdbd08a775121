-- Typed views: declared columns over the payload, made from etl.datasets.columns.

-- The columns of the table that every typed view begins with.
create or replace function etl.typed_view_fixed() returns text[]
language sql immutable parallel safe
return array['event_id', 'event_type', 'occurred_at', 'source', 'version', 'event_date', 'event_hour',
  'run_id', 'first_seen_at', 'updated_at'];

-- Declared columns with path and type filled in; refuses what cannot be a column, every mistake at once.
create or replace function etl.check_dataset_columns(columns jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  types constant text[] := array['text', 'integer', 'numeric', 'boolean', 'date', 'timestamptz', 'jsonb'];
  aliases constant jsonb := '{"number": "numeric", "bigint": "integer"}';
  errors jsonb := '[]';
  checked jsonb := '[]';
  seen text[] := '{}';
  declared jsonb;
  at text;
  wrong record;
  column_name text;
  column_type text;
begin
  if jsonb_typeof(columns) <> 'array' or jsonb_array_length(columns) not between 1 and 500 then
    perform etl.raise_problem('invalid-conf', 'columns must be a list of 1 to 500 columns: [{"name": "amount", "path": "amount", "type": "numeric"}]',
      jsonb_build_array(jsonb_build_object('field', 'columns', 'message', 'must be a list of 1 to 500 columns', 'expected', '[{name, path, type}]')));
  end if;
  for i in 0 .. jsonb_array_length(columns) - 1 loop
    declared := columns -> i;
    at := format('columns[%s]', i);
    if jsonb_typeof(declared) <> 'object' then
      errors := errors || jsonb_build_object('field', at, 'value', declared, 'message', 'must be an object', 'expected', '{name, path, type}');
      continue;
    end if;
    column_name := case when jsonb_typeof(declared -> 'name') = 'string' then declared ->> 'name' end;
    column_type := coalesce(aliases ->> (declared ->> 'type'), declared ->> 'type');
    for wrong in
      select at || '.' || k.key as field, declared -> k.key as value, 'is no part of a column' as message, 'name, path, type' as expected
      from jsonb_object_keys(declared) as k (key) where k.key not in ('name', 'path', 'type')
      union all
      select at || '.name', declared -> 'name', problem.message, problem.expected from (values
        (coalesce(column_name, '') = '', 'must be the name of a column', 'text'),
        (octet_length(column_name) > 63, 'is too long for a name in PostgreSQL', 'at most 63 bytes'),
        (column_name = any (etl.typed_view_fixed()), 'is a column that every typed view has', 'another name'),
        (column_name = any (seen), 'is the name of two columns', 'another name')) as problem (is_wrong, message, expected)
      where problem.is_wrong
      union all
      select at || '.path', declared -> 'path', 'must be a path into payload', '"properties.mag", with \. for a dot inside a name'
      where declared ? 'path' and (jsonb_typeof(declared -> 'path') <> 'string' or declared ->> 'path' = '')
      union all
      select at || '.type', declared -> 'type', 'is not a column type' ||
          coalesce('; did you mean ' || etl.nearest_name(coalesce(column_type, ''), types) || '?', ''), array_to_string(types, ', ')
      where column_type is null or not column_type = any (types)
    loop
      errors := errors || jsonb_strip_nulls(to_jsonb(wrong));
    end loop;
    seen := seen || column_name;
    checked := checked || jsonb_build_object('name', column_name,
      'path', coalesce(declared ->> 'path', replace(column_name, '.', '\.')), 'type', column_type);
  end loop;
  if errors <> '[]' then
    perform etl.raise_problem('invalid-conf',
      (select string_agg(format('%s %s', e ->> 'field', e ->> 'message'), '; ') from jsonb_array_elements(errors) as e), errors);
  end if;
  return checked;
end $$;

-- The query of a typed view. Fixed columns come first: `create or replace view` can only add at the end.
create or replace function etl.typed_view_sql(schema_name text, table_name text, columns jsonb) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select format('select %s from %I.%I as t', string_agg(c.sql, ', ' order by c.place), schema_name, table_name)
  from (
    select f.place, format('t.%I', f.name)
    from unnest(etl.typed_view_fixed()) with ordinality as f (name, place)
    union all
    select 1000 + d.place, format('%s as %I', case d.value ->> 'type'
        when 'text' then etl.payload_value(d.value ->> 'path', true)
        when 'numeric' then format('etl.to_numeric(%s)', etl.payload_value(d.value ->> 'path', false))
        when 'jsonb' then format('nullif(%s, ''null''::jsonb)', etl.payload_value(d.value ->> 'path', false))
        else format('etl.%s(%s)', case d.value ->> 'type' when 'integer' then 'to_bigint' when 'boolean' then 'to_boolean'
          when 'date' then 'to_date' when 'timestamptz' then 'to_timestamptz' end, etl.payload_value(d.value ->> 'path', true))
      end, d.value ->> 'name')
    from jsonb_array_elements(columns) with ordinality as d (value, place)) as c (place, sql)
$$;

-- Whether a relation is the typed view of this dataset: it is the owner's and its comment says so, so that nothing else
-- is ever replaced.
create or replace function etl.is_typed_view(relation regclass, dataset text) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select c.relkind = 'v' and (c.relowner = n.nspowner or pg_has_role(n.nspowner, c.relowner, 'usage')) and coalesce(obj_description(c.oid, 'pg_class'), '') = format('typed view of dataset %s, made by etl.set_dataset_columns', dataset)
  from pg_class as c cross join pg_namespace as n where c.oid = relation and n.nspname = 'etl'
$$;

-- Drops the typed view of a dataset, if it is there; refuses where something is built on it, naming that. Runs as the
-- owner of schema etl, for whoever may write into the table.
create or replace function etl.drop_typed_view(dataset text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  target etl.datasets;
  source regclass;
  qualified text;
  dependents text;
begin
  select * into target from etl.datasets as d where d.dataset = drop_typed_view.dataset;
  qualified := quote_ident(target.schema_name) || '.' || quote_ident(target.view_name);
  if not coalesce(etl.is_typed_view(to_regclass(qualified), dataset), false) then
    return;
  end if;
  source := to_regclass(quote_ident(target.schema_name) || '.' || quote_ident(target.table_name));
  if not has_table_privilege(session_user, source, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not drop the view %s. As an owner: grant insert on %s to %I', session_user, qualified, source, session_user));
  end if;
  execute format('drop view %s', qualified);
exception
  when dependent_objects_still_exist then
    get stacked diagnostics dependents = pg_exception_detail;
    perform etl.raise_problem('conflict',
      format('%s must be dropped first, but other objects depend on it: %s. Drop these and create them again afterwards; columns added at the end of the list need no drop.',
        qualified, replace(dependents, E'\n', '; ')),
      jsonb_build_array(jsonb_build_object('field', 'columns', 'message', 'other things depend on the view', 'value', dependents)), 409);
  when insufficient_privilege then
    perform etl.raise_problem('missing-grant', format('%s may not be dropped by the owner of schema etl. As its owner: grant %I to %I', qualified,
      (select pg_get_userbyid(c.relowner) from pg_class as c where c.oid = to_regclass(qualified)), current_user));
  when lock_not_available then
    perform etl.raise_problem('conflict',
      format('%s is being read just now, so it cannot be changed. Try again when the queries on it have ended.', qualified), '[]', 409);
end $$;

-- Makes the typed view of a dataset as its row in etl.datasets says, in the transaction of the caller. Nothing is
-- done where it is so already, where no columns are declared, or while the table does not exist.
-- With security_invoker a reader needs the right to read the table, and row security asks about him, so that
-- the view itself may be open to everybody.
-- Runs as the owner of schema etl, for whoever may write into the table, as servers may that own nothing: what it makes
-- is a view of this table under the name of this dataset, and never in the place of anything else.
create or replace function etl.make_typed_view(dataset text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  target etl.datasets;
  source regclass;
  qualified text;
  query text;
  statement text;
  needed text;
begin
  select * into target from etl.datasets as d where d.dataset = make_typed_view.dataset for update;
  source := to_regclass(quote_ident(target.schema_name) || '.' || quote_ident(target.table_name));
  if target.columns is null or source is null then
    return;
  end if;
  if not has_table_privilege(session_user, source, 'insert') then
    raise insufficient_privilege;
  end if;
  qualified := format('%I.%I', target.schema_name, target.view_name);
  query := etl.typed_view_sql(target.schema_name, target.table_name, target.columns);
  if to_regclass(qualified) is not null then
    if not etl.is_typed_view(to_regclass(qualified), dataset) then
      perform etl.raise_problem('conflict',
        format('%s exists and is not the typed view of %s. Give the view another name with `view`.', qualified, dataset),
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', target.view_name, 'message', 'is the name of something else')), 409);
    end if;
    if target.view_sql = query then
      return;
    end if;
  end if;
  statement := format('create or replace view %s with (security_invoker = true) as %s', qualified, query);
  begin
    execute statement;
  -- a column that goes, or gets another name or type: the view has to be another one
  exception when invalid_table_definition then
    perform etl.drop_typed_view(dataset);
    execute statement;
  end;
  execute format('comment on view %s is %L', qualified, format('typed view of dataset %s, made by etl.set_dataset_columns', dataset));
  execute format('grant select on %s to public', qualified);
  update etl.datasets as d set view_sql = query where d.dataset = make_typed_view.dataset;
exception
  when lock_not_available then
    perform etl.raise_problem('conflict',
      format('%s is being read just now, so it cannot be changed. Try again when the queries on it have ended.', qualified), '[]', 409);
  when insufficient_privilege then
    select case
      when not has_table_privilege(session_user, source, 'insert') then format('grant insert on %s to %I', source, session_user)
      when to_regclass(qualified) is null then format('grant usage, create on schema %I to %I', target.schema_name, current_user)
      else (select format('grant %I to %I', pg_get_userbyid(c.relowner), current_user) from pg_class as c where c.oid = to_regclass(qualified))
    end into needed;
    perform etl.raise_problem('missing-grant', format('Role %I may not make the view of %s. As an owner: %s', session_user, dataset, needed),
      jsonb_build_array(jsonb_build_object('field', 'view', 'value', target.view_name, 'message', 'cannot be made by the role', 'expected', needed)));
end $$;

-- Makes the typed views of datasets that are missing or of an older kind: after setup, after a restore, after
-- a table was made again. A view that cannot be made is a warning: it must not keep a run or a setup from going on.
create or replace function etl.refresh_typed_views(only_dataset text default null) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  each text;
begin
  for each in
    select d.dataset from etl.datasets as d
    where d.columns is not null and (only_dataset is null or d.dataset = only_dataset) order by d.dataset
  loop
    begin
      perform etl.make_typed_view(each);
    exception when others then
      raise warning 'the typed view of % could not be made: %', each, sqlerrm;
    end;
  end loop;
end $$;

-- Declares the columns of a dataset, [{name, path, type}], and makes its typed view; null takes both away.
-- view_name: null keeps the name that it has, at first `<table>_typed`. One transaction; answers with the view, quoted.
-- Runs as the owner of schema etl, who alone writes etl.datasets, for whoever may write into the table.
create or replace function etl.set_dataset_columns(
  dataset text, columns jsonb, view_name text default null, actor text default current_user
) returns text
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  source regclass;
  given jsonb := nullif(columns, 'null');
  chosen text;
begin
  select * into target from etl.datasets as d where d.dataset = set_dataset_columns.dataset for update;
  if not found then
    perform etl.raise_problem('not-found',
      format('There is no dataset %s. The first run into a table creates its dataset; `etl dataset list` shows them.', dataset), '[]', 404);
  end if;
  if target.declared is not null then
    perform etl.raise_problem('conflict', format('%s is a typed table: it has its columns itself, and needs no view.', dataset), status => 409);
  end if;
  source := to_regclass(format('%I.%I', target.schema_name, target.table_name));
  if not has_table_privilege(session_user, source, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not declare columns of %s. As an owner: grant insert on %s to %I', session_user, dataset, source, session_user));
  end if;
  if given is null then
    perform etl.drop_typed_view(dataset);
    update etl.datasets as d set columns = null, view_name = null, view_sql = null
    where d.dataset = set_dataset_columns.dataset;
    target.view_name := null;
  else
    given := etl.check_dataset_columns(given);
    chosen := coalesce(view_name, target.view_name, case when octet_length(target.table_name) <= 57 then target.table_name
      else left(target.table_name, 12) || '_' || left(md5(target.table_name), 8) end || '_typed');
    if octet_length(chosen) not between 1 and 63 or chosen = target.table_name then
      perform etl.raise_problem('invalid-conf', 'view must be a name of 1 to 63 bytes that is not the table''s.',
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', chosen, 'message', 'cannot be the name of the view')));
    end if;
    if target.view_name <> chosen then
      perform etl.drop_typed_view(dataset);
    end if;
    begin
      update etl.datasets as d set columns = given, view_name = chosen
      where d.dataset = set_dataset_columns.dataset returning * into target;
    exception when unique_violation then
      perform etl.raise_problem('conflict', format('%I.%I is the typed view of another dataset. Give the view another name with `view`.', target.schema_name, chosen),
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', chosen, 'message', 'is the name of another view')), 409);
    end;
    perform etl.make_typed_view(dataset);
  end if;
  insert into public.etl_improved_audit (event, actor, details)
  values (case when given is null then 'dataset_columns_delete' else 'dataset_columns_put' end, actor,
    jsonb_build_object('dataset', dataset, 'columns', given, 'view', chosen));
  return format('%I.', target.schema_name) || quote_ident(target.view_name);
end $$;
comment on function etl.set_dataset_columns(text, jsonb, text, text) is 'declares the columns of a dataset''s typed view and makes it';

-- Columns that fit the payloads of a dataset: about `sample` rows from all over the table are looked at. Objects are
-- taken apart, up to five deep; a path whose values are not all of one type is text. Answers with
-- {columns, rows, left_out}: left_out are paths beyond the 200 that most rows have.
create or replace function etl.propose_dataset_columns(dataset text, sample integer default 5000) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  estimate double precision;
  result jsonb;
begin
  select * into target from etl.datasets as d where d.dataset = propose_dataset_columns.dataset;
  relation := etl.dataset_table(target.schema_name, target.table_name);
  if relation is null then
    perform etl.raise_problem('not-found',
      format('There is no dataset %s with a table. `etl dataset list` shows them.', dataset), '[]', 404);
  end if;
  if target.declared is not null then
    perform etl.raise_problem('conflict', format('%s is a typed table: it has its columns itself, and needs no view.', dataset), status => 409);
  end if;
  select c.reltuples into estimate from pg_class as c where c.oid = relation;
  execute format($query$
    with recursive looked as materialized (select payload from %s as t %s limit $1),
    leaves (parts, value, depth) as (
      select array[e.key], e.value, 1 from looked, jsonb_each(payload) as e where jsonb_typeof(payload) = 'object'
      union all
      select l.parts || e.key, e.value, l.depth + 1
      from leaves as l, jsonb_each(case when jsonb_typeof(l.value) = 'object' then l.value else '{}' end) as e
      where l.depth < 5 and l.value <> '{}'),
    paths as (
      select parts, count(*) as present, min(jsonb_typeof(value)) as kind, count(distinct jsonb_typeof(value)) as kinds,
        bool_or(jsonb_typeof(value) in ('object', 'array')) as nested,
        -- numbers that bigint holds; times, of which those of ten characters are dates
        bool_and(case when jsonb_typeof(value) = 'number' then etl.to_bigint(value #>> '{}') is not null end) as whole,
        bool_and(case when jsonb_typeof(value) = 'string' then etl.to_timestamptz(value #>> '{}') is not null end) as times,
        bool_and(case when jsonb_typeof(value) = 'string' then length(value #>> '{}') = 10 end) as short
      from leaves where jsonb_typeof(value) <> 'null' and (jsonb_typeof(value) <> 'object' or value = '{}' or depth = 5)
      group by parts),
    typed as (
      select parts, present, case
          when nested then 'jsonb' when kinds > 1 then 'text'
          when kind = 'number' then case when whole then 'integer' else 'numeric' end
          when kind = 'boolean' then 'boolean'
          when times then case when short then 'date' else 'timestamptz' end
          else 'text' end as type,
        btrim(regexp_replace(lower(regexp_replace(array_to_string(parts, '_'), '([a-z0-9])([A-Z])', '\1_\2', 'g')),
          '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', '_', 'g'), '_') as name,
        row_number() over (order by present desc, parts) as place
      from paths),
    -- a name that is too long, taken by a fixed column, a word of SQL, or nothing but signs
    fitting as (
      select t.*, case
          when octet_length(t.name) > 55 then left(t.name, 12) || '_' || left(md5(t.name), 8)
          when t.name = any (etl.typed_view_fixed()) or t.name !~ '^[^0-9]'
            or t.name in (select word from pg_get_keywords() where catcode in ('R', 'T')) then 'payload_' || t.name
          else t.name end as fit
      from typed as t where place <= 200),
    numbered as (
      select f.*, row_number() over (partition by fit order by parts) as same from fitting as f)
    select jsonb_build_object(
      'columns', coalesce(jsonb_agg(jsonb_build_object(
        'name', case when same = 1 then fit else fit || '_' || same end,
        'path', (select string_agg(replace(part, '.', '\.'), '.' order by at) from unnest(parts) with ordinality as p (part, at)),
        'type', type) order by parts), '[]'),
      'rows', (select count(*) from looked),
      'left_out', (select count(*) from typed where place > 200))
    from numbered $query$,
    relation, case when estimate > 4 * sample then format('tablesample system (%s)', 150.0 * sample / estimate) else '' end)
  into result using sample;
  return result;
end $$;
