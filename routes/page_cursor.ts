import { Problem } from "../pipeline/problem.ts";
import { toUtcText } from "../pipeline/timestamps.ts";

/** Packs the position of a list's last item into an opaque cursor. */
export function encodeCursor(parts: (string | number)[]): string {
  return btoa(JSON.stringify(parts)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** What a part of a cursor must be. */
export type CursorPart = "integer" | "time" | "uuid";

const IS: Record<CursorPart, (value: unknown) => boolean> = {
  integer: Number.isSafeInteger,
  time: (value) => typeof value === "string" && toUtcText(value) !== null,
  uuid: (value) =>
    typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
};

/**
 * Unpacks a cursor of so many parts, or of these parts. Throws a Problem when
 * it is not one of ours.
 */
export function decodeCursor(cursor: string, parts: number | CursorPart[]): (string | number)[] {
  const count = typeof parts === "number" ? parts : parts.length;
  const kinds = typeof parts === "number" ? [] : parts;
  try {
    const values = JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")));
    const known = Array.isArray(values) && values.length === count &&
      kinds.every((kind, i) => IS[kind](values[i]));
    if (known) return values;
  } catch {
    // told below
  }
  throw new Problem("bad-request", {
    status: 400,
    detail: "The cursor is not one that this list has given. Start again without it.",
    errors: [{
      field: "cursor",
      value: cursor.slice(0, 100),
      message: "is not a cursor of this list",
      expected: "what `next` of a page held",
    }],
  });
}
