import { unstorable } from "../canonical.ts";
import type { Event, PayloadCheck, Rejected } from "../event.ts";

/** A btree index entry holds about 2,700 bytes; longer ids could not be indexed. */
const MAX_EVENT_ID_BYTES = 2000;
const MAX_EVENT_TYPE_LENGTH = 200;
/** numeric holds 131,072 digits before the point; a version is never that long. */
const MAX_VERSION_LENGTH = 200;

export interface ValidateOptions {
  /** Bytes that a payload may have; default 16 MiB. */
  maxPayloadBytes: number;
  /** Further checks of a payload, e.g. by a JSON Schema. */
  checks?: PayloadCheck[];
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
    const { position, output, raw, text } = event;
    rejected.push({ position, output, field: null, raw: raw ?? text, ...broken });
    return false;
  });
  return { valid, rejected };
}

function brokenRule(
  event: Event,
  { maxPayloadBytes, checks = [] }: ValidateOptions,
): { rule: string; message: string; field?: string } | null {
  const { text, eventId, eventType } = event;
  const bad = text.includes("\\u") ? unstorable(text) : null;
  if (bad !== null || hasNul(eventId) || hasNul(eventType)) {
    return bad === "surrogate"
      ? {
        rule: "unicode",
        message: "holds half of a surrogate pair, which PostgreSQL cannot store",
      }
      : { rule: "nul_character", message: "holds a NUL character, which PostgreSQL cannot store" };
  }
  // a UTF-16 unit is at most three bytes of UTF-8, so most need no exact count
  if (eventId.length * 3 > MAX_EVENT_ID_BYTES && byteLength(eventId) > MAX_EVENT_ID_BYTES) {
    return { rule: "key_too_long", message: `the key has more than ${MAX_EVENT_ID_BYTES} bytes` };
  }
  if (eventType.length > MAX_EVENT_TYPE_LENGTH) {
    return {
      rule: "event_type_too_long",
      message: `event_type has more than ${MAX_EVENT_TYPE_LENGTH} characters`,
    };
  }
  if (event.version !== null) {
    if (event.version.length > MAX_VERSION_LENGTH || /^-?(NaN|Infinity)$/.test(event.version)) {
      return { rule: "version_invalid", message: "version is no number that can be stored" };
    }
  }
  if (text.length * 3 > maxPayloadBytes && byteLength(text) > maxPayloadBytes) {
    return { rule: "payload_too_large", message: `has more than ${maxPayloadBytes} bytes` };
  }
  for (const check of checks) {
    const rejection = check(event.payload);
    if (rejection !== null) return rejection;
  }
  return event.refused ?? null;
}

function hasNul(text: string): boolean {
  return text.includes("\u0000");
}

const encoder = new TextEncoder();
function byteLength(text: string): number {
  return encoder.encode(text).byteLength;
}
