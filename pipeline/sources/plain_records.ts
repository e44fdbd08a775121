import { type Json, type SourceRecord, Unreadable } from "./source.ts";
import { RAW_LIMIT } from "./unreadable.ts";

/** A value from the conf as a record: an object whose numbers are all finite. */
export function checkRecord(value: Json, where: string): SourceRecord | Unreadable {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const raw = rawText(value);
    return new Unreadable("not_an_object", `${where}: a record must be a JSON object`, raw);
  }
  if (hasInfinity(value)) {
    return new Unreadable("number_range", `${where}: a number is out of range`, rawText(value));
  }
  return value;
}

function hasInfinity(value: Json): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  if (typeof value !== "object" || value === null) return false;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (hasInfinity(member)) return true;
  }
  return false;
}

function rawText(value: Json): string {
  const text = JSON.stringify(
    value,
    (_key, member) => typeof member === "bigint" ? String(member) : member,
  ) ?? "";
  return text.slice(0, RAW_LIMIT);
}
