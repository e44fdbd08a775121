-- Closes incidents of what is gone: nothing would ever disprove them.
create or replace function etl.end_gone_incidents() returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  state etl.alert_states;
  why text;
begin
  for state in select * from etl.alert_states as s where s.resolved_at is null loop
    why := case
      when state.kind = 'run_failed' and state.subject like 'schedule %' then
        (select case when count(*) = 0 then 'The schedule is gone.' when not bool_or(c.active) then 'The schedule is off.' end
         from etl.schedules as c where 'schedule ' || c.name = state.subject)
      when state.kind in ('run_failed', 'ge_failed', 'low_ratio', 'ratio_drop', 'volume_drop', 'sla_miss') then
        case when not exists (select from etl.runs as r where r.run_label = state.subject
            -- a deadline of a stage has it behind the label
            or state.kind = 'sla_miss' and r.run_label = regexp_replace(state.subject, ' [a-z_]+$', '')) then 'The label has no runs any more.' end
      when state.kind = 'stale' then
        case when not exists (select from etl.datasets as d, etl.reaction_settings as s where d.dataset = state.subject
            and coalesce(d.stale_after_seconds, s.stale_after_seconds) is not null
            and to_regclass(format('%I.%I', d.schema_name, d.table_name)) is not null)
          then 'The dataset is gone, or may be as old as it likes.' end
      when state.kind = 'consumer_failed' then
        case when not exists (select from etl.consumers as c where c.active and c.consumer = split_part(state.subject, ' ', 1))
          then 'The consumer is gone.' end
    end;
    if why is not null then
      perform etl.resolve_alert(state.kind, state.subject, why);
    end if;
  end loop;
end $$;
comment on function etl.end_gone_incidents() is 'closes incidents whose schedule, label, dataset or consumer is gone';
