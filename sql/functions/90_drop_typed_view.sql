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
      format('%s would have to be dropped, and other things are built on it: %s. Drop them first and make them again afterwards; columns added at the end of the list need no drop.',
        qualified, replace(dependents, E'\n', '; ')),
      jsonb_build_array(jsonb_build_object('field', 'columns', 'message', 'other things depend on the view', 'value', dependents)), 409);
  when insufficient_privilege then
    perform etl.raise_problem('missing-grant', format('%s may not be dropped by the owner of schema etl. As its owner: grant %I to %I', qualified,
      (select pg_get_userbyid(c.relowner) from pg_class as c where c.oid = to_regclass(qualified)), current_user));
  when lock_not_available then
    perform etl.raise_problem('conflict',
      format('%s is being read just now, so it cannot be changed. Try again when the queries on it have ended.', qualified), '[]', 409);
end $$;
