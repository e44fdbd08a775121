import { Problem } from "../pipeline/problem.ts";

/** Packs the position of a list's last item into an opaque cursor. */
export function encodeCursor(parts: (string | number)[]): string {
  return btoa(JSON.stringify(parts)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Unpacks a cursor. Throws a Problem when it is not one of ours. */
export function decodeCursor(cursor: string, parts: number): (string | number)[] {
  try {
    const values = JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")));
    if (Array.isArray(values) && values.length === parts) return values;
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
    }],
  });
}
