-- The parameters of etl_maintenance and where each came from, first wins:
-- conf, variable etl_maintenance__<name>, environment, default.
create or replace function etl.resolve_maintenance(conf jsonb, out params jsonb, out origins jsonb, out errors jsonb)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  known jsonb;
  environment_values jsonb;
  key text;
  field jsonb;
  value jsonb;
  origin text;
begin
  params := '{}';
  origins := '{}';
  select s.maintenance, s.maintenance_environment into known, environment_values from etl.param_schema as s;
  if known -> 'properties' is null then
    perform etl.raise_problem('unavailable', 'The database is not set up: run `deno task setup-db` first.', status => 503);
  end if;
  select coalesce(jsonb_agg(e), '[]') into errors from etl.schema_errors(known, conf) as e;
  for key, field in select * from jsonb_each(known -> 'properties') loop
    select v.value into value from etl.variables as v where v.name = 'etl_maintenance__' || key;
    if jsonb_typeof(conf) = 'object' and conf ? key then
      value := conf -> key; origin := 'request';
    elsif found then
      origin := 'variable';
    elsif environment_values ? key then
      value := environment_values -> key; origin := 'environment';
    else
      value := field -> 'default'; origin := 'default';
    end if;
    if origin not in ('request', 'default') then
      errors := errors || coalesce((
        select jsonb_agg(e || jsonb_build_object('message', format('%s (from the %s)', e ->> 'message', origin)))
        from etl.schema_errors(field, value, key) as e), '[]');
    end if;
    params := params || jsonb_build_object(key, value);
    origins := origins || jsonb_build_object(key, origin);
  end loop;
  if jsonb_typeof(params -> 'retention_days_audit') = 'number' and (params ->> 'retention_days_audit')::numeric between 0 and 6 then
    errors := errors || jsonb_build_object('field', 'retention_days_audit', 'value', params -> 'retention_days_audit',
      'message', 'is too short: the last 7 days of an audit are never deleted', 'expected', '7 or more, or -1');
  end if;
end $$;
comment on function etl.resolve_maintenance(jsonb) is 'the parameters of a maintenance that is asked for with this conf';
