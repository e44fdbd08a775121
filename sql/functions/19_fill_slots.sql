-- Replaces {{slot}}, {{slot_previous}} and {{today}} in the strings of a conf.
-- Records that the conf carries are data and stay as they are.
-- {{today}} is the day of the slot in a time zone.
drop function if exists etl.fill_slots(jsonb, timestamptz, timestamptz);
create or replace function etl.fill_slots(
  conf jsonb, slot timestamptz, slot_previous timestamptz default null, time_zone text default 'UTC'
) returns jsonb
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  records jsonb := conf #> '{source,records}';
  filled text := (case when records is null then conf else conf #- '{source,records}' end)::text;
begin
  if filled not like '%{{%' then
    return conf;
  end if;
  if filled like '%{{slot_previous}}%' and slot_previous is null then
    perform etl.raise_problem('invalid-conf', '{{slot_previous}} is used, but this run has no previous slot.');
  end if;
  filled := replace(filled, '{{slot}}', to_char(slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  filled := replace(filled, '{{today}}', to_char(slot at time zone time_zone, 'YYYY-MM-DD'));
  if slot_previous is not null then
    filled := replace(filled, '{{slot_previous}}', to_char(slot_previous at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  end if;
  return case when records is null then filled::jsonb
    else jsonb_set(filled::jsonb, '{source,records}', records) end;
end $$;
