-- Tables of the user's own that runs load into: they keep their owner, constraints, defaults and triggers. Nothing here that
-- runs with the rights of the installation's owner reads or writes their rows: it looks into the catalogue only.

-- Whether a run loads a table of the user's own: one that is there and that no run has made.
create or replace function etl.loads_own(run etl.runs) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select run.params ->> 'layout' = 'typed' and coalesce(
    (select coalesce((d.declared -> 'own')::boolean, false) from etl.datasets as d
      where d.dataset = concat_ws('.', run.schema_name, run.table_name) and d.declared is not null),
    etl.find_table(run.schema_name, run.table_name) is not null)
$$;

-- The columns that a run needs in a table besides those of the records, {name: definition}.
create or replace function etl.metadata_columns(versioned boolean, keyless boolean) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('_etl_first_seen_at', 'timestamptz not null default now()', '_etl_updated_at', 'timestamptz not null default now()',
      '_etl_run_id', 'uuid', '_etl_fingerprint', 'bytea')
    || case when versioned then '{"_etl_version": "numeric"}' else '{}'::jsonb end
    || case when keyless then '{"_etl_key": "text unique"}' else '{}'::jsonb end
$$;

-- The statements that give a table the columns of a run that it lacks; null where it lacks none.
create or replace function etl.metadata_ddl(relation regclass, versioned boolean, keyless boolean) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select 'alter table ' || relation || ' ' || string_agg(format('add column %I %s', m.key, m.value), ', ' order by m.key)
  from jsonb_each_text(etl.metadata_columns(versioned, keyless)) as m
  where not exists (select from pg_attribute as a where a.attrelid = relation and a.attname = m.key and not a.attisdropped)
$$;

-- A table as a load sees it: {relation, owner, columns: [{name, type, sql_type, base, leaf, kind, plain, rounds, width, folds, generated}],
-- keys: [[name]]}; null where there is none. `type` is that of source.columns by which values are read, `base` the name of the
-- type below domains, `leaf` that of the elements of an array or the bounds of a range, which `kind` says (record: a composite),
-- `plain` the type, or of an array its elements', without domain and modifier in SQL, `rounds` the type to which an assignment rounds or cuts without a word,
-- `width` the characters of a varchar, behind which it cuts spaces, `folds` says that the column's collation makes different
-- texts one, `generated` that no run writes the column.
create or replace function etl.own_table(schema_name text, table_name text) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  with recursive target as (
    select c.oid, c.relowner from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = schema_name and c.relname = table_name and c.relkind in ('r', 'p')
  ), walk as (
    select a.attnum, a.atttypid as typid, a.atttypmod as typmod from target as t join pg_attribute as a on a.attrelid = t.oid
    where a.attnum > 0 and not a.attisdropped
    union all
    select w.attnum, y.typbasetype, y.typtypmod from walk as w join pg_type as y on y.oid = w.typid where y.typtype = 'd'
  ), leaves as (
    select w.attnum, w.typid, w.typmod, null as kind from walk as w join pg_type as y on y.oid = w.typid where y.typtype <> 'd'
    union all
    select l.attnum, below.typid, below.typmod, coalesce(below.kind, l.kind) from leaves as l join pg_type as y on y.oid = l.typid
    cross join lateral (
      select y.typelem as typid, l.typmod, coalesce(l.kind, 'array') as kind where y.typcategory = 'A' and y.typelem <> 0 and y.typname <> all (array['oidvector', 'int2vector'])
      union all select y.typbasetype, y.typtypmod, l.kind where y.typtype = 'd'
      union all select r.rngsubtype, -1, 'range' from pg_range as r where y.oid in (r.rngtypid, r.rngmultitypid)) as below
  ), based as (
    select w.attnum, y.typname::text as base, w.typmod, format_type(w.typid, w.typmod) as full_type, l.kind,
      case when l.kind = 'array' then format_type(l.typid, -1) || '[]' else format_type(w.typid, -1) end as plain,
      case when e.typtype = 'c' then 'record' else e.typname::text end as leaf,
      case when e.typtype = 'c' then exists (select from pg_attribute as a join pg_type as p on p.oid = a.atttypid
          where a.attrelid = e.typrelid and a.attnum > 0 and not a.attisdropped and p.typtype <> 'e'
            and not p.typname in ('int2', 'int4', 'int8', 'bool', 'text', 'uuid', 'json', 'jsonb')
            and not (p.typname in ('numeric', 'varchar') and a.atttypmod = -1))
        when l.kind = 'range' then e.typname in ('float4', 'float8')
        when l.kind = 'array' then e.typname in ('float4', 'float8', 'money', 'name', 'char')
          or l.typmod >= 0 and e.typname in ('timestamp', 'timestamptz', 'time', 'timetz', 'interval', 'numeric', 'varchar')
        else e.typname in ('float4', 'float8', 'money', 'name', 'char', 'point', 'lseg', 'box', 'path', 'polygon', 'circle')
          or w.typmod >= 0 and (e.typname in ('timestamp', 'timestamptz', 'time', 'timetz', 'interval')
            or e.typname = 'numeric' and format_type(w.typid, w.typmod) !~ '^numeric\(\d+,\d+\)$') end as rounds
    from walk as w join pg_type as y on y.oid = w.typid join leaves as l on l.attnum = w.attnum join pg_type as e on e.oid = l.typid
    where y.typtype <> 'd' and e.typtype not in ('d', 'r', 'm') and (e.typcategory <> 'A' or e.typname in ('oidvector', 'int2vector'))
  )
  select jsonb_build_object('relation', t.oid::regclass::text, 'owner', pg_get_userbyid(t.relowner),
    'columns', (select jsonb_agg(jsonb_build_object('name', a.attname,
        'type', case when b.base in ('int2', 'int4', 'int8') then 'integer'
          when b.base = 'numeric' then case when b.full_type ~ '^numeric\(\d+,\d+\)$' then b.full_type else 'numeric' end
          when b.base in ('float4', 'float8') then 'numeric' when b.base = 'bool' then 'boolean' when b.base = 'date' then 'date'
          when b.base in ('timestamp', 'timestamptz') then 'timestamptz' when b.base in ('json', 'jsonb') then 'jsonb' else 'text' end,
        -- without a modifier character and bit have one
        'sql_type', format_type(a.atttypid, -1), 'base', b.base, 'plain', b.plain, 'is_domain', (select y.typtype = 'd' from pg_type as y where y.oid = a.atttypid),
        'rounds', case when b.rounds then b.full_type end, 'leaf', b.leaf, 'kind', b.kind,
        'width', case when b.base = 'varchar' and b.typmod > 4 then b.typmod - 4 end,
        'folds', (select not l.collisdeterministic from pg_collation as l where l.oid = a.attcollation),
        'generated', a.attgenerated <> '' or a.attidentity <> '') order by a.attnum)
      from pg_attribute as a join based as b on b.attnum = a.attnum where a.attrelid = t.oid and a.attname not like '\_etl\_%'),
    'keys', (select coalesce(jsonb_agg((select jsonb_agg(a.attname order by k.place) from unnest(i.indkey) with ordinality as k (attnum, place)
        join pg_attribute as a on a.attrelid = t.oid and a.attnum = k.attnum where k.place <= i.indnkeyatts)
        order by i.indisprimary desc, i.indexrelid), '[]')
      from pg_index as i where i.indrelid = t.oid and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null))
  from target as t
$$;
comment on function etl.own_table(text, text) is 'a table as a load sees it: columns with the types by which values are read, and what is unique';

-- Whether a run takes rows out of its table.
create or replace function etl.deletes_rows(params jsonb) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(params ->> 'write' = 'replace' or params ->> 'write' = 'mirror' and params ->> 'on_missing' is distinct from 'mark', false)
    or coalesce(params -> 'deleted', 'null') <> 'null'
$$;

-- What a server's role lacks to load into a table, as statements for its owner; null where it lacks nothing. `deletes`: rows are
-- to be taken out of it, too.
drop function if exists etl.own_table_grants(regclass, text);
create or replace function etl.own_table_grants(relation regclass, role_name text, deletes boolean default false) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select nullif(concat_ws('; ',
    case when not has_schema_privilege(role_name, c.relnamespace, 'usage') then format('grant usage on schema %I to %I', n.nspname, role_name) end,
    (select format('grant %s on %I.%I to %I', string_agg(p.privilege, ', ' order by p.place), n.nspname, c.relname, role_name)
      from (values (1, 'select'), (2, 'insert'), (3, 'update'), (4, 'delete')) as p (place, privilege)
      where (p.privilege <> 'delete' or deletes) and not has_table_privilege(role_name, c.oid, p.privilege) having count(*) > 0),
    (select string_agg(format('grant usage on sequence %s to %I', s.oid::regclass, role_name), '; ')
      from pg_depend as d join pg_class as s on s.oid = d.objid and s.relkind = 'S'
      where d.refobjid = c.oid and d.classid = 'pg_class'::regclass and d.deptype = 'a'
        and case when s.relkind = 'S' then not has_sequence_privilege(role_name, s.oid, 'usage') end)), '')
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation
$$;

-- The role that is going to load: whoever asks, or a role that set-up has granted a server's rights.
create or replace function etl.loading_role() returns name
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce((select s.role_name::name from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name
    where not pg_has_role(r.oid, etl.owner(), 'usage') order by r.rolname <> current_user, r.rolname limit 1), current_user)
$$;

-- What stands in the way of a first load into a table that is there, as errors of the conf.
create or replace function etl.own_table_errors(relation regclass, params jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb := etl.own_table(params ->> 'schema_name', params ->> 'table_name');
  loader name := etl.loading_role();
  -- without a key of its own a record has that of the table, if a run writes its columns
  keyless boolean := params #> '{source,key}' is null and (known #> '{keys,0}' is null or exists (
    select from jsonb_array_elements(known #> '{keys,0}') as k
    join jsonb_array_elements(known -> 'columns') as c on c.value -> 'name' = k.value where (c.value -> 'generated')::boolean));
  ddl text := etl.metadata_ddl(relation, params #> '{source,version}' is not null, keyless);
  grants text := etl.own_table_grants(relation, loader::text, etl.deletes_rows(params));
  told text;
begin
  if known is null or etl.lacks_of_events(relation) is null then
    told := case when known is null then 'is no table' else 'is a table of events, into which no typed load goes' end;
    return jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', params -> 'table_name', 'code', 'conflict', 'message', told,
      'expected', 'a table with columns of its own, or the name of one that does not exist yet'));
  elsif pg_has_role(loader, etl.owner(), 'usage') and not (select c.relowner::regrole::name = loader or o.rolsuper or c.relowner = n.nspowner
      from pg_class as c join pg_roles as o on o.oid = c.relowner, pg_namespace as n where c.oid = relation and n.nspname = 'etl') then
    return jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', params -> 'table_name', 'code', 'conflict',
      'message', format('belongs to role %s, and the server has the rights of %s: the table''s triggers and defaults would run with them', known ->> 'owner', etl.owner()),
      'expected', 'a server with a role of its own (`deno task setup-db --role NAME`, docs/database_role.md)'));
  elsif ddl is not null and not (coalesce((params ->> 'add_columns')::boolean, false) and not coalesce((params ->> 'dry_run')::boolean, false)
      and (select pg_has_role(loader, c.relowner, 'usage') from pg_class as c where c.oid = relation)) then
    told := case when not coalesce((params ->> 'add_columns')::boolean, false) then 'lacks columns that tell whose a row is and whether it changed'
      when coalesce((params ->> 'dry_run')::boolean, false) then 'lacks columns of a run, and a dry run adds none'
      else format('lacks columns of a run, and role %s may not add them', loader) end;
    return jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', params -> 'table_name', 'code', 'missing-columns',
      'message', format('%s. As its owner, %s: %s', told, known ->> 'owner', concat_ws('; ', ddl, grants)),
      'expected', concat_ws('; ', ddl, grants) || case when (params ->> 'add_columns')::boolean then ''
        else '; or add_columns: true (--add-columns), where the server''s role owns the table' end));
  elsif grants is not null then
    return jsonb_build_array(jsonb_build_object('field', 'table_name', 'value', params -> 'table_name', 'code', 'missing-grant',
      'message', format('is not open to role %s. As its owner: %s', loader, grants), 'expected', grants));
  end if;
  return '[]';
end $$;

-- Gives a table the columns of a run, with the rights of whoever asks; answers whether it lacked any.
create or replace function etl.add_metadata_columns(run_id uuid, versioned boolean, keyless boolean) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp set lock_timeout = '10s' as $$
declare
  run etl.runs;
  ddl text;
begin
  select * into run from etl.runs as r where r.run_id = add_metadata_columns.run_id and r.state = 'running';
  ddl := etl.metadata_ddl(etl.find_table(run.schema_name, run.table_name), versioned, keyless);
  if ddl is null then
    return false;
  elsif not coalesce((run.params ->> 'add_columns')::boolean, false) or run.dry_run then
    perform etl.raise_problem('destination-mismatch', format('%I.%I lacks columns of a run. As its owner: %s', run.schema_name, run.table_name, ddl));
  end if;
  execute ddl;
  perform etl.audit(run, 'dataset_altered', run.requested_by, jsonb_build_object('dataset', concat_ws('.', run.schema_name, run.table_name), 'statement', ddl));
  return true;
exception
  when insufficient_privilege then
    perform etl.raise_problem('missing-grant', format('Role %I may not add columns to %I.%I. As its owner: %s', current_user, run.schema_name, run.table_name, ddl));
  when lock_not_available then
    perform etl.raise_problem('conflict', format('%I.%I is in use just now, so columns cannot be added to it. Try again when the queries on it have ended.',
      run.schema_name, run.table_name), status => 409);
end $$;
comment on function etl.add_metadata_columns(uuid, boolean, boolean) is 'gives a table of the user''s own the columns of a run, with the rights of whoever asks';

-- Refuses a table of the user's own that this session must not write, or that has changed under its dataset.
drop function if exists etl.check_own_table(text, text);
create or replace function etl.check_own_table(schema_name text, table_name text, params jsonb) returns void
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  relation regclass := etl.find_table(schema_name, table_name);
  grants text := etl.own_table_grants(relation, current_user::text, etl.deletes_rows(params));
begin
  if relation is null then
    perform etl.raise_problem('destination-mismatch', format('%I.%I no longer exists: it was its owner''s table, which runs do not create.', schema_name, table_name));
  elsif not etl.is_trusted(relation) then
    perform etl.raise_problem('destination-mismatch', format('%s belongs to another role than %I, and this server has the rights of %I, with which triggers of the table would run. Give the server its own role (docs/database_role.md).',
      relation, etl.owner(), etl.owner()));
  elsif not etl.is_typed(relation) then
    perform etl.raise_problem('destination-mismatch', format('%s lacks columns of a run. As its owner: %s', relation, etl.metadata_ddl(relation, false, false)));
  elsif grants is not null then
    perform etl.raise_problem('missing-grant', format('Role %I may not load into %s. As its owner: %s', current_user, relation, grants));
  end if;
end $$;

-- Whether exactly these columns are unique in a table, so that an upsert finds its rows by them.
create or replace function etl.is_key(known jsonb, columns jsonb) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select exists (select from jsonb_array_elements(known -> 'keys') as k where k.value @> columns and columns @> k.value
    and jsonb_array_length(k.value) = jsonb_array_length(columns))
$$;

-- What columns cannot be those of a dataset over a table of the user's own, in words; null where all can.
create or replace function etl.wrong_own_columns(known jsonb, columns jsonb) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select string_agg(format('%s: %s', c.value ->> 'name', case when o.value is null then format('no column of %s', known ->> 'relation')
    when (o.value -> 'generated')::boolean then 'generated or an identity, which no run writes' else format('of type %s', o.value ->> 'type') end), '; ')
  from jsonb_array_elements(columns) as c
  left join jsonb_array_elements(known -> 'columns') as o on o.value ->> 'name' = c.value ->> 'name'
  where o.value is null or (o.value -> 'generated')::boolean or o.value ->> 'type' <> c.value ->> 'type' or c.value ->> 'path' is null
$$;

-- Notes a table of the user's own as the dataset of a run. Called by etl.declare_dataset, with the owner's rights: touches no row.
create or replace function etl.declare_own_table(run etl.runs, declared jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb := etl.own_table(run.schema_name, run.table_name);
  relation regclass := etl.find_table(run.schema_name, run.table_name);
  wrong text := etl.wrong_own_columns(known, declared -> 'columns');
  keys jsonb;
begin
  perform etl.check_schema(run.schema_name);
  if known is null or not etl.is_typed(relation) or etl.lacks_of_events(relation) is null then
    perform etl.raise_problem('destination-mismatch', format('%I.%I exists and is not a table that a typed load can use. Choose another table_name.', run.schema_name, run.table_name));
  elsif not has_table_privilege(session_user, relation, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not load into %s. As its owner: %s', session_user, relation, etl.own_table_grants(relation, session_user::text)));
  elsif wrong is not null then
    perform etl.raise_problem('destination-mismatch', format('%s has no such columns to load into: %s', relation, wrong));
  end if;
  select coalesce(jsonb_agg(c.value -> 'name'), '["_etl_key"]') into keys
  from jsonb_array_elements(case jsonb_typeof(declared -> 'key') when 'array' then declared -> 'key' else '[]' end) as k
  left join jsonb_array_elements(declared -> 'columns') as c on c.value -> 'path' = k.value;
  if not etl.is_key(known, keys) then
    perform etl.raise_problem('destination-mismatch', format('%s has no unique constraint on exactly the columns of the key (%s). As its owner: alter table %s add unique (%s)',
        relation, (select string_agg(k.value, ', ') from jsonb_array_elements_text(keys) as k), relation,
        (select string_agg(quote_ident(k.value), ', ') from jsonb_array_elements_text(keys) as k)),
      jsonb_build_array(jsonb_build_object('field', 'source.key', 'value', declared -> 'key', 'message', 'is not unique in the table')));
  end if;
  declared := declared || '{"own": true}';
  insert into etl.datasets (dataset, schema_name, table_name, declared)
  values (run.schema_name || '.' || run.table_name, run.schema_name, run.table_name, declared)
  on conflict (dataset) do update set declared = excluded.declared, maintained = false, age_column = null, columns = null, view_name = null,
    view_sql = null, fingerprints_from = null;
  perform etl.audit(run, 'dataset_declared', run.requested_by, jsonb_build_object('declared', declared));
  return declared;
end $$;

-- Changes what a dataset over a table of the user's own declares, to what the table has: columns are its owner's to add and
-- to alter. Called by etl.alter_dataset, with the owner's rights: touches no row.
create or replace function etl.alter_own_dataset(target etl.datasets, add jsonb, types jsonb, actor text, run_id uuid) returns jsonb
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb := etl.own_table(target.schema_name, target.table_name);
  wanted jsonb;
  wrong text;
begin
  if known is not null and not has_table_privilege(session_user, etl.find_table(target.schema_name, target.table_name), 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not change %s. As its owner: %s', session_user, target.dataset,
      etl.own_table_grants(etl.find_table(target.schema_name, target.table_name), session_user::text)));
  end if;
  select coalesce(jsonb_agg(a.value || jsonb_build_object('type', coalesce(o.value ->> 'type', a.value ->> 'type'))), '[]') into add
  from jsonb_array_elements(add) as a left join jsonb_array_elements(known -> 'columns') as o on o.value ->> 'name' = a.value ->> 'name'
  where not exists (select from jsonb_array_elements(target.declared -> 'columns') as c where c.value ->> 'path' = a.value ->> 'path');
  select jsonb_agg(c.value || case when types ? (c.value ->> 'name')
    then jsonb_build_object('type', etl.plain_type(types ->> (c.value ->> 'name'))) else '{}' end order by c.place) || add into wanted
  from jsonb_array_elements(target.declared -> 'columns') with ordinality as c (value, place);
  wrong := etl.wrong_own_columns(known, wanted);
  if wrong is not null then
    perform etl.raise_problem('invalid-conf', format('%s is a table of its owner, %s, who adds and alters its columns (alter table %s …); then repeat this. Current differences: %s',
      target.dataset, known ->> 'owner', known ->> 'relation', wrong));
  end if;
  update etl.datasets as d set declared = jsonb_set(d.declared, '{columns}', wanted) where d.dataset = target.dataset returning * into target;
  if add <> '[]' or types <> '{}' then
    insert into public.etl_improved_audit (run_id, event, actor, details)
    values (alter_own_dataset.run_id, 'dataset_altered', actor, jsonb_build_object('dataset', target.dataset, 'added', add, 'types', types));
  end if;
  return target.declared;
end $$;
