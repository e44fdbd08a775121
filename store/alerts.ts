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
