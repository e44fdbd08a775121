-- Adds a line to the run's audit table, or to the public one where the run's does not exist (a dry run creates none) or is not trusted.
create or replace function etl.audit(run etl.runs, event text, actor text, details jsonb default '{}') returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  audit_table text := etl.home_of(run.schema_name, run.audit_table_name, 'public.etl_improved_audit');
begin
  execute format('insert into %s (run_id, run_label, event, status, actor, params, details) values ($1, $2, $3, $4, $5, $6, $7)', audit_table)
    using run.run_id, run.run_label, event, run.state, actor, etl.without_secrets(run.params), details;
end $$;
