-- Makes the typed view of a dataset as its row in etl.datasets says, in the transaction of the caller. Nothing is
-- done where it is so already, where no columns are declared, or while the table does not exist.
-- With security_invoker a reader needs the right to read the table, and row security asks about him, so that
-- the view itself may be open to everybody.
-- Runs as the owner of schema etl, for whoever may write into the table, as servers may that own nothing: what it makes
-- is a view of this table under the name of this dataset, and never in the place of anything else.
create or replace function etl.make_typed_view(dataset text) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '5s' as $$
declare
  target etl.datasets;
  source regclass;
  qualified text;
  query text;
  statement text;
  needed text;
begin
  select * into target from etl.datasets as d where d.dataset = make_typed_view.dataset for update;
  source := to_regclass(quote_ident(target.schema_name) || '.' || quote_ident(target.table_name));
  if target.columns is null or source is null then
    return;
  end if;
  if not has_table_privilege(session_user, source, 'insert') then
    raise insufficient_privilege;
  end if;
  qualified := format('%I.%I', target.schema_name, target.view_name);
  query := etl.typed_view_sql(target.schema_name, target.table_name, target.columns);
  if to_regclass(qualified) is not null then
    if not etl.is_typed_view(to_regclass(qualified), dataset) then
      perform etl.raise_problem('conflict',
        format('%s exists and is not the typed view of %s. Give the view another name with `view`.', qualified, dataset),
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', target.view_name, 'message', 'is the name of something else')), 409);
    end if;
    if target.view_sql = query then
      return;
    end if;
  end if;
  statement := format('create or replace view %s with (security_invoker = true) as %s', qualified, query);
  begin
    execute statement;
  -- a column that goes, or gets another name or type: the view has to be another one
  exception when invalid_table_definition then
    perform etl.drop_typed_view(dataset);
    execute statement;
  end;
  execute format('comment on view %s is %L', qualified, format('typed view of dataset %s, made by etl.set_dataset_columns', dataset));
  execute format('grant select on %s to public', qualified);
  update etl.datasets as d set view_sql = query where d.dataset = make_typed_view.dataset;
exception
  when lock_not_available then
    perform etl.raise_problem('conflict',
      format('%s is being read just now, so it cannot be changed. Try again when the queries on it have ended.', qualified), '[]', 409);
  when insufficient_privilege then
    select case
      when not has_table_privilege(session_user, source, 'insert') then format('grant insert on %s to %I', source, session_user)
      when to_regclass(qualified) is null then format('grant usage, create on schema %I to %I', target.schema_name, current_user)
      else (select format('grant %I to %I', pg_get_userbyid(c.relowner), current_user) from pg_class as c where c.oid = to_regclass(qualified))
    end into needed;
    perform etl.raise_problem('missing-grant', format('Role %I may not make the view of %s. As an owner: %s', session_user, dataset, needed),
      jsonb_build_array(jsonb_build_object('field', 'view', 'value', target.view_name, 'message', 'cannot be made by the role', 'expected', needed)));
end $$;
