-- An event of a dataset as consumers and the API see it. schema: the columns of a typed table as the run left them, [{name, type}].
create or replace function etl.event_json(event etl.dataset_events) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select jsonb_build_object('event_no', event.event_no, 'dataset', event.dataset, 'run_id', event.run_id, 'emitted_by', event.emitted_by,
    'counts', event.counts, 'schema', event.details -> 'schema',
    'schema_changed', coalesce((event.details ->> 'schema_changed')::boolean, false), 'created_at', etl.iso(event.created_at))
$$;

-- Events get their numbers in the order in which they are committed: whoever sees one sees all before it, so that no
-- consumer is told of a later end of a run first. Taken before numbers are drawn, held until the transaction's end.
create or replace function etl.order_dataset_events() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('etl dataset_events', 0));
  return null;
end $$;
create or replace trigger order_dataset_events before insert on etl.dataset_events
  for each statement execute function etl.order_dataset_events();

-- A dataset event becomes one delivery for each consumer of the dataset, in the transaction that writes it.
create or replace function etl.deliver_dataset_event() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  unchanged boolean := coalesce((new.counts ->> 'inserted')::bigint + (new.counts ->> 'updated')::bigint
    + coalesce((new.counts ->> 'deleted')::bigint, 0) + coalesce((new.counts ->> 'marked')::bigint, 0) = 0, false);
  consumer etl.consumers;
begin
  for consumer in select c.* from etl.consumers as c where c.active and new.dataset = any (c.datasets) order by c.consumer loop
    insert into etl.deliveries (consumer, event_no, state, ended_at)
    values (consumer.consumer, new.event_no, case when consumer.skip_unchanged and unchanged then 'skipped' else 'pending' end,
      case when consumer.skip_unchanged and unchanged then clock_timestamp() end);
    if not (consumer.skip_unchanged and unchanged) then
      perform etl.wake('consumer ' || consumer.consumer);
    end if;
  end loop;
  -- news of a dataset ends its being stale; where somebody has that incident locked the next sweep ends it
  perform from etl.alert_states as s where s.fingerprint = 'stale:' || new.dataset and s.resolved_at is null for update skip locked;
  if found then
    perform etl.resolve_alert('stale', new.dataset, format('%s has been updated.', new.dataset),
      jsonb_build_object('run_id', new.run_id));
  end if;
  return null;
end $$;
create or replace trigger deliver_dataset_event after insert on etl.dataset_events
  for each row execute function etl.deliver_dataset_event();

-- Publishes the consumers that the program has; those that it no longer has get no more events.
-- consumers: [{name, datasets, emits, mode, skip_unchanged, sha256?}]
create or replace function etl.register_consumers(consumers jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.consumers as c (consumer, datasets, emits, mode, skip_unchanged, sha256)
  select w.name, w.datasets, w.emits, w.mode, w.skip_unchanged, w.sha256
  from jsonb_to_recordset(consumers) as w (name text, datasets text[], emits text[], mode text, skip_unchanged boolean, sha256 text)
  order by w.name
  on conflict (consumer) do update set datasets = excluded.datasets, emits = excluded.emits, mode = excluded.mode,
    skip_unchanged = excluded.skip_unchanged, sha256 = excluded.sha256, active = true
  where (c.datasets, c.emits, c.mode, c.skip_unchanged, c.sha256, c.active)
    is distinct from (excluded.datasets, excluded.emits, excluded.mode, excluded.skip_unchanged, excluded.sha256, true);
  update etl.consumers as c set active = false
    where c.active and not exists (select from jsonb_array_elements(consumers) as w where w ->> 'name' = c.consumer);
end $$;

-- Starts a consumer by hand, with parameters. Answers the delivery's id.
create or replace function etl.request_delivery(consumer text, params jsonb) returns bigint
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  id bigint;
begin
  insert into etl.deliveries (consumer, params) values (request_delivery.consumer, request_delivery.params) returning delivery_id into id;
  perform etl.wake('consumer ' || consumer);
  return id;
end $$;

-- The next pending deliveries of a consumer, for whoever holds its lease: the oldest one, or the oldest ones up to
-- max_count. Nothing while the oldest one rests after a failure: later ones do not pass it. What was asked for by hand
-- comes first and alone, as it has its own parameters. Their attempt is counted here, before they are executed: those
-- that have ended their servers max_attempts times are given up.
create or replace function etl.claim_deliveries(consumer text, holder uuid, max_count integer, max_attempts integer)
returns table (delivery_id bigint, params jsonb, event jsonb)
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  given_up bigint[];
  claimed bigint[];
begin
  perform etl.require_lease('consumer ' || consumer, holder);
  select array_agg(d.delivery_id) into given_up from etl.deliveries as d
    where d.consumer = claim_deliveries.consumer and d.state = 'pending' and d.attempts >= max_attempts;
  if given_up is not null then
    perform etl.fail_deliveries(consumer, given_up, 'Its server stopped without a word while it was executed.', max_attempts);
  end if;
  with pending as (
    select d.delivery_id, d.event_no, d.next_attempt_at, row_number() over (order by d.event_no nulls first, d.delivery_id) as place
    from etl.deliveries as d where d.consumer = claim_deliveries.consumer and d.state = 'pending'
    order by d.event_no nulls first, d.delivery_id limit max_count
  ), first as (select * from pending as p where p.place = 1 and p.next_attempt_at <= clock_timestamp())
  select array_agg(p.delivery_id) into claimed from pending as p cross join first as f
    where p.place = 1 or f.event_no is not null;
  update etl.deliveries as d set attempts = d.attempts + 1 where d.delivery_id = any (claimed);
  return query select d.delivery_id, d.params, case when e.event_no is not null then etl.event_json(e) end
    from etl.deliveries as d left join etl.dataset_events as e on e.event_no = d.event_no
    where d.delivery_id = any (claimed) order by d.event_no, d.delivery_id;
end $$;

-- A consumer's statements run in the transaction in which its deliveries are ticked off. However they end it
-- (commit, commit and chain, prepare transaction), the database refuses what has not been ticked off.
create or replace function etl.require_tick_off() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  if exists (select from etl.consumer_transactions as t where t.xact = new.xact) then
    raise exception 'A consumer does not commit: its transaction is the one in which its events are ticked off.'
      using errcode = 'invalid_transaction_termination', hint = 'Leave commit to the server; "set constraints all immediate" needs the names of the constraints.';
  end if;
  return null;
end $$;
do $$ begin
  if not exists (select from pg_trigger where tgname = 'require_tick_off' and tgrelid = 'etl.consumer_transactions'::regclass) then
    create constraint trigger require_tick_off after insert on etl.consumer_transactions
      deferrable initially deferred for each row execute function etl.require_tick_off();
  end if;
end $$;

create or replace function etl.begin_consumer_transaction() returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  insert into etl.consumer_transactions (xact) values (pg_current_xact_id())
$$;

-- Whether a consumer has given up events that it has not had since.
create or replace function etl.owes_deliveries(consumer text) returns boolean
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select exists (select from etl.deliveries as d
    where d.consumer = owes_deliveries.consumer and (d.state = 'failed' or d.redelivered_at is not null))
$$;

-- Ticks deliveries off, in the consumer's transaction. Refused to who no longer holds the lease, and where the consumer
-- has put another transaction in the place of its own.
create or replace function etl.finish_deliveries(consumer text, holder uuid, ids bigint[], result jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  perform etl.require_lease('consumer ' || consumer, holder);
  delete from etl.consumer_transactions as t where t.xact = pg_current_xact_id();
  if not found then
    raise exception 'The consumer has ended its transaction.' using errcode = 'invalid_transaction_termination';
  end if;
  update etl.deliveries as d set state = 'done', error = null, result = finish_deliveries.result, ended_at = clock_timestamp(),
      redelivered_at = null
    where d.delivery_id = any (ids) and d.state = 'pending';
  if not etl.owes_deliveries(consumer) then
    perform etl.resolve_alert('consumer_failed', consumer, format('Consumer %s works again, and has had all of its events.', consumer));
  end if;
end $$;

-- Notes that a consumer threw: its events come again with growing pauses, at most max_attempts times.
create or replace function etl.fail_deliveries(consumer text, ids bigint[], error text, max_attempts integer) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  given_up bigint;
begin
  with failed as (
    update etl.deliveries as d set error = fail_deliveries.error,
      state = case when d.attempts >= max_attempts then 'failed' else 'pending' end,
      ended_at = case when d.attempts >= max_attempts then clock_timestamp() end,
      next_attempt_at = clock_timestamp() + least(300, power(2, d.attempts - 1)) * interval '1 second'
    where d.delivery_id = any (ids) and d.state = 'pending' returning d.state
  )
  select count(*) filter (where f.state = 'failed') into given_up from failed as f;
  if given_up > 0 then
    perform etl.raise_alert('consumer_failed', consumer, format('Consumer %s failed %s times and gave up on %s. The last error: %s',
        consumer, max_attempts, case given_up when 1 then 'an event' else given_up || ' events' end, left(error, 500)),
      jsonb_build_object('severity', 'error', 'details', jsonb_build_object('consumer', consumer, 'deliveries', to_jsonb(ids))));
  end if;
end $$;

-- Puts deliveries back whose execution was interrupted by what is not the consumer's fault: the attempt does not count.
create or replace function etl.release_deliveries(ids bigint[], pause interval default '0') returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  update etl.deliveries as d set attempts = greatest(0, d.attempts - 1), next_attempt_at = clock_timestamp() + pause
  where d.delivery_id = any (ids) and d.state = 'pending'
$$;

-- Puts deliveries that were given up back, with all their attempts: those of a consumer, or one of them. Answers how many.
create or replace function etl.redeliver(consumer text, delivery_id bigint default null, actor text default session_user) returns bigint
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  back bigint;
begin
  update etl.deliveries as d set state = 'pending', attempts = 0, ended_at = null, next_attempt_at = '-infinity',
      redelivered_at = clock_timestamp()
    where d.consumer = redeliver.consumer and d.state = 'failed' and d.delivery_id = coalesce(redeliver.delivery_id, d.delivery_id);
  get diagnostics back = row_count;
  if back > 0 then
    insert into public.etl_improved_audit (event, actor, details) values ('redelivered', actor,
      jsonb_build_object('consumer', redeliver.consumer, 'deliveries', back));
    perform etl.wake('consumer ' || redeliver.consumer);
  end if;
  return back;
end $$;
comment on function etl.redeliver(text, bigint, text) is 'delivers again what a consumer has given up; answers how many';
