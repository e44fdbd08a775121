import type { Queryable } from "./pg.ts";

/** A row of etl.notifications that waits. */
export interface PendingNotification {
  notification_id: string;
  type: "raised" | "recovered";
  payload: Record<string, unknown>;
  attempts: number;
}

export interface ChannelState {
  /** Milliseconds until the next message may be sent, 0 or more. */
  waitMs: number;
  /** Milliseconds until a failing channel is tried again, 0 or more. */
  blockedMs: number;
  /** Failures in a row. */
  failures: number;
}

/** Locks a channel for the transaction: one server sends to it at a time. */
export async function lockChannel(client: Queryable, channel: string): Promise<ChannelState> {
  await client.query(
    "insert into etl.notification_channels (channel) values ($1) on conflict do nothing",
    [channel],
  );
  const { rows } = await client.query<{ wait: number; blocked: number; failures: number }>(
    `with locked as materialized (
       select * from etl.notification_channels where channel = $1 for update)
     select failures,
       greatest(0, coalesce(extract(epoch from nullif(next_send_at, '-infinity') - clock_timestamp()), 0) * 1000)::double precision as wait,
       greatest(0, coalesce(extract(epoch from nullif(blocked_until, '-infinity') - clock_timestamp()), 0) * 1000)::double precision as blocked
     from locked`,
    [channel],
  );
  const { wait, blocked, failures } = rows[0]!;
  return { waitMs: wait, blockedMs: blocked, failures };
}

/** The oldest notifications that wait for a channel. */
export async function pendingNotifications(
  client: Queryable,
  channel: string,
  limit: number,
): Promise<PendingNotification[]> {
  const { rows } = await client.query<PendingNotification>(
    `select notification_id, type, payload, attempts from etl.notifications
     where channel = $1 and state = 'pending' order by notification_id limit $2 for update`,
    [channel, limit],
  );
  return rows;
}

/** Notes that a message was taken, and when the next may follow. */
export async function markSent(
  client: Queryable,
  channel: string,
  { ids, intervalMs }: { ids: string[]; intervalMs: number },
): Promise<void> {
  await client.query(
    `update etl.notifications set state = 'sent', sent_at = clock_timestamp(), attempts = attempts + 1, last_error = null
     where notification_id = any ($1)`,
    [ids],
  );
  await client.query(
    `update etl.notification_channels set next_send_at = clock_timestamp() + $2 * interval '1 millisecond',
       blocked_until = '-infinity', failures = 0, failing_since = null, last_error = null
     where channel = $1`,
    [channel, intervalMs],
  );
}

/**
 * Notes that a message was not taken. `retryMs` null: these notifications are
 * given up; else the channel rests so long, and those older than `maxAgeHours`
 * are given up.
 */
export async function markUnsent(
  client: Queryable,
  channel: string,
  failure: { ids: string[]; error: string; retryMs: number | null; maxAgeHours: number },
): Promise<void> {
  const { ids, error, retryMs, maxAgeHours } = failure;
  await client.query(
    `update etl.notifications set attempts = attempts + 1, last_error = $2,
       state = case when $3 or created_at < clock_timestamp() - $4 * interval '1 hour' then 'failed' else state end
     where notification_id = any ($1)`,
    [ids, error, retryMs === null, maxAgeHours],
  );
  await client.query(
    `update etl.notification_channels set failures = failures + 1, last_error = $2,
       failing_since = coalesce(failing_since, clock_timestamp()),
       next_send_at = clock_timestamp() + interval '1 second',
       blocked_until = clock_timestamp() + $3 * interval '1 millisecond'
     where channel = $1`,
    [channel, error, retryMs ?? 0],
  );
}
