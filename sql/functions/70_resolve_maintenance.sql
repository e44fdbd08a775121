-- The parameters of etl_maintenance and where each came from, first wins:
-- conf, variable etl_maintenance__<name>, environment, default. A retention is 7 to 1,095 days, or -1: a conf with another
-- is refused, a stored one is brought to the nearest limit, and its origin says so.
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
    if jsonb_typeof(value) = 'number' and ((value #>> '{}')::numeric between 0 and 6 or (value #>> '{}')::numeric > 1095) then
      if origin = 'request' then
        errors := errors || jsonb_build_object('field', key, 'value', value,
          'message', 'is no retention: 7 to 1,095 days, or -1 to keep for ever', 'expected', '7 to 1095, or -1');
      else
        origin := format('%s, which says %s: not 7 to 1,095 days or -1', origin, value);
        value := to_jsonb(least(greatest((value #>> '{}')::numeric, 7), 1095)::integer);
      end if;
    end if;
    if split_part(origin, ',', 1) not in ('request', 'default') then
      errors := errors || coalesce((
        select jsonb_agg(e || jsonb_build_object('message', format('%s (from the %s)', e ->> 'message', origin)))
        from etl.schema_errors(field, value, key) as e), '[]');
    end if;
    params := params || jsonb_build_object(key, value);
    origins := origins || jsonb_build_object(key, origin);
  end loop;
end $$;
comment on function etl.resolve_maintenance(jsonb) is 'the parameters of a maintenance that is asked for with this conf';
