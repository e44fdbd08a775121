import assert from "node:assert/strict";
import { countsLine, parseSummary } from "../../scripts/test_counts.ts";

Deno.test("parseSummary() reads passed, failed and ignored tests, whatever the colours", () => {
  assert.deepEqual(parseSummary("ok | 12 passed (3 steps) | 0 failed | 2 ignored (1s)"), {
    passed: 12,
    failed: 0,
    skipped: 2,
  });
  assert.deepEqual(
    parseSummary("\x1b[0m\x1b[31mFAILED\x1b[0m | 1 passed | 2 failed (1 step) \x1b[0m(8ms)"),
    { passed: 1, failed: 2, skipped: 0 },
  );
});

Deno.test("parseSummary() takes no other line for a summary", () => {
  assert.equal(parseSummary("some test | 1 passed | 0 failed ... ok"), undefined);
});

Deno.test("countsLine() mentions skipped tests only when there are some", () => {
  assert.equal(countsLine({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
  assert.equal(countsLine({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
});
