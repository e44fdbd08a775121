import type { ExportFacts, ExportOutcome, PendingExport } from "../store/exports.ts";
import { ALERT_KINDS, type AlertKind } from "../vocabulary/alert_kinds.ts";

/** What is told of an alert, as etl.raise_alert and etl.resolve_alert write it. */
export interface Notification {
  /** Unique; deliveries of the same one are repetitions. */
  id: string;
  type: "raised" | "recovered";
  payload: {
    alert_id?: number;
    kind: string;
    subject: string;
    severity: string;
    message: string;
    run_id: string | null;
    run_label: string | null;
    fingerprint: string;
    occurrences?: number;
    suppressed_before?: number;
    opened_at: string;
    at: string;
    details: Record<string, unknown>;
  };
}

/** Something that notifications are sent to. */
export interface Sender {
  /** Notifications that one message may hold. */
  readonly batch: number;
  /** Milliseconds between two messages. */
  readonly intervalMs: number;
  /** Throws a DeliveryError; answers what somebody should look at although it was taken. */
  send(notifications: Notification[]): Promise<string | void>;
}

/** What a notification is about, in a line: "Recovered: Run failed: nightly". */
export function headline({ type, payload: { kind, subject } }: Notification): string {
  const title = Object.hasOwn(ALERT_KINDS, kind) ? ALERT_KINDS[kind as AlertKind].title : kind;
  return `${type === "recovered" ? `Recovered: ${title}` : title}: ${subject}`;
}

/** Where its run is shown; null without one. */
export function runUrl({ payload }: Notification, publicUrl: string): string | null {
  return payload.run_id === null ? null : `${publicUrl}/etl/runs/${payload.run_id}`;
}

/** Where the dashboard says what to do about it, in the reader's language; null for what is over, and for kinds of others. */
export function adviceUrl({ type, payload }: Notification, publicUrl: string): string | null {
  return type === "raised" && Object.hasOwn(ALERT_KINDS, payload.kind)
    ? `${publicUrl}/etl/alerts#do-${payload.kind}`
    : null;
}

/** What a message says besides headline and text, by name. */
export function facts({ id, payload }: Notification): Record<string, string> {
  const { run_label, run_id, occurrences = 1, suppressed_before = 0, opened_at, at } = payload;
  return {
    ...(run_label === null ? {} : { Label: run_label }),
    ...(run_id === null ? {} : { Run: run_id }),
    ...(occurrences > 1 ? { Times: `${occurrences} since ${opened_at}` } : {}),
    ...(suppressed_before > 0 ? { "Since the last message": `${suppressed_before} more` } : {}),
    At: at,
    Id: id,
  };
}

/** Tells a run to another system. Throws a DeliveryError where that fails. */
export type Exporter = (
  pending: PendingExport,
  facts: ExportFacts,
  progress: ExportProgress,
) => Promise<ExportOutcome>;

/** What an exporter has come to, kept also when it fails after that. */
export interface ExportProgress {
  startedAt: string | null;
  externalId: string | null;
}
