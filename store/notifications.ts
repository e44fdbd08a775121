import type { Sql } from "./database.ts";

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

/** Whether a channel takes messages now. */
export async function channelState(sql: Sql, channel: string): Promise<ChannelState> {
  await sql`insert into etl.notification_channels (channel) values (${channel}) on conflict do nothing`;
  const [row] = await sql<{ wait: number; blocked: number; failures: number }[]>`
    select failures,
      greatest(0, coalesce(extract(epoch from nullif(next_send_at, '-infinity') - clock_timestamp()), 0) * 1000)::double precision as wait,
      greatest(0, coalesce(extract(epoch from nullif(blocked_until, '-infinity') - clock_timestamp()), 0) * 1000)::double precision as blocked
    from etl.notification_channels where channel = ${channel}`;
  const { wait, blocked, failures } = row!;
  return { waitMs: wait, blockedMs: blocked, failures };
}

/** The oldest notifications that wait for a channel. */
export async function pendingNotifications(
  sql: Sql,
  channel: string,
  limit: number,
): Promise<PendingNotification[]> {
  return await sql<PendingNotification[]>`
    select notification_id, type, payload, attempts from etl.notifications
    where channel = ${channel} and state = 'pending' order by notification_id limit ${limit}`;
}

/** Notes that a message was taken, and when the next may follow. */
export async function markSent(
  sql: Sql,
  channel: string,
  { ids, intervalMs }: { ids: string[]; intervalMs: number },
): Promise<void> {
  await sql`
    with sent as (
      update etl.notifications set state = 'sent', sent_at = clock_timestamp(), attempts = attempts + 1, last_error = null
      where notification_id = any (${ids}) and state = 'pending')
    update etl.notification_channels set next_send_at = clock_timestamp() + ${intervalMs} * interval '1 millisecond',
      blocked_until = '-infinity', failures = 0, failing_since = null, last_error = null
    where channel = ${channel}`;
}

/**
 * Notes that a message was not taken. `retryMs` null: these notifications are
 * given up; else the channel rests so long, and those older than `maxAgeHours`
 * are given up.
 */
export async function markUnsent(
  sql: Sql,
  channel: string,
  failure: { ids: string[]; error: string; retryMs: number | null; maxAgeHours: number },
): Promise<void> {
  const { ids, error, retryMs, maxAgeHours } = failure;
  await sql`
    with unsent as (
      update etl.notifications set attempts = attempts + 1, last_error = ${error},
        state = case when ${
    retryMs === null
  } or created_at < clock_timestamp() - ${maxAgeHours} * interval '1 hour'
          then 'failed' else state end
      where notification_id = any (${ids}) and state = 'pending')
    update etl.notification_channels set failures = failures + 1, last_error = ${error},
      failing_since = coalesce(failing_since, clock_timestamp()),
      next_send_at = clock_timestamp() + interval '1 second',
      blocked_until = clock_timestamp() + ${retryMs ?? 0} * interval '1 millisecond'
    where channel = ${channel}`;
}
