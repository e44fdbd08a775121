-- A dataset event becomes one delivery for each consumer of the dataset, in the transaction that writes it.
create or replace function etl.deliver_dataset_event() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  unchanged boolean := coalesce((new.counts ->> 'inserted')::bigint + (new.counts ->> 'updated')::bigint = 0, false);
  consumer etl.consumers;
begin
  for consumer in select c.* from etl.consumers as c where c.active and new.dataset = any (c.datasets) order by c.consumer loop
    insert into etl.deliveries (consumer, event_no, state, ended_at)
    values (consumer.consumer, new.event_no, case when consumer.skip_unchanged and unchanged then 'skipped' else 'pending' end,
      case when consumer.skip_unchanged and unchanged then clock_timestamp() end);
    if not (consumer.skip_unchanged and unchanged) then
      perform etl.enqueue('etl_consumer.' || consumer.consumer, jsonb_build_object('consumer', consumer.consumer));
    end if;
  end loop;
  -- news of a dataset ends its being stale
  perform etl.resolve_alert('stale', new.dataset, format('%s has been updated.', new.dataset),
    jsonb_build_object('run_id', new.run_id));
  return null;
end $$;
create or replace trigger deliver_dataset_event after insert on etl.dataset_events
  for each row execute function etl.deliver_dataset_event();

-- Publishes the consumers that the program has; those that it no longer has get no more events.
-- consumers: [{name, datasets, emits, mode, skip_unchanged}]
create or replace function etl.register_consumers(consumers jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
begin
  insert into etl.consumers as c (consumer, datasets, emits, mode, skip_unchanged)
  select w.name, w.datasets, w.emits, w.mode, w.skip_unchanged
  from jsonb_to_recordset(consumers) as w (name text, datasets text[], emits text[], mode text, skip_unchanged boolean)
  order by w.name
  on conflict (consumer) do update set datasets = excluded.datasets, emits = excluded.emits, mode = excluded.mode,
    skip_unchanged = excluded.skip_unchanged, active = true
  where (c.datasets, c.emits, c.mode, c.skip_unchanged, c.active)
    is distinct from (excluded.datasets, excluded.emits, excluded.mode, excluded.skip_unchanged, true);
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
  perform etl.enqueue('etl_consumer.' || consumer, jsonb_build_object('consumer', consumer));
  return id;
end $$;

-- Notes that a consumer threw: its events come again with growing pauses, at most max_attempts times.
create or replace function etl.fail_deliveries(consumer text, ids bigint[], error text, max_attempts integer) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  given_up bigint;
begin
  with failed as (
    update etl.deliveries as d set attempts = d.attempts + 1, error = fail_deliveries.error,
      state = case when d.attempts + 1 >= max_attempts then 'failed' else 'pending' end,
      ended_at = case when d.attempts + 1 >= max_attempts then clock_timestamp() end,
      next_attempt_at = clock_timestamp() + least(300, power(2, d.attempts)) * interval '1 second'
    where d.delivery_id = any (ids) and d.state = 'pending' returning d.state, d.next_attempt_at
  )
  select count(*) filter (where f.state = 'failed') into given_up from failed as f;
  if given_up > 0 then
    perform etl.raise_alert('consumer_failed', consumer, format('Consumer %s failed %s times and gave up on %s. The last error: %s',
        consumer, max_attempts, case given_up when 1 then 'an event' else given_up || ' events' end, left(error, 500)),
      jsonb_build_object('severity', 'error', 'details', jsonb_build_object('consumer', consumer, 'deliveries', to_jsonb(ids))));
  end if;
end $$;
