import assert from "node:assert/strict";
import { HOSTILE_TEXTS, readingMs } from "../../bench/hostile_texts.ts";

/** Eight times the text takes eight times as long, and 64 times where the work is quadratic. */
const MAX_RATIO = 32;
const SHORT_MS = 60;

for (const each of HOSTILE_TEXTS) {
  Deno.test(`hostile texts: ${each.name} costs what its size costs`, () => {
    const bytes = Math.min(512 << 10, each.maxBytes ?? Infinity);
    const large = readingMs(each, bytes, 2);
    if (large <= SHORT_MS) return;
    const small = readingMs(each, bytes / 8);
    assert.ok(
      large <= MAX_RATIO * small,
      `${small} ms for an eighth, ${large} ms for ${bytes} bytes`,
    );
  });
}
