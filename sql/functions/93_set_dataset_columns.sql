-- Declares the columns of a dataset, [{name, path, type}], and makes its typed view; null takes both away.
-- view_name: null keeps the name that it has, at first `<table>_typed`. One transaction; answers with the view, quoted.
-- Runs as the owner of schema etl, who alone writes etl.datasets, for whoever may write into the table.
create or replace function etl.set_dataset_columns(
  dataset text, columns jsonb, view_name text default null, actor text default current_user
) returns text
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  target etl.datasets;
  source regclass;
  given jsonb := nullif(columns, 'null');
  chosen text;
begin
  select * into target from etl.datasets as d where d.dataset = set_dataset_columns.dataset for update;
  if not found then
    perform etl.raise_problem('not-found',
      format('There is no dataset %s. A dataset is there from the first run into its table on; `etl dataset list` shows them.', dataset), '[]', 404);
  end if;
  source := to_regclass(format('%I.%I', target.schema_name, target.table_name));
  if not has_table_privilege(session_user, source, 'insert') then
    perform etl.raise_problem('missing-grant', format('Role %I may not declare columns of %s. As an owner: grant insert on %s to %I', session_user, dataset, source, session_user));
  end if;
  if given is null then
    perform etl.drop_typed_view(dataset);
    update etl.datasets as d set columns = null, view_name = null, view_sql = null
    where d.dataset = set_dataset_columns.dataset;
    target.view_name := null;
  else
    given := etl.check_dataset_columns(given);
    chosen := coalesce(view_name, target.view_name, case when octet_length(target.table_name) <= 57 then target.table_name
      else left(target.table_name, 12) || '_' || left(md5(target.table_name), 8) end || '_typed');
    if octet_length(chosen) not between 1 and 63 or chosen = target.table_name then
      perform etl.raise_problem('invalid-conf', 'view must be a name of 1 to 63 bytes that is not the table''s.',
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', chosen, 'message', 'cannot be the name of the view')));
    end if;
    if target.view_name <> chosen then
      perform etl.drop_typed_view(dataset);
    end if;
    begin
      update etl.datasets as d set columns = given, view_name = chosen
      where d.dataset = set_dataset_columns.dataset returning * into target;
    exception when unique_violation then
      perform etl.raise_problem('conflict', format('%I.%I is the typed view of another dataset. Give the view another name with `view`.', target.schema_name, chosen),
        jsonb_build_array(jsonb_build_object('field', 'view', 'value', chosen, 'message', 'is the name of another view')), 409);
    end;
    perform etl.make_typed_view(dataset);
  end if;
  insert into public.etl_improved_audit (event, actor, details)
  values (case when given is null then 'dataset_columns_delete' else 'dataset_columns_put' end, actor,
    jsonb_build_object('dataset', dataset, 'columns', given, 'view', chosen));
  return format('%I.', target.schema_name) || quote_ident(target.view_name);
end $$;
comment on function etl.set_dataset_columns(text, jsonb, text, text) is 'declares the columns of a dataset''s typed view and makes it';
