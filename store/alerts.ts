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
    from public.v_etl_recent_alerts as a order by a.created_at desc, a.alert_id desc`;
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
}

/** Incidents that go on, the last to have happened first. */
export async function openIncidents(sql: Sql): Promise<OpenIncident[]> {
  return await sql<OpenIncident[]>`
    select fingerprint, kind, subject, etl.iso(opened_at) as opened_at, etl.iso(last_at) as last_at,
      occurrences::integer as occurrences, etl.iso(acknowledged_at) as acknowledged_at, acknowledged_by,
      etl.iso(silenced_until) as silenced_until, silenced_by
    from etl.alert_states where resolved_at is null order by last_at desc, fingerprint limit 500`;
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
