-- What is wrong with resolved parameters in the light of what is stored: pools and suites.
create or replace function etl.reference_errors(params jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  errors jsonb := '[]';
  chosen_suite text;
begin
  if not exists (select from etl.pools as p where p.pool = params ->> 'pool') then
    errors := errors || jsonb_build_object('field', 'pool', 'value', params -> 'pool',
      'message', 'is not a known pool',
      'expected', 'one of: ' || (select string_agg(p.pool, ', ' order by p.pool) from etl.pools as p));
  end if;
  chosen_suite := etl.suite_name(params ->> 'suite', concat_ws('.', params ->> 'schema_name', params ->> 'table_name'));
  if params ->> 'suite' is not null and chosen_suite is null then
    errors := errors || jsonb_build_object('field', 'suite', 'value', params -> 'suite',
      'message', 'is not a known suite',
      'expected', coalesce((select 'one of: ' || string_agg(s.name, ', ' order by s.name) from etl.suites as s), 'none is stored yet'));
  elsif params -> 'enforce_ge' = 'true' and chosen_suite is null then
    errors := errors || jsonb_build_object('field', 'enforce_ge', 'value', true,
      'message', 'needs a suite, and there is none for this table',
      'expected', 'a suite by name, or one stored for the table');
  end if;
  if params ->> 'on_failure' = 'quarantine' then
    if params -> 'enforce_ge' = 'true' then
      errors := errors || jsonb_build_object('field', 'on_failure', 'value', 'quarantine',
        'message', 'cannot be together with enforce_ge: either the failing rows stay out, or everything does',
        'expected', 'record');
    elsif exists (select from etl.suites as s where s.name = chosen_suite and not s.row_wise) then
      errors := errors || jsonb_build_object('field', 'on_failure', 'value', 'quarantine',
        'message', format('needs a suite that judges rows one by one; %s has expectations of the whole batch', chosen_suite),
        'expected', 'record');
    end if;
  end if;
  return errors;
end $$;

-- Everything that is wrong with a conf: [{field, value, message, expected}, …]; makes no run.
create or replace function etl.conf_errors(conf jsonb) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select r.errors || etl.reference_errors(r.params) from etl.resolve_params(conf) as r
$$;
comment on function etl.conf_errors(jsonb) is 'everything that is wrong with a conf; empty where a run can be asked for with it';

-- The parameters of a run request with what it says of its slot filled in, and everything that is wrong with them.
create or replace function etl.resolve_request(
  conf jsonb, slot timestamptz, slot_previous timestamptz, time_zone text, out params jsonb, out origins jsonb, out errors jsonb
) language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  resolved record;
begin
  -- before the values are checked, and again for what a configuration or variable holds
  select * into resolved from etl.resolve_params(etl.fill_slots(conf, slot, slot_previous, time_zone));
  params := etl.fill_slots(resolved.params, slot, slot_previous, time_zone);
  origins := resolved.origins;
  errors := resolved.errors || etl.reference_errors(params);
end $$;
