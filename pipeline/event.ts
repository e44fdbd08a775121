import type { Message } from "../vocabulary/messages.ts";
import type { SourceRecord } from "./numbers.ts";

/** A record after transform, as it is stored; text as COPY and the fingerprint need it. */
export interface Event {
  /** Index of the record in its chunk, and of the output where a transform gives several. */
  position: number;
  output: number;
  eventId: string;
  eventType: string;
  /** UTC, "2026-01-31T23:59:59.5Z". */
  occurredAt: string | null;
  /** Decimal text. */
  version: string | null;
  payload: SourceRecord;
  /** The payload's canonical JSON. */
  text: string;
  /** The record as it was read, where a transform module changed it; else null: `text` is it. */
  raw: string | null;
  /** SHA-256 in hex of the canonical JSON of the event; of a typed row its first half, over the row; of a deletion empty. */
  fingerprint: string;
  /** The values of a typed table's columns as the encoder takes them; only where the destination is one. */
  row?: (string | null)[];
  /** Whether it says that its key is gone, and so is no row: of it only key and version count. */
  deletes?: boolean;
  /** What the schema of a transform module says against the payload. */
  refused?: Rejection;
}

/** An event's record as the quarantine shows it. */
export function rawOf(event: Pick<Event, "raw" | "text">): string {
  return event.raw ?? event.text;
}

/** A record that goes to the quarantine, with the rule that it broke. */
export interface Rejected {
  position: number;
  output: number;
  rule: string;
  message: Message;
  field: string | null;
  /** The record as it stands in its file, else as JSON. */
  raw: string;
  /** Its bytes, where text cannot hold them. */
  raw_bytes?: Uint8Array;
  /** The record as JSON, to be loaded again, where `raw` is not that. */
  record?: string;
  /** Its event's key, where it could be read; of a typed row as a table of keys has it. */
  key?: string | undefined;
  /** Where it stands: file or URL, and line from 1. */
  file?: string | null;
  line?: number | null;
  /** Its line of the slice, while nobody knows that of the file. */
  slice_line?: number;
}

/** Why a payload is rejected, as it goes into the quarantine. */
export interface Rejection {
  /** `payload_schema:` and the keyword that failed, e.g. `payload_schema:required`. */
  rule: string;
  /** In words: "amount must be >= 0". */
  message: Message;
}

export type PayloadCheck = (record: SourceRecord) => Rejection | null;
