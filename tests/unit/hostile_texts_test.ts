import assert from "node:assert/strict";
import { HOSTILE_TEXTS, readingMs } from "../../bench/hostile_texts.ts";

/** Eight times the text takes eight times the work, and 64 times where that is quadratic. */
const MAX_RATIO = 32;
/** What takes no longer is nothing to whoever waits, and too short for a ratio. */
const SHORT_MS = 130;

for (const each of HOSTILE_TEXTS) {
  Deno.test(`hostile texts: ${each.name} costs what its size costs`, () => {
    const bytes = Math.min(512 << 10, each.maxBytes ?? Infinity);
    const first = readingMs(each, bytes, { rounds: 1 });
    if (first <= SHORT_MS) return;
    const small = readingMs(each, bytes / 8);
    const large = Math.min(first, readingMs(each, bytes, { rounds: 1 }));
    assert.ok(
      large <= Math.max(SHORT_MS, MAX_RATIO * small),
      `${small} ms for an eighth, ${large} ms for ${bytes} bytes`,
    );
  });
}
