-- Personal data of a dataset: fields that are left out of its records, and fields in whose place a keyed hash stands, by
-- source, in etl.datasets.private: {source: {exclude: [path], hash: [path], mark}}. Declared by the first run that names
-- some, and held from then on, so that a conf that forgets them loads nothing that it should not.

-- The paths of a list, in one order.
create or replace function etl.paths_of(list jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct p.path), '[]') from jsonb_array_elements_text(case jsonb_typeof(list) when 'array' then list else '[]' end) as p (path)
$$;

-- What a dataset has declared for a source; null where it has declared nothing.
create or replace function etl.private_of(dataset text, source text) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select d.private -> private_of.source from etl.datasets as d where d.dataset = private_of.dataset
$$;

-- The parameters of a run with what its dataset has declared and the conf leaves out.
create or replace function etl.with_private_fields(params jsonb, origins jsonb) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select params || case when origins ->> 'exclude' = 'default' and known is not null then jsonb_build_object('exclude', known -> 'exclude') else '{}' end
    || case when origins ->> 'hash' = 'default' and known is not null then jsonb_build_object('hash', known -> 'hash') else '{}' end
  from etl.private_of(concat_ws('.', params ->> 'schema_name', params ->> 'table_name'), etl.source_name(params, params ->> 'run_label')) as known
$$;

-- Whether one path is the other, or within it.
create or replace function etl.is_within(path text, outer_path text) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select path = outer_path or starts_with(path, outer_path || '.')
$$;

-- Where a conf contradicts what its dataset has declared as private, or hides what a run needs.
create or replace function etl.private_errors(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  named text := concat_ws('.', params ->> 'schema_name', params ->> 'table_name');
  source jsonb := case jsonb_typeof(params -> 'source') when 'object' then params -> 'source' else '{}' end;
  known jsonb := etl.private_of(named, etl.source_name(params, params ->> 'run_label'));
  errors jsonb := '[]';
  kind text;
begin
  if jsonb_typeof(params -> 'exclude') is distinct from 'array' or jsonb_typeof(params -> 'hash') is distinct from 'array' then
    return errors;
  end if;
  foreach kind in array array['exclude', 'hash'] loop
    if origins ->> kind <> 'default' and known is not null and etl.paths_of(params -> kind) <> etl.paths_of(known -> kind) then
      errors := errors || jsonb_build_object('field', kind, 'value', params -> kind, 'code', 'conflict',
        'message', format('differs from the declaration of %s for this source', named),
        'expected', format('%s, or leave it out; `etl dataset alter %s --%s FIELDS` changes it', known -> kind, named, kind));
    end if;
  end loop;
  -- most runs
  if params -> 'exclude' = '[]' and params -> 'hash' = '[]' then
    return errors;
  end if;
  return errors || coalesce((
    select jsonb_agg(jsonb_build_object('field', w.kind, 'value', w.path, 'code', 'conflict', 'message', w.message, 'expected', w.expected))
    from (
      select 'hash' as kind, h.path, format('contains %s, which exclude leaves out', h.path) as message, 'each field in only one of both' as expected
      from jsonb_array_elements_text(params -> 'hash') as h (path)
      where exists (select from jsonb_array_elements_text(params -> 'exclude') as x (path) where etl.is_within(h.path, x.path))
      union all
      select p.kind, p.path, format('contains %s, which the source needs unchanged (%s)', p.path, n.needed_as),
        case when p.kind = 'exclude' and n.needed_as = 'key' then 'the field in hash: a key may be hashed' else 'another field' end
      from (
        select 'exclude' as kind, x.path from jsonb_array_elements_text(params -> 'exclude') as x (path)
        union all select 'hash', h.path from jsonb_array_elements_text(params -> 'hash') as h (path)) as p
      join (
        select 'key' as needed_as, k.path from jsonb_array_elements_text(case jsonb_typeof(source -> 'key') when 'array' then source -> 'key'
          when 'string' then jsonb_build_array(source -> 'key') else '[]' end) as k (path)
        union all select 'version', source ->> 'version' where jsonb_typeof(source -> 'version') = 'string'
        union all select 'occurred_at', coalesce(source #>> '{occurred_at,field}', source ->> 'occurred_at') where source ? 'occurred_at'
        union all select 'event_type', source #>> '{event_type,field}' where jsonb_typeof(source -> 'event_type') = 'object'
        union all select 'cursor', source ->> 'cursor' where jsonb_typeof(source -> 'cursor') = 'string') as n
        on etl.is_within(n.path, p.path) and not (p.kind = 'hash' and n.needed_as = 'key' and n.path = p.path)
      union all
      select p.kind, p.path, format('contains %s, which source.columns declares as %s', p.path, c.type), 'no declaration of it, or text'
      from (
        select 'exclude' as kind, x.path from jsonb_array_elements_text(params -> 'exclude') as x (path)
        union all select 'hash', h.path from jsonb_array_elements_text(params -> 'hash') as h (path)) as p
      join (
        select e.name, coalesce(e.value ->> 'type', e.value #>> '{}') as type
        from jsonb_each(case jsonb_typeof(source -> 'columns') when 'object' then source -> 'columns' else '{}' end) as e (name, value)) as c
        on c.name = replace(p.path, '\.', '.') and c.type <> 'text'
      union all
      select 'hash', h.path, format('contains %s, which is a column of type %s in %s', h.path, c.value ->> 'type', named), 'a column of type text, as a hash is text'
      from jsonb_array_elements_text(params -> 'hash') as h (path)
      join etl.datasets as d on d.dataset = named
      join jsonb_array_elements(d.declared -> 'columns') as c on c.value ->> 'path' = h.path and c.value ->> 'type' <> 'text') as w), '[]');
end $$;

-- The private fields of a run: what its dataset has declared for its source, else what the run says, which it declares. What
-- holds is noted in the run. `mark` tells which secret the server hashes with. Runs as the owner of schema etl, for whoever
-- may write into the table.
create or replace function etl.declare_private_fields(run_id uuid, mark text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  run etl.runs;
  owner text;
  named text;
  asked jsonb;
  known jsonb;
  kind text;
begin
  select * into run from etl.runs as r where r.run_id = declare_private_fields.run_id;
  owner := etl.source_name(run.params, run.run_label);
  named := run.schema_name || '.' || run.table_name;
  asked := jsonb_build_object('exclude', etl.paths_of(run.params -> 'exclude'), 'hash', etl.paths_of(run.params -> 'hash'));
  known := etl.private_of(named, owner);
  if known is null and asked = '{"exclude": [], "hash": []}' then
    return asked;
  end if;
  if not run.dry_run then
    perform etl.require_writer(run);
    insert into etl.datasets (dataset, schema_name, table_name) values (named, run.schema_name, run.table_name) on conflict do nothing;
    perform from etl.datasets as d where d.dataset = named for update;
    known := etl.private_of(named, owner);
  end if;
  foreach kind in array array['exclude', 'hash'] loop
    if known is not null and run.origins ->> kind = 'default' then
      asked := jsonb_set(asked, array[kind], known -> kind);
    elsif known is not null and asked -> kind <> etl.paths_of(known -> kind) then
      perform etl.raise_problem('invalid-conf', format('%s of this run differs from the declaration that %s has got meanwhile: %s. Omit it, or change the declaration: etl dataset alter %s --%s FIELDS',
        kind, named, known -> kind, named, kind));
    end if;
  end loop;
  if asked -> 'hash' <> '[]' and mark is not null then
    if mark <> coalesce(known ->> 'mark', mark) then
      perform etl.raise_problem('invalid-conf', format('The hashes in %s were made with another ETL_HASH_SECRET than this server has, so they would not be equal where the values are. '
        || 'Give the server the secret of before; or, if the hashes are to be others from now on, say so: etl dataset alter %s --hash %s', named, named,
        (select string_agg(h.path, ',') from jsonb_array_elements_text(asked -> 'hash') as h (path))));
    end if;
    asked := asked || jsonb_build_object('mark', mark);
  end if;
  if not run.dry_run and known is distinct from asked and (mark is not null or asked -> 'hash' = '[]') then
    update etl.datasets as d set private = coalesce(d.private, '{}') || jsonb_build_object(owner, asked) where d.dataset = named;
    if known is null then
      perform etl.audit(run, 'private_fields_declared', run.requested_by, jsonb_build_object('dataset', named, 'source', owner) || (asked - 'mark'));
    end if;
  end if;
  update etl.runs as r set params = r.params || (asked - 'mark') where r.run_id = run.run_id and not r.params @> (asked - 'mark');
  return asked - 'mark';
end $$;
comment on function etl.declare_private_fields(uuid, text) is 'the private fields of a run, which it declares for its dataset where that has none';

-- Declares the private fields of a dataset's source anew; null: as it was. The secret of the next run is noted anew with the
-- fields to hash. Runs as the owner of schema etl, for whoever may write into the table.
create or replace function etl.alter_private_fields(dataset text, source text, exclude jsonb, hash jsonb, actor text default session_user) returns jsonb
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  relation regclass;
  owner text := source;
  known jsonb;
  fresh jsonb;
begin
  select * into target from etl.datasets as d where d.dataset = alter_private_fields.dataset for update;
  if not found then
    perform etl.raise_problem('not-found', format('There is no dataset %s. `etl dataset list` shows them.', dataset), status => 404);
  end if;
  relation := to_regclass(format('%I.%I', target.schema_name, target.table_name));
  if relation is not null and not has_table_privilege(session_user, relation, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not change %s. As an owner: grant insert on %s to %I', session_user, dataset, relation, session_user));
  end if;
  if owner is null then
    select case count(*) when 1 then min(s.name) end into owner
    from (select target.declared ->> 'source' as name where target.declared is not null
      union select k from jsonb_object_keys(coalesce(target.private, '{}')) as k) as s;
  end if;
  if owner is null then
    perform etl.raise_problem('invalid-conf', format('%s may have rows of several sources: say with --source which one is meant (its name, else its run_label).', dataset),
      jsonb_build_array(jsonb_build_object('field', 'source', 'message', 'is missing', 'expected', 'the name of a source')));
  end if;
  known := coalesce(target.private -> owner, '{"exclude": [], "hash": []}');
  fresh := jsonb_build_object('exclude', etl.paths_of(coalesce(exclude, known -> 'exclude')), 'hash', etl.paths_of(coalesce(hash, known -> 'hash')))
    || case when hash is null and known ? 'mark' then jsonb_build_object('mark', known -> 'mark') else '{}' end;
  update etl.datasets as d set private = coalesce(d.private, '{}') || jsonb_build_object(owner, fresh) where d.dataset = alter_private_fields.dataset;
  insert into public.etl_improved_audit (event, actor, details)
  values ('private_fields_altered', actor, jsonb_build_object('dataset', dataset, 'source', owner, 'before', known - 'mark') || (fresh - 'mark'));
  return fresh - 'mark';
end $$;
comment on function etl.alter_private_fields(text, text, jsonb, jsonb, text) is 'declares anew which fields of a dataset''s source are left out or hashed';

-- A request body with personal data is needed no more when its run has succeeded; what another run may still read is kept.
create or replace function etl.drop_private_upload(run etl.runs) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  delete from etl.uploads as u
  where u.upload_id = (run.params #>> '{source,upload_id}')::uuid and (run.params -> 'exclude' <> '[]' or run.params -> 'hash' <> '[]')
    and not exists (select from etl.runs as r where r.run_id <> run.run_id and r.state <> 'succeeded'
      and r.params #>> '{source,upload_id}' = run.params #>> '{source,upload_id}')
$$;
