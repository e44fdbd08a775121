-- What was ratio_drop is trend_drop, as in the original; stored alerts keep their kind, incidents that go on get the new one.
alter table etl.reaction_settings alter column trend_window set default 7, alter column ratio_drop set default 0.2;
update public.etl_improved_alerts set fingerprint = regexp_replace(fingerprint, '^ratio_drop:', 'trend_drop:')
  where fingerprint like 'ratio\_drop:%' and resolved_at is null;
update etl.alert_states set fingerprint = regexp_replace(fingerprint, '^ratio_drop:', 'trend_drop:'), kind = 'trend_drop'
  where kind = 'ratio_drop';
