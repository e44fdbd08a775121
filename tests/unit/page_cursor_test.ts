import assert from "node:assert/strict";
import {
  type CursorPart,
  decodeCursor,
  encodeCursor,
  pageOfItems,
} from "../../routes/shared/page_cursor.ts";

const KINDS: Record<CursorPart, { good: unknown[]; bad: unknown[] }> = {
  integer: {
    good: [0, 2 ** 31 - 1, 1 - 2 ** 31],
    bad: [2 ** 31, 0.5, "1", null],
  },
  bigint: { good: [2 ** 53 - 1, -1], bad: [2 ** 53, 1.5, "1"] },
  decimal: {
    good: ["0", "-1.5", "1e-7", `${"9".repeat(20)}.${"9".repeat(20)}`],
    bad: [1, "", "1.", ".5", "1e", "1e100", "9".repeat(21), "1 or 1", "NaN", "-"],
  },
  text: { good: ["", "ñ", "a~?>ÿ"], bad: ["a\0b", "\ud800", 1] },
  time: { good: ["2026-01-01T00:00:00Z"], bad: ["soon", 1, "2026-13-01T00:00:00Z"] },
  uuid: {
    good: ["0190a7a0-0000-7000-8000-00000000000f"],
    bad: [
      "0190a7a0-0000-7000-8000-00000000000F",
      "0190a7a0",
      " 0190a7a0-0000-7000-8000-000000000000",
    ],
  },
};

Deno.test("a cursor is taken back as it was given, of parts of these kinds and no others", () => {
  // whatever its length, it may stand in a URL
  const encode = (parts: unknown[]) => btoa(unescape(encodeURIComponent(JSON.stringify(parts))));
  for (const [kind, { good, bad }] of Object.entries(KINDS)) {
    const of = [kind as CursorPart];
    for (const value of bad) {
      assert.throws(
        () => decodeCursor(encode([value]), of),
        /cursor/,
        `${kind}: ${JSON.stringify(value)}`,
      );
    }
    for (const value of good as (string | number)[]) {
      const cursor = encodeCursor([value]);
      assert.match(cursor, /^[A-Za-z0-9_-]+$/);
      assert.deepEqual(decodeCursor(cursor, of), [value], `${kind}: ${value}`);
    }
  }
  for (const parts of [[], [1, 2], { length: 1, 0: 1 }, "1"]) {
    const cursor = btoa(JSON.stringify(parts));
    assert.throws(() => decodeCursor(cursor, ["integer"]), /cursor/);
  }
});

Deno.test("a page has a cursor only where more was read than it shows, and that is of its last item", () => {
  const page = (read: number[]) => pageOfItems(read, { limit: 3, position: (last) => [last] });
  assert.deepEqual(page([1, 2, 3, 4]), { items: [1, 2, 3], next: encodeCursor([3]) });
  assert.deepEqual(page([1, 2, 3]), { items: [1, 2, 3], next: null });
  assert.deepEqual(page([]), { items: [], next: null });
});
