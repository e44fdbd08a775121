-- From a conf to the parameters of a run.

-- The value of every run parameter and where it came from, first wins:
-- conf, configuration, variable etl_improved__<name>, environment, default.
create or replace function etl.resolve_params(conf jsonb, out params jsonb, out origins jsonb, out errors jsonb)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb;
  environment_values jsonb;
  saved jsonb := '{}';
  variables jsonb;
  given jsonb := resolve_params.conf - 'configuration';
begin
  -- a copy in memory: each look into what is stored would unpack it
  select s.schema || '{}', s.environment into known, environment_values from etl.param_schema as s;
  if known is null then
    perform etl.raise_problem('unavailable',
      'The database is not set up: run `deno task setup-db` first.', status => 503);
  end if;
  select coalesce(jsonb_agg(e), '[]') into errors from etl.schema_errors(known, given) as e;
  if errors <> '[]' then
    -- a name that is not known may be meant to be this one
    select jsonb_agg(e) into errors from etl.schema_errors(jsonb_set(known, '{properties,configuration}', '{}'), given) as e;
  end if;

  if resolve_params.conf ? 'configuration' then
    select c.conf into saved from etl.configurations as c where c.name = resolve_params.conf ->> 'configuration';
    if not found then
      errors := errors || jsonb_build_object('field', 'configuration', 'value', resolve_params.conf -> 'configuration',
        'code', 'not-found', 'message', 'is not a saved configuration',
        'expected', coalesce((select 'one of: ' || string_agg(c.name, ', ' order by c.name) from etl.configurations as c),
          'none is saved yet'));
      saved := '{}';
    end if;
    -- what is wrong with a value is found below, with its origin
    errors := errors || coalesce((
      select jsonb_agg(e || jsonb_build_object('message', format('%s (from the configuration)', e ->> 'message')))
      from etl.schema_errors(known, saved - array(select jsonb_object_keys(known -> 'properties'))) as e), '[]');
  end if;
  select coalesce(jsonb_object_agg(v.name, v.value), '{}') into variables
    from etl.variables as v where v.name like 'etl\_improved\_\_%';

  select jsonb_object_agg(p.name, case
      -- 5.0 is an integer, too, and becomes 5
      when p.field ->> 'type' = 'integer' and jsonb_typeof(v.value) = 'number' then to_jsonb(trim_scale((v.value #>> '{}')::numeric))
      else v.value end), jsonb_object_agg(p.name, o.origin)
  into params, origins
  from jsonb_each(known -> 'properties') as p (name, field), lateral (
    select case when given ? p.name then 'request' when saved ? p.name then 'configuration'
      when variables ? ('etl_improved__' || p.name) then 'variable' when environment_values ? p.name then 'environment'
      else 'default' end as origin) as o, lateral (
    select case o.origin when 'request' then given -> p.name when 'configuration' then saved -> p.name
      when 'variable' then variables -> ('etl_improved__' || p.name) when 'environment' then environment_values -> p.name
      else p.field -> 'default' end as value) as v;
  errors := errors || coalesce((
    select jsonb_agg(e || jsonb_build_object('message', format('%s (from the %s)', e ->> 'message', o.value)))
    from jsonb_each_text(resolve_params.origins) as o, etl.schema_errors(known #> array['properties', o.key], resolve_params.params -> o.key, o.key) as e
    where o.value not in ('request', 'default')), '[]');
  -- what is refused anyway, and larger than confs are, is not searched: that would cost its sender nothing and others a lot
  if errors <> '[]' and length(params::text) > 32768 then
    return;
  end if;
  errors := errors || coalesce((
    select jsonb_agg(case o.origin when 'request' then e
      else e || jsonb_build_object('message', format('%s (from the %s)', e ->> 'message', o.origin)) end)
    -- a default is ours, and holds none
    from jsonb_array_elements(etl.secret_errors((select coalesce(jsonb_object_agg(p.key, p.value), '{}')
      from jsonb_each(params) as p where resolve_params.origins ->> p.key <> 'default'))) as e, lateral (
      select resolve_params.origins ->> split_part(e ->> 'field', '.', 1) as origin) as o), '[]');
end $$;
comment on function etl.resolve_params(jsonb) is 'the parameters of a run that is asked for with this conf, and where each came from';

-- The name of the suite that a run is judged by: the one asked for, else the dataset's, else the table's; null without one.
create or replace function etl.suite_name(asked text, dataset text) returns text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select s.name from etl.suites as s
  where s.name = any(case when asked is not null then array[asked]
    else array[dataset, substr(dataset, position('.' in dataset) + 1)] end)
  order by s.name = dataset desc limit 1
$$;

-- What is wrong with resolved parameters in the light of what is stored: pools and suites.
drop function if exists etl.reference_errors(jsonb);
create or replace function etl.reference_errors(params jsonb, origins jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp set jit = off as $$
declare
  errors jsonb := '[]';
  chosen_suite text;
begin
  if not exists (select from etl.pools as p where p.pool = params ->> 'pool') then
    errors := errors || jsonb_build_object('field', 'pool', 'value', params -> 'pool',
      'code', 'not-found', 'message', 'is not a known pool' ||
        case origins ->> 'pool' when 'environment' then ' (from the servers'' environment: ETL_POOL)' when 'variable' then ' (from the variable etl_improved__pool)'
          when 'configuration' then ' (from the configuration)' else '' end,
      'expected', format('one of: %s; or make it: etl pool set %s 4', (select string_agg(p.pool, ', ' order by p.pool) from etl.pools as p),
        params ->> 'pool'));
  end if;
  chosen_suite := etl.suite_name(params ->> 'suite', concat_ws('.', params ->> 'schema_name', params ->> 'table_name'));
  if params ->> 'suite' is not null and chosen_suite is null then
    errors := errors || jsonb_build_object('field', 'suite', 'value', params -> 'suite',
      'code', 'not-found', 'message', 'is not a known suite',
      'expected', coalesce((select 'one of: ' || string_agg(s.name, ', ' order by s.name) from etl.suites as s), 'none is stored yet'));
  elsif params -> 'enforce_ge' = 'true' and chosen_suite is null then
    errors := errors || jsonb_build_object('field', 'enforce_ge', 'value', true,
      'code', 'conflict', 'message', 'needs a suite, and there is none for this table',
      'expected', 'a suite by name, or one stored for the table');
  end if;
  if params ->> 'on_failure' = 'quarantine' then
    if params -> 'enforce_ge' = 'true' then
      errors := errors || jsonb_build_object('field', 'on_failure', 'value', 'quarantine',
        'code', 'conflict', 'message', 'cannot be together with enforce_ge: either the failing rows stay out, or everything does',
        'expected', 'record');
    elsif exists (select from etl.suites as s where s.name = chosen_suite and not s.row_wise) then
      errors := errors || jsonb_build_object('field', 'on_failure', 'value', 'quarantine',
        'code', 'conflict', 'message', format('needs a suite that judges rows one by one; %s has expectations of the whole batch', chosen_suite),
        'expected', 'record');
    end if;
  end if;
  errors := errors || etl.private_errors(params, origins);
  errors := errors || etl.history_errors(params, origins);
  return errors || etl.declaration_errors(params, origins) || etl.write_errors(params, origins);
end $$;

-- Errors of fields that have none yet: a name of the wrong form need not be called unknown as well.
create or replace function etl.new_errors(errors jsonb, known jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(jsonb_agg(e), '[]') from jsonb_array_elements(errors) as e
  where not exists (select from jsonb_array_elements(known) as k where k -> 'field' = e -> 'field')
$$;

-- Everything that is wrong with a conf: [{field, value, message, expected}, …]; makes no run.
create or replace function etl.conf_errors(conf jsonb) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select r.errors || etl.new_errors(etl.reference_errors(r.params, r.origins), r.errors) from etl.resolve_params(conf) as r
$$;
comment on function etl.conf_errors(jsonb) is 'everything that is wrong with a conf; empty where a run can be asked for with it';

-- The parameters of a run request with what it says of its slot filled in, and everything that is wrong with them.
create or replace function etl.resolve_request(
  conf jsonb, slot timestamptz, slot_previous timestamptz, time_zone text, out params jsonb, out origins jsonb, out errors jsonb
) language plpgsql stable set search_path = pg_catalog, etl, pg_temp set jit = off as $$
declare
  resolved record;
begin
  -- before the values are checked, and again for what a configuration or variable holds
  select * into resolved from etl.resolve_params(etl.fill_slots(conf, slot, slot_previous, time_zone));
  params := etl.with_declaration(etl.fill_slots(resolved.params, slot, slot_previous, time_zone), resolved.origins);
  origins := resolved.origins;
  errors := resolved.errors || etl.new_errors(etl.reference_errors(params, origins), resolved.errors);
end $$;
