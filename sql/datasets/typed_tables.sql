-- Typed tables: a column for each field of a record. What a dataset has declared is in etl.datasets.declared:
-- {source, key, version, occurred_at, columns: [{name, path, type}], reading: {columns, null_values, …} as the first conf had
-- them, where they say more of the values than their type}; null: its rows are events.

-- Whether a table has the columns by which rows of a typed table are told and compared.
create or replace function etl.is_typed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select count(*) = 4 from pg_attribute as a join pg_class as c on c.oid = a.attrelid
  where a.attrelid = relation and not a.attisdropped and c.relkind in ('r', 'p')
    and (a.attname, format_type(a.atttypid, null)) in (('_etl_run_id', 'uuid'), ('_etl_fingerprint', 'bytea'),
      ('_etl_first_seen_at', 'timestamp with time zone'), ('_etl_updated_at', 'timestamp with time zone'))
$$;

-- A type of a column in the one form in which it is stored.
create or replace function etl.plain_type(type text) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select case replace(type, ' ', '') when 'number' then 'numeric' when 'bigint' then 'integer' else replace(type, ' ', '') end
$$;

-- What a dataset has declared of how the values of its source are read, for a source of a type; types as its table has them now.
create or replace function etl.declared_reading(declared jsonb, source_type text) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select (declared -> 'reading') - 'columns' - case when source_type in ('postgres', 'module') then '' else 'read_columns' end
    || jsonb_build_object('columns', coalesce((
      select jsonb_object_agg(r.key, case
        when c.value is null or declared -> 'own' = 'true' then r.value
        when jsonb_typeof(r.value) = 'object' then r.value || jsonb_build_object('type', c.value -> 'type')
        else c.value -> 'type' end)
      from jsonb_each(declared #> '{reading,columns}') as r
      left join jsonb_array_elements(declared -> 'columns') as c on c.value ->> 'path' = replace(r.key, '.', '\.')), '{}'))
$$;

-- The parameters of a run into a typed table with what its dataset has declared and the conf leaves out.
create or replace function etl.with_declaration(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  declared jsonb := (select d.declared from etl.datasets as d where d.dataset = concat_ws('.', params ->> 'schema_name', params ->> 'table_name'));
  part text;
  reading jsonb;
begin
  params := etl.with_private_fields(params, origins);
  if origins ->> 'write' = 'default' and exists (
      select from etl.datasets as d where d.dataset = concat_ws('.', params ->> 'schema_name', params ->> 'table_name') and d.history) then
    params := jsonb_set(params, '{write}', '"history"');
  end if;
  if declared is null then
    return params;
  end if;
  declared := jsonb_set(declared, '{key}', etl.declared_key(declared));
  if origins ->> 'layout' = 'default' then
    params := jsonb_set(params, '{layout}', '"typed"');
  end if;
  foreach part in array array['key', 'version', 'occurred_at'] loop
    if jsonb_typeof(params -> 'source') = 'object' and params #> array['source', part] is null and declared -> part <> 'null' then
      params := jsonb_set(params, array['source', part], case when part = 'key' and jsonb_array_length(declared -> part) = 1
        then declared #> '{key,0}' else declared -> part end);
    end if;
  end loop;
  reading := etl.declared_reading(declared, params #>> '{source,type}');
  if reading is not null and params #>> '{source,type}' <> 'synthetic' and coalesce(jsonb_typeof(params #> '{source,columns}'), 'object') = 'object' then
    params := jsonb_set(params, '{source}', reading || (params -> 'source')
      || jsonb_build_object('columns', (reading -> 'columns') || coalesce(params #> '{source,columns}', '{}')));
  end if;
  return params;
end $$;

-- Where a conf contradicts what its dataset has declared.
create or replace function etl.declaration_errors(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  named text := concat_ws('.', params ->> 'schema_name', params ->> 'table_name');
  declared jsonb := (select d.declared from etl.datasets as d where d.dataset = named);
  relation regclass;
  errors jsonb := '[]';
  given_key jsonb := params #> '{source,key}';
  owner text := etl.source_name(params, params ->> 'run_label');
begin
  if declared is null then
    if params ->> 'layout' = 'typed' then
      relation := etl.find_table(params ->> 'schema_name', params ->> 'table_name');
      if relation is not null then
        errors := errors || etl.own_table_errors(relation, params);
      end if;
    end if;
    return errors;
  end if;
  declared := jsonb_set(declared, '{key}', etl.declared_key(declared));
  select errors || coalesce(jsonb_agg(jsonb_build_object('field', e.field, 'value', e.value, 'code', 'conflict',
      'message', 'is not what ' || named || ' has declared',
      'expected', format('%s, or omit it; `etl dataset alter %s` shows what can be changed', e.expected, named))), '[]') into errors
  from (
    select 'layout' as field, params -> 'layout' as value, '"typed"' as expected
    where origins ->> 'layout' <> 'default' and params ->> 'layout' <> 'typed'
    union all
    select 'source.name', to_jsonb(owner), format('%s: a typed table belongs to one source', declared -> 'source') where owner <> declared ->> 'source'
    union all
    select 'source.key', given_key, coalesce(nullif(declared -> 'key', 'null')::text, 'no key')
    where given_key is not null and case jsonb_typeof(given_key) when 'array' then given_key else jsonb_build_array(given_key) end <> declared -> 'key'
    union all
    select 'source.version', params #> '{source,version}', coalesce(nullif(declared -> 'version', 'null')::text, 'no version')
    where params #> '{source,version}' is not null and params #> '{source,version}' <> declared -> 'version'
    union all
    select 'source.occurred_at', params #> '{source,occurred_at}', (declared -> 'occurred_at')::text
    where params #> '{source,occurred_at}' is not null and declared -> 'occurred_at' not in ('null', params #> '{source,occurred_at}')
    union all
    select 'source.columns.' || given.name, given.value, to_jsonb(c.value ->> 'type')::text
    from jsonb_each(case jsonb_typeof(params #> '{source,columns}') when 'object' then params #> '{source,columns}' else '{}' end) as given (name, value)
    join jsonb_array_elements(declared -> 'columns') as c on c.value ->> 'path' = replace(given.name, '.', '\.')
    where not coalesce((declared -> 'own')::boolean, false)
      and etl.plain_type(coalesce(given.value ->> 'type', case jsonb_typeof(given.value) when 'string' then given.value #>> '{}' end)) <> c.value ->> 'type'
    union all
    select 'source.columns.' || given.name || '.column', given.value -> 'column', to_jsonb(c.value ->> 'name')::text
    from jsonb_each(case jsonb_typeof(params #> '{source,columns}') when 'object' then params #> '{source,columns}' else '{}' end) as given (name, value)
    join jsonb_array_elements(declared -> 'columns') as c on c.value ->> 'path' = replace(given.name, '.', '\.')
    where given.value ->> 'column' <> c.value ->> 'name') as e;
  return errors;
end $$;

-- The events table of a run; null for a typed one, whose table its first load makes.
create or replace function etl.event_table(run etl.runs) returns text
language sql immutable set search_path = pg_catalog, etl, pg_temp as $$
  select case when run.params ->> 'layout' is distinct from 'typed' then run.table_name end
$$;

-- Makes what a run writes to, or refuses what is there with another shape; `make` false only looks.
-- The columns of a new typed table are known when its first load has looked at the data (etl.declare_dataset).
create or replace function etl.prepare_destination(run etl.runs, make boolean) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  typed boolean := run.params ->> 'layout' = 'typed';
  relation regclass;
begin
  if etl.loads_own(run) then
    -- the server that loads it checks it (etl.check_own_table): nobody writes to it here, nor makes tables beside it
    perform etl.check_schema(run.schema_name);
    return;
  elsif make then
    perform etl.ensure_destination(run.schema_name, etl.event_table(run), run.audit_table_name);
  else
    perform etl.check_destination(run.schema_name, etl.event_table(run), run.audit_table_name);
  end if;
  if typed then
    perform etl.check_schema(run.schema_name);
    relation := to_regclass(format('%I.%I', run.schema_name, run.table_name));
    if relation is not null and not etl.is_typed(relation) then
      perform etl.raise_problem('destination-mismatch', format('%s exists and is not a typed table created by a run. Choose another table_name.', relation),
        jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', run.table_name, 'message', 'is a table of another shape')));
    end if;
    if relation is not null and not etl.is_trusted(relation) then
      perform etl.raise_problem('destination-mismatch', format('%s belongs to another role than %I, and this request has the rights of %I, with which triggers of the table would run. Make the request as a server''s role (docs/database_role.md).',
        relation, etl.owner(), current_user));
    end if;
  end if;
end $$;

-- Whether {name, path, type} can be a column of a typed table.
create or replace function etl.is_column(declared jsonb) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select octet_length(declared ->> 'name') between 1 and 63 and declared ->> 'name' not like '\_etl\_%' and declared ->> 'path' is not null
    and declared ->> 'type' ~ '^(text|integer|boolean|date|timestamptz|jsonb|numeric(\([1-9][0-9]{0,3}(,[0-9]{1,4})?\))?)$'
$$;

-- Makes a typed table and notes its dataset. Raises invalid-conf for columns that cannot be.
create or replace function etl.make_typed_table(schema_name text, table_name text, declared jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp set client_min_messages = warning as $$
declare
  qualified text := format('%I.%I', schema_name, table_name);
  short text := case when length(table_name) <= 45 then table_name else left(table_name, 36) || '_' || left(md5(table_name), 8) end;
  definition text;
  wrong text;
  keys text;
begin
  perform etl.check_schema(schema_name);
  if jsonb_typeof(declared -> 'columns') is distinct from 'array' or jsonb_array_length(declared -> 'columns') not between 1 and 1500 then
    perform etl.raise_problem('invalid-conf', 'A typed table has 1 to 1,500 columns.');
  end if;
  select string_agg(format('%s (type %s)', c.value ->> 'name', c.value ->> 'type'), '; ') into wrong
  from jsonb_array_elements(declared -> 'columns') as c where not coalesce(etl.is_column(c.value), false);
  if wrong is not null then
    perform etl.raise_problem('invalid-conf', format('These cannot be columns: %s', wrong));
  end if;
  select string_agg(format('%I %s', c.value ->> 'name', case c.value ->> 'type' when 'integer' then 'bigint' else c.value ->> 'type' end), ', ' order by c.place) into definition
  from jsonb_array_elements(declared -> 'columns') with ordinality as c (value, place);
  if jsonb_typeof(declared -> 'key') = 'array' then
    select string_agg(format('%I', c.value ->> 'name'), ', ' order by k.place),
      string_agg(k.path, ', ') filter (where c.value is null or c.value ->> 'type' = 'jsonb') into keys, wrong
    from jsonb_array_elements_text(declared -> 'key') with ordinality as k (path, place)
    left join jsonb_array_elements(declared -> 'columns') as c on c.value ->> 'path' = k.path;
    if wrong is not null or keys is null then
      perform etl.raise_problem('invalid-conf', format('%s cannot be the key of a typed table: it is an object, a list, or no field.', wrong),
        jsonb_build_array(jsonb_build_object('field', 'source.key', 'value', declared -> 'key', 'message', 'is not a value that can identify rows')));
    end if;
  else
    definition := '_etl_key text, ' || definition;
    keys := '_etl_key';
  end if;
  execute format('create table %s (%s, _etl_first_seen_at timestamptz not null default now(), _etl_updated_at timestamptz not null default now(),
    _etl_run_id uuid, _etl_fingerprint bytea%s, primary key (%s))', qualified, definition,
    case when declared -> 'version' <> 'null' then ', _etl_version numeric' else '' end, keys);
  execute format('create index %I on %s using brin (_etl_updated_at)', short || '_etl_updated_at', qualified);
  execute format('comment on table %s is %L', qualified, 'rows loaded by etl_improved');
  -- what was deleted from an earlier table of this name
  delete from etl.tombstones as t where t.dataset = schema_name || '.' || table_name;
  insert into etl.datasets (dataset, schema_name, table_name, declared)
  values (schema_name || '.' || table_name, schema_name, table_name, declared)
  -- a table that is made anew is cleaned as the one before
  on conflict (dataset) do update set declared = excluded.declared, columns = null, view_name = null, view_sql = null,
    fingerprints_from = null, maintained = datasets.maintained and datasets.declared is not null;
  perform etl.grant_destination(s.role_name, schema_name, table_name)
  from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name;
  if declared -> 'history' = 'true' then
    update etl.datasets as d set history = true
    where d.dataset = make_typed_table.schema_name || '.' || make_typed_table.table_name;
    perform etl.make_history_views(schema_name, table_name);
  end if;
end $$;

-- Notes what the first load of a typed table declares, and makes the table; answers what holds: what an earlier load has
-- declared stays. Runs as the owner of schema etl, for whoever may create something in the schema.
create or replace function etl.declare_dataset(run_id uuid, declared jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
  known jsonb;
  relation regclass;
begin
  select * into run from etl.runs as r where r.run_id = declare_dataset.run_id and r.state = 'running';
  if not found then
    raise invalid_parameter_value using message = format('run %s is not running', run_id);
  end if;
  perform pg_advisory_xact_lock(hashtextextended(format('etl destination %I.%I', run.schema_name, run.table_name), 0));
  select d.declared into known from etl.datasets as d where d.dataset = run.schema_name || '.' || run.table_name;
  relation := etl.find_table(run.schema_name, run.table_name);
  if relation is not null and known is not null then
    return known;
  elsif relation is not null then
    return etl.declare_own_table(run, declare_dataset.declared);
  elsif (known -> 'own')::boolean then
    perform etl.raise_problem('destination-mismatch', format('%I.%I no longer exists: it was its owner''s table, which runs do not create.', run.schema_name, run.table_name));
  elsif not has_schema_privilege(session_user, run.schema_name, 'create') then
    perform etl.raise_problem('missing-grant', format('%I.%I does not exist and role %I may not create it. As the owner of the schema: grant usage, create on schema %I to %I',
      run.schema_name, run.table_name, session_user, run.schema_name, session_user));
  end if;
  known := coalesce(known, declare_dataset.declared);
  perform etl.make_typed_table(run.schema_name, run.table_name, known);
  perform etl.audit(run, 'dataset_declared', run.requested_by, jsonb_build_object('declared', known));
  return known;
end $$;
comment on function etl.declare_dataset(uuid, jsonb) is 'notes what the first load of a typed table declares, and makes the table';

-- Tells the planner what a typed table holds, after its first load. Runs as the owner of schema etl, for whoever may write into it.
create or replace function etl.analyze_dataset(dataset text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := (select etl.find_table(d.schema_name, d.table_name) from etl.datasets as d
    where d.dataset = analyze_dataset.dataset and d.declared is not null);
begin
  if relation is null or not etl.is_trusted(relation) or not has_table_privilege(session_user, relation, 'insert') then
    return;
  end if;
  execute format('analyze %s', relation);
end $$;

-- Has etl_maintenance delete the old rows of a dataset, or no longer. Of a typed table age_column, a timestamptz or a date,
-- tells a row's age; a row that has none there is as old as _etl_first_seen_at says. For the owner of the installation.
create or replace function etl.maintain_dataset(dataset text, age_column text default null, maintained boolean default true) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  known text;
begin
  select * into target from etl.datasets as d where d.dataset = maintain_dataset.dataset for update;
  if not found then
    perform etl.raise_problem('not-found', format('There is no dataset %s. `etl dataset list` shows them.', dataset), status => 404);
  elsif maintained and (target.declared -> 'own')::boolean then
    perform etl.raise_problem('invalid-conf', format('%s is a table of its owner, who deletes its rows: retention does not touch it.', dataset));
  elsif target.declared is null and age_column is not null then
    perform etl.raise_problem('invalid-conf', format('%s is a table of events, whose age occurred_at tells: leave the column out.', dataset));
  elsif maintained and target.declared is not null then
    select string_agg(c.value ->> 'name', ', ' order by c.place), max(c.value ->> 'name') filter (where c.value ->> 'name' = maintain_dataset.age_column)
      into known, age_column
    from jsonb_array_elements(target.declared -> 'columns') with ordinality as c (value, place) where c.value ->> 'type' in ('timestamptz', 'date');
    if age_column is null then
      perform etl.raise_problem('invalid-conf', format('Name the column of %s that tells the age of its rows, a time or a day: %s.', dataset, coalesce(known, 'it has none')));
    end if;
  end if;
  update etl.datasets as d set maintained = maintain_dataset.maintained, age_column = case when maintain_dataset.maintained then maintain_dataset.age_column end
  where d.dataset = maintain_dataset.dataset;
  insert into public.etl_improved_audit (event, actor, details)
  values ('dataset_maintained', current_user, jsonb_build_object('dataset', dataset, 'maintained', maintained, 'age_column', age_column));
end $$;
comment on function etl.maintain_dataset(text, text, boolean) is 'has etl_maintenance delete the old rows of a dataset; of a typed table by the age that a column tells';

-- Adds columns to a typed table, [{name, path, type}] (those that are there already are left alone), and gives columns wider
-- types, {name: type}, where no value changes by it. Answers what the dataset declares from then on. Runs as the owner of schema
-- etl, who owns the table, for whoever may write into it.
create or replace function etl.alter_dataset(dataset text, add jsonb, types jsonb default '{}', actor text default session_user, run_id uuid default null) returns jsonb
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '10s' as $$
declare
  target etl.datasets;
  relation regclass;
  each record;
  fresh jsonb;
  wrong text;
begin
  select * into target from etl.datasets as d where d.dataset = alter_dataset.dataset for update;
  if target.declared is null then
    perform etl.raise_problem('not-found', format('There is no typed dataset %s. `etl dataset list` shows them.', dataset), status => 404);
  end if;
  relation := etl.find_table(target.schema_name, target.table_name);
  if (target.declared -> 'own')::boolean then
    return etl.alter_own_dataset(target, coalesce(add, '[]'), coalesce(types, '{}'), actor, run_id);
  end if;
  if relation is not null and not has_table_privilege(session_user, relation, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not change %s. As an owner: grant insert on %s to %I', session_user, dataset, relation, session_user));
  end if;
  relation := etl.dataset_table(target.schema_name, target.table_name, writes => true);
  select coalesce(jsonb_agg(a.value || jsonb_build_object('type', etl.plain_type(a.value ->> 'type'))), '[]') into fresh from jsonb_array_elements(coalesce(add, '[]')) as a
  where not exists (select from jsonb_array_elements(target.declared -> 'columns') as c where c.value ->> 'path' = a.value ->> 'path');
  select string_agg(format('%s: a column has a type of text, integer, numeric, numeric(p,s), boolean, date, timestamptz or jsonb, not %s', a.value ->> 'name', a.value ->> 'type'), '; ')
    into wrong from jsonb_array_elements(fresh) as a where not coalesce(etl.is_column(a.value), false);
  select concat_ws('; ', wrong, string_agg(format('%s: %s', t.name, case when c.value is null then 'is not a column of the table'
      else 'integer becomes numeric, date becomes timestamptz, numeric(p,s) becomes numeric, and nothing else keeps every value' end), '; '))
    into wrong
  from jsonb_each_text(coalesce(types, '{}')) as t (name, type)
  left join jsonb_array_elements(target.declared -> 'columns') as c on c.value ->> 'name' = t.name
  where c.value is null or (c.value ->> 'type', etl.plain_type(t.type)) not in (('integer', 'numeric'), ('date', 'timestamptz'))
    and not (c.value ->> 'type' like 'numeric(%' and etl.plain_type(t.type) = 'numeric') and c.value ->> 'type' <> etl.plain_type(t.type);
  if jsonb_array_length(target.declared -> 'columns') + jsonb_array_length(fresh) > 1500 then
    wrong := format('A typed table has at most 1,500 columns, and %s would have %s.', dataset, jsonb_array_length(target.declared -> 'columns') + jsonb_array_length(fresh));
  end if;
  if wrong <> '' then
    perform etl.raise_problem('invalid-conf', wrong);
  end if;
  if target.history and types <> '{}' then
    perform etl.drop_history_views(target.schema_name, target.table_name);
  end if;
  for each in select a.value ->> 'name' as name, a.value ->> 'type' as type from jsonb_array_elements(fresh) as a loop
    if relation is not null then
      execute format('alter table %s add column %I %s', relation, each.name, case each.type when 'integer' then 'bigint' else each.type end);
    end if;
  end loop;
  for each in select t.name, etl.plain_type(t.type) as type from jsonb_each_text(coalesce(types, '{}')) as t (name, type) loop
    if relation is not null then
      execute format('alter table %s alter column %I type %s using %s', relation, each.name, each.type,
        case each.type when 'timestamptz' then format('%I::timestamp at time zone ''UTC''', each.name) else quote_ident(each.name) || '::' || each.type end);
    end if;
  end loop;
  update etl.datasets as d set declared = jsonb_set(d.declared, '{columns}', (
      select jsonb_agg(case when types ? (c.value ->> 'name') then c.value || jsonb_build_object('type', etl.plain_type(types ->> (c.value ->> 'name'))) else c.value end order by c.place)
      from jsonb_array_elements(d.declared -> 'columns') with ordinality as c (value, place)) || fresh)
  where d.dataset = alter_dataset.dataset returning * into target;
  if target.history then
    perform etl.make_history_views(target.schema_name, target.table_name);
  end if;
  if fresh <> '[]' or coalesce(types, '{}') <> '{}' then
    insert into public.etl_improved_audit (run_id, event, actor, details)
    values (alter_dataset.run_id, 'dataset_altered', actor, jsonb_build_object('dataset', dataset, 'added', fresh, 'types', coalesce(types, '{}')));
  end if;
  return target.declared;
exception
  when lock_not_available then
    perform etl.raise_problem('conflict', format('%s is in use just now, so its columns cannot be changed. Try again when the queries on it have ended.', relation), status => 409);
  when feature_not_supported or dependent_objects_still_exist then
    -- a view that uses a column, of the table or of its history
    get stacked diagnostics wrong = pg_exception_detail;
    perform etl.raise_problem('conflict', format('%s cannot be changed while something is built on it: %s (%s). Drop that, and make it again afterwards.',
      dataset, sqlerrm, replace(wrong, E'\n', '; ')), status => 409);
  when duplicate_column then
    perform etl.raise_problem('conflict', format('%s: %s has such a column already, which no run has made', sqlerrm, relation), status => 409);
end $$;
comment on function etl.alter_dataset(text, jsonb, jsonb, text, uuid) is 'adds columns to a typed table and gives columns wider types';
