-- The queue is in tables of schema etl: pg-boss and what gave it work are gone. setup-db drops schema pgboss, if it is ours.
drop function if exists etl.enqueue(text, jsonb, interval);
drop function if exists etl.admit(text);
drop function if exists etl.admit_all(text);
drop function if exists etl.recover_runs();
drop function if exists etl.recover_reactions();
drop function if exists etl.consume_run(uuid);
drop function if exists etl.end_backends(uuid);
-- replaced by one in the order of events
drop index if exists etl.deliveries_pending;

do $$
begin
  if to_regclass('etl.job_scheduler') is not null then
    alter table etl.job_scheduler drop constraint if exists job_scheduler_kind_known;
    update etl.job_scheduler set kind = 'servers' where kind = 'pg_boss';
    alter table etl.job_scheduler add constraint job_scheduler_kind_known check (kind in ('pg_cron', 'servers'));
  end if;
end $$;
