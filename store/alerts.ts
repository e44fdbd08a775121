import type { Sql } from "./database.ts";

/** An alert as the API shows it; times are ISO 8601 in UTC. */
export interface AlertView {
  alert_id: number;
  kind: string;
  severity: string;
  message: string;
  run_id: string | null;
  run_label: string | null;
  fingerprint: string | null;
  details: Record<string, unknown>;
  /** Found again within the suppression window: recorded, not told. */
  suppressed: boolean;
  created_at: string;
  /** When its incident ended; null while it goes on. */
  resolved_at: string | null;
  /** State of the message by channel; empty where none was sent. */
  notified: Record<string, "pending" | "sent" | "failed">;
}

/** The newest alerts, at most 50. */
export async function recentAlerts(sql: Sql): Promise<AlertView[]> {
  const rows = await sql<{ alert: AlertView }[]>`
    select jsonb_build_object('alert_id', a.alert_id, 'kind', a.kind, 'severity', a.severity, 'message', a.message,
      'run_id', a.run_id, 'run_label', a.run_label, 'fingerprint', a.fingerprint, 'details', a.details,
      'suppressed', a.suppressed, 'created_at', etl.iso(a.created_at), 'resolved_at', etl.iso(a.resolved_at),
      'notified', coalesce((select jsonb_object_agg(n.channel, n.state) from etl.notifications as n
        where n.created_at >= a.created_at - interval '1 minute' and n.created_at <= a.created_at + interval '1 minute'
          and n.type = 'raised' and n.payload -> 'alert_id' = to_jsonb(a.alert_id)), '{}')) as alert
    from public.etl_improved_alerts as a order by a.created_at desc, a.alert_id desc limit 50`;
  return rows.map((row) => row.alert);
}

/** An incident that goes on. */
export interface OpenIncident {
  fingerprint: string;
  kind: string;
  subject: string;
  opened_at: string;
  last_at: string;
  occurrences: number;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  silenced_until: string | null;
  silenced_by: string | null;
  /** What its last alert said, and of which run; null where that is kept no more. */
  severity: string | null;
  message: string | null;
  run_id: string | null;
}

/** Incidents that go on, the last to have happened first. */
export async function openIncidents(sql: Sql): Promise<OpenIncident[]> {
  return await sql<OpenIncident[]>`
    select fingerprint, kind, subject, etl.iso(opened_at) as opened_at, etl.iso(last_at) as last_at,
      occurrences::integer as occurrences, etl.iso(acknowledged_at) as acknowledged_at, acknowledged_by,
      etl.iso(silenced_until) as silenced_until, silenced_by, a.severity, a.message, a.run_id
    from (select * from etl.alert_states where resolved_at is null order by last_at desc, fingerprint limit 500) as s
    left join lateral (select a.severity, a.message, a.run_id from public.etl_improved_alerts as a
      -- by the time: an incident may have thousands
      where a.created_at between s.last_at - interval '1 second' and s.last_at + interval '10 seconds' and a.fingerprint = s.fingerprint
      order by a.alert_id desc limit 1) as a on true
    order by last_at desc, fingerprint`;
}

/** A text that is another one as soon as an incident opens, happens again, is handled or ends, or its message has been sent. */
export async function incidentsMark(sql: Sql): Promise<string> {
  const [row] = await sql<{ mark: string }[]>`
    select concat_ws(' ', (select sum(hashtextextended(concat(s, s.silenced_until > now()), 0)) from etl.alert_states as s
        where s.resolved_at is null),
      (select count(*) from etl.notifications where state = 'pending')) as mark`;
  return row!.mark;
}

export type AlertAction = "acknowledge" | "silence" | "close";

/** Does what somebody asks for with an open incident; false where it is not open. */
export async function handleAlert(
  sql: Sql,
  { fingerprint, action, actor, minutes }: {
    fingerprint: string;
    action: AlertAction;
    actor: string;
    /** Of a silence. */
    minutes: number | null;
  },
): Promise<boolean> {
  const [row] = await sql<{ done: boolean }[]>`
    select etl.handle_alert(${fingerprint}, ${action}, ${actor},
      clock_timestamp() + ${minutes}::double precision * interval '1 minute') as done`;
  return row!.done;
}

/** Sends a message to each channel that a server has, so that somebody sees whether it arrives; answers which. */
export async function sendTestAlert(sql: Sql, actor: string): Promise<string[]> {
  const [row] = await sql<{ channels: string[] }[]>`
    select s.channels from etl.reaction_settings as s, lateral etl.notify_channels('raised', jsonb_build_object(
      'kind', 'test', 'subject', 'test', 'severity', 'info', 'message', ${`A test that ${actor} asked for.`}::text,
      'run_id', null, 'run_label', null, 'fingerprint', 'test:test', 'details', '{}'::jsonb, 'occurrences', 1,
      'opened_at', etl.iso(clock_timestamp()), 'at', etl.iso(clock_timestamp()))) as told`;
  return row!.channels;
}

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

/** The parameters of etl_consumer, and where each comes from: variable or environment. */
export async function consumerParams(sql: Sql): Promise<
  { params: { trend_window: number; drop_threshold_pct: number }; origins: Record<string, string> }
> {
  const [row] = await sql<
    { trend_window: number; drop_threshold_pct: number; origins: Record<string, string> }[]
  >`select * from etl.consumer_params()`;
  const { origins, ...params } = row!;
  return { params, origins };
}
