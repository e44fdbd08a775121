-- What a restore does after the data. The transaction can only be committed when this has been run.
do $etl_restore$
declare
  manifest jsonb := (select r.manifest from pg_temp.etl_restore as r);
  each record;
begin
  for each in select * from pg_temp.etl_restore_triggers loop
    execute format('alter table only %s enable trigger %I', each.relation, each.name);
  end loop;
  insert into etl.datasets select * from pg_temp.etl_restore_datasets on conflict do nothing;

  perform etl.make_history_views(d.schema_name, d.table_name) from etl.datasets as d where d.history;

  -- numbers that were given out are not given out again, also where their rows are gone
  for each in
    select t.qualified, i."column", pg_get_serial_sequence(t.qualified, i."column") as sequence, i.last_value
    from pg_temp.etl_restore_tables as t cross join jsonb_to_record(nullif(t.identity, 'null')) as i ("column" text, last_value bigint)
    where i."column" is not null
  loop
    execute format('select setval(%L, n.used) from (select greatest(%L::bigint, (select max(t.%I) from only %s as t),
      (select s.last_value from %s as s where s.is_called)) as used) as n where n.used is not null',
      each.sequence, each.last_value, each."column", each.qualified, each.sequence);
  end loop;
  perform etl.recount_metrics();

  -- spilled rows are not in a backup
  for each in
    select r.run_id, r.attempt from etl.runs as r where r.state in ('queued', 'running') order by r.admitted_at is not null, r.requested_at
  loop
    perform etl.finish_run(each.run_id, each.attempt, jsonb_build_object('state', 'cancelled', 'error', jsonb_build_object(
      'type', '/api/problems/cancelled', 'title', 'Cancelled', 'status', 409, 'detail',
      format('The run was in progress when the backup of %s was taken. A retry continues from there.', manifest ->> 'taken_at'))));
  end loop;
  -- what was late when the backup was taken is not late here, where nobody could see to it
  update etl.reaction_settings set restored_at = clock_timestamp();
  update etl.deliveries set redelivered_at = clock_timestamp() where state = 'pending';
  -- servers compute the slots of the schedules that there are now
  perform pg_notify('etl_schedules', '');
  perform public.refresh_etl_mvs();
  for each in select t.qualified from pg_temp.etl_restore_tables as t order by t.place loop
    execute 'analyze ' || each.qualified;
  end loop;
  update pg_temp.etl_restore set complete = true;
end $etl_restore$;
