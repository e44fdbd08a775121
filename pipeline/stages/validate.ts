import { say } from "../../vocabulary/messages.ts";
import { UNSTORABLE, unstorable } from "../canonical.ts";
import { type Event, type PayloadCheck, rawOf, type Rejected, type Rejection } from "../event.ts";

/** A btree index entry holds about 2,700 bytes; longer ids could not be indexed. */
export const MAX_EVENT_ID_BYTES = 2000;
export const MAX_EVENT_TYPE_LENGTH = 200;
/** numeric holds 131,072 digits before the point; a version is never that long. */
const MAX_VERSION_LENGTH = 200;

/** Rules that a key itself may break: no row can have it. */
const KEY_RULES = new Set(["unicode", "nul_character", "key_too_long"]);

export interface ValidateOptions {
  /** Bytes that a payload may have; default 16 MiB. */
  maxPayloadBytes: number;
  /** Further checks of a payload, e.g. by a JSON Schema. */
  checks?: PayloadCheck[];
  /** Whether rows of a typed table are made of the events, which checks their values and keys (typed_rows.ts). */
  typed?: boolean;
  /** The key of an event as a table of keys has it; default: its eventId. */
  keyOf?: (event: Event) => string | undefined;
}

/** The validate stage: row rules. Splits a batch into what holds and what is quarantined. */
export function validateBatch(
  events: Event[],
  options: ValidateOptions,
): { valid: Event[]; rejected: Rejected[] } {
  const rejected: Rejected[] = [];
  const valid = events.filter((event) => {
    const broken = brokenRule(event, options);
    if (broken === null) return true;
    const { position, output, eventId } = event;
    const key = options.keyOf === undefined ? eventId : options.keyOf(event);
    rejected.push({
      position,
      output,
      field: null,
      raw: rawOf(event),
      ...broken,
      ...(KEY_RULES.has(broken.rule) || key === undefined ? {} : { key }),
    });
    return false;
  });
  return { valid, rejected };
}

function brokenRule(
  event: Event,
  { maxPayloadBytes, checks = [], typed = false }: ValidateOptions,
): Rejection & { field?: string } | null {
  const { eventType } = event;
  if (hasNul(eventType)) return UNSTORABLE.nul;
  const broken = typed ? null : brokenByText(event, maxPayloadBytes);
  if (broken !== null) return broken;
  if (eventType.length > MAX_EVENT_TYPE_LENGTH) {
    return {
      rule: "event_type_too_long",
      message: say("type-too-long", { n: MAX_EVENT_TYPE_LENGTH }),
    };
  }
  if (event.version !== null && !isStorableVersion(event.version)) {
    return { rule: "version_invalid", message: say("version-not-storable", {}) };
  }
  // it is no row: nothing of it but key and version is stored
  if (event.deletes) return null;
  for (const check of checks) {
    const rejection = check(event.payload);
    if (rejection !== null) return rejection;
  }
  return event.refused ?? null;
}

export function isStorableVersion(version: string): boolean {
  return version.length <= MAX_VERSION_LENGTH && !/^-?(NaN|Infinity)$/.test(version);
}

function brokenByText(
  { text, eventId }: Event,
  maxPayloadBytes: number,
): Rejection | null {
  const bad = text.includes("\\u") ? unstorable(text) : null;
  if (bad !== null) return UNSTORABLE[bad];
  if (hasNul(eventId)) return UNSTORABLE.nul;
  return isLonger(text, maxPayloadBytes) ? tooLarge(maxPayloadBytes) : longKey(eventId);
}

/** The rule that a key breaks which is too long. */
export function longKey(eventId: string): Rejection | null {
  return isLonger(eventId, MAX_EVENT_ID_BYTES)
    ? { rule: "key_too_long", message: say("key-too-long", { n: MAX_EVENT_ID_BYTES }) }
    : null;
}

function hasNul(text: string): boolean {
  return text.includes("\u0000");
}

/** The rule that a payload breaks which has more than so many bytes. */
export function tooLarge(maxPayloadBytes: number): Rejection {
  return { rule: "payload_too_large", message: say("payload-too-large", { n: maxPayloadBytes }) };
}

const encoder = new TextEncoder();

/** Whether a text has more than so many bytes of UTF-8, of which a UTF-16 unit is at most three. */
export function isLonger(text: string, bytes: number): boolean {
  return text.length * 3 > bytes && encoder.encode(text).byteLength > bytes;
}
