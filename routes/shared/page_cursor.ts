import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { toUtcText } from "../../pipeline/timestamps.ts";

/** Packs the position of a list's last item into an opaque cursor. */
export function encodeCursor(parts: (string | number)[]): string {
  return btoa(JSON.stringify(parts)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A page of `limit` items of those that were read, one more if there are more, and the cursor of what follows. */
export function pageOfItems<T>(
  read: T[],
  { limit, position }: { limit: number; position: (last: T) => (string | number)[] },
): { items: T[]; next: string | null } {
  const items = read.slice(0, limit);
  return { items, next: read.length > limit ? encodeCursor(position(items.at(-1)!)) : null };
}

/**
 * What a part of a cursor must be: an `integer` of PostgreSQL (32 bits), a `bigint` that JSON
 * holds exactly, a `decimal` in text, text that PostgreSQL can store, a time of it, a uuid.
 */
export type CursorPart = "integer" | "bigint" | "decimal" | "text" | "time" | "uuid";

const IS: Record<CursorPart, (value: unknown) => boolean> = {
  integer: (value) => Number.isInteger(value) && Math.abs(value as number) < 2 ** 31,
  bigint: Number.isSafeInteger,
  decimal: (value) =>
    typeof value === "string" && /^-?\d{1,20}(\.\d{1,20})?(e-?\d{1,2})?$/.test(value),
  text: (value) => typeof value === "string" && value.isWellFormed() && !value.includes("\0"),
  time: (value) => typeof value === "string" && toUtcText(value) !== null,
  uuid: (value) =>
    typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
};

/**
 * Unpacks a cursor of these parts. Throws a Problem when it is not one of ours: the parts reach
 * the database as they are.
 */
export function decodeCursor(cursor: string, parts: CursorPart[]): (string | number)[] {
  try {
    const values = JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")));
    const known = Array.isArray(values) && values.length === parts.length &&
      parts.every((kind, i) => IS[kind](values[i]));
    if (known) return values;
  } catch {
    // told below
  }
  throw new Problem("bad-request", {
    detail: say("cursor-foreign", {}),
    errors: [{
      field: "cursor",
      value: cursor.slice(0, 100),
      message: "is not a cursor of this list",
      expected: "what `next` of a page held",
    }],
  });
}
