-- Refuses schemas that are no place for data: those of PostgreSQL, its extensions and the pipeline itself.
create or replace function etl.check_schema(schema_name text) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if schema_name in ('etl', 'cron', 'information_schema') or schema_name like 'pg\_%' then
    perform etl.raise_problem('invalid-conf',
      format('Schema %I is no place for data: it belongs to PostgreSQL or to the pipeline itself. Name another schema_name; one that does not exist is created.', schema_name),
      jsonb_build_array(jsonb_build_object('field', 'schema_name', 'value', schema_name,
        'message', 'is reserved', 'expected', 'a schema of your own, such as public')));
  end if;
end $$;
