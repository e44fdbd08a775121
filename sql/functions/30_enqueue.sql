-- Puts a job into a pg-boss queue, with that queue's options, and wakes its workers.
-- False where the queue does not exist (no server has started yet).
create or replace function etl.enqueue(queue text, data jsonb, delay interval default '0') returns boolean
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  stored integer;
begin
  if to_regclass('pgboss.job') is null then
    return false;
  end if;
  insert into pgboss.job (name, data, start_after, keep_until, retry_limit, retry_delay, retry_backoff, retry_delay_max,
    expire_seconds, deletion_seconds, policy, dead_letter, heartbeat_seconds)
  select q.name, enqueue.data, now() + delay, now() + delay + q.retention_seconds * interval '1 second', q.retry_limit,
    q.retry_delay, q.retry_backoff, q.retry_delay_max, q.expire_seconds, q.deletion_seconds, q.policy,
    q.dead_letter, q.heartbeat_seconds
  from pgboss.queue as q where q.name = enqueue.queue;
  get diagnostics stored = row_count;
  if stored > 0 and delay <= '0' then
    -- the channel name is pg-boss's own: pgboss_ and the hashed name of its schema
    perform pg_notify('pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24), queue);
  end if;
  return stored > 0;
end $$;
