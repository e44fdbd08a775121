-- Makes the typed views of datasets that are missing or of an older kind: after setup, after a restore, after
-- a table was made again. A view that cannot be made is a warning: it must not keep a run or a setup from going on.
create or replace function etl.refresh_typed_views(only_dataset text default null) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  each text;
begin
  for each in
    select d.dataset from etl.datasets as d
    where d.columns is not null and (only_dataset is null or d.dataset = only_dataset) order by d.dataset
  loop
    begin
      perform etl.make_typed_view(each);
    exception when others then
      raise warning 'the typed view of % could not be made: %', each, sqlerrm;
    end;
  end loop;
end $$;
