-- The fingerprint of a row that was taken over from the original is null until a server has computed it. Version 0.1.0
-- took events over with an empty one.
do $$
declare
  each record;
begin
  for each in
    select c.oid::regclass as relation from etl.datasets as d
    join pg_class as c on c.oid = to_regclass(format('%I.%I', d.schema_name, d.table_name))
    join pg_attribute as a on a.attrelid = c.oid and a.attname = 'fingerprint' and a.attnotnull
    where pg_has_role(c.relowner, 'usage')
  loop
    execute format('alter table %s alter column fingerprint drop not null', each.relation);
  end loop;
  alter table etl.datasets add column if not exists fingerprints_from bigint;
  update etl.datasets set fingerprints_from = 0 where dataset = 'public.etl_improved_events'
    and exists (select from public.etl_improved_audit as a where a.event = 'migrated');
end $$;
