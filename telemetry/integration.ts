import type { ExportFacts, ExportOutcome, PendingExport } from "../store/exports.ts";

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
  /** Throws a DeliveryError. */
  send(notifications: Notification[]): Promise<void>;
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
