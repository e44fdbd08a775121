-- The default destination.
select etl.ensure_destination('public', 'etl_improved_events', 'etl_improved_audit');
