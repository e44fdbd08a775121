-- Maintenance deletes events by occurred_at; it waits for a yes where that takes more than updated_at did.
alter table etl.param_schema add column if not exists events_by_occurred_at boolean not null default true;
update etl.param_schema set events_by_occurred_at = false;
