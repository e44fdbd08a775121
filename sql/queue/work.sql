-- What is due, and who has it in hand.

-- Takes a lease for 20 s; false while somebody else holds it. Who holds it prolongs it by etl.prolong_lease, and gives
-- it back by etl.release_lease. Whoever takes it from one who did neither ends the transactions that this one has open.
create or replace function etl.claim_lease(name text, holder uuid) returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  expired boolean;
begin
  select l.held_until <= clock_timestamp() into expired from etl.leases as l where l.name = claim_lease.name;
  if expired then
    perform etl.end_backends(left('etl-lease ' || name, 63));
  elsif found then
    return false;
  end if;
  insert into etl.leases as l (name, holder, held_until) values (claim_lease.name, claim_lease.holder, clock_timestamp() + interval '20 seconds')
  on conflict on constraint leases_pkey do update set holder = excluded.holder, held_until = excluded.held_until
    where l.held_until <= clock_timestamp();
  return found;
end $$;

create or replace function etl.prolong_lease(name text, holder uuid) returns boolean
language sql set search_path = pg_catalog, etl, pg_temp as $$
  with prolonged as (
    update etl.leases as l set held_until = clock_timestamp() + interval '20 seconds'
    where l.name = prolong_lease.name and l.holder = prolong_lease.holder returning 1)
  select exists (select from prolonged)
$$;

create or replace function etl.release_lease(name text, holder uuid) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  delete from etl.leases as l where l.name = release_lease.name and l.holder = release_lease.holder
$$;

-- Refuses what only the holder of a lease may do, and keeps others from taking it until the transaction ends.
create or replace function etl.require_lease(name text, holder uuid) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform from etl.leases as l where l.name = require_lease.name and l.holder = require_lease.holder for no key update;
  if not found then
    perform etl.raise_problem('superseded', format('Another server does this now: %s.', name), status => 409);
  end if;
end $$;

-- The kinds of work that are due and that nobody does. Servers ask every second, so that nothing needs its
-- notification: what a dead server left, what failed and is due again, what was asked for before any server started.
create or replace function etl.due_work() returns setof text
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select w.kind from (
    select 'requests' as kind where exists (select from etl.runs as r where r.state = 'queued' and r.admitted_at is null and r.accepted_at is not null)
      or exists (select from etl.runs as r where r.state = 'queued' and r.admitted_at is null and r.accepted_at is null)
      or exists (select from etl.cancel_requests)
    union all
    select 'runs' where exists (select from etl.runs as r where r.admitted_at is not null
      and (r.state = 'queued' and r.next_attempt_at <= clock_timestamp() or r.state = 'running' and not etl.is_alive(r)))
    union all
    select 'help' where exists (select from etl.shared_runs)
    union all
    select 'run_ends' where exists (select from etl.run_ends as e where e.consumed_at is null and e.next_attempt_at <= clock_timestamp())
    union all
    select 'refresh' from etl.view_refresh as v where v.requested > v.done
    union all
    select 'channel ' || c.channel from etl.reaction_settings as s, unnest(s.channels) as c (channel)
      left join etl.notification_channels as n on n.channel = c.channel
      where coalesce(n.blocked_until, '-infinity') <= clock_timestamp()
        and exists (select from etl.notifications as p where p.channel = c.channel and p.state = 'pending')
    union all
    select 'export ' || t.target from (values ('mlflow'), ('openlineage')) as t (target)
      where exists (select from etl.exports as x where x.target = t.target and x.state = 'pending' and x.next_attempt_at <= clock_timestamp())
    union all
    select 'consumer ' || c.consumer from etl.consumers as c
      cross join lateral (select d.next_attempt_at from etl.deliveries as d where d.consumer = c.consumer and d.state = 'pending'
        order by d.event_no nulls first, d.delivery_id limit 1) as first
      where first.next_attempt_at <= clock_timestamp()
    union all
    select 'maintenance' from etl.maintenance_runs as m where m.state in ('queued', 'running') and m.next_attempt_at <= clock_timestamp()
    union all
    select 'fingerprints' where exists (select from etl.datasets as d where d.fingerprints_from is not null
      and etl.find_table(d.schema_name, d.table_name) is not null)
    union all
    select 'job ' || j.name from etl.jobs as j where j.next_at <= clock_timestamp()
  ) as w
  where not exists (select from etl.leases as l where l.name = w.kind and l.held_until > clock_timestamp())
$$;
comment on function etl.due_work() is 'kinds of work that are due and that no server does';
