import assert from "node:assert/strict";
import { countsLine, FailureReader, FileTimes, parseSummary } from "../../scripts/test_counts.ts";

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

Deno.test("FailureReader finds the failed tests with their files, and what was said of them", () => {
  const reader = new FailureReader();
  const output = [
    "a => b ... FAILED (1s)",
    "\x1b[1m\x1b[37m\x1b[41m ERRORS \x1b[0m",
    "a => b \x1b[0m\x1b[38;5;245m=> ./tests/unit/x_test.ts:17:6\x1b[0m",
    "error: AssertionError: 1 !== 0",
    " FAILURES ",
    "a => b \x1b[0m\x1b[38;5;245m=> ./tests/unit/x_test.ts:17:6\x1b[0m",
    "./tests/unit/y_test.ts (uncaught error)",
    "FAILED | 1 passed | 2 failed (8ms)",
    "afterwards => ./tests/unit/z_test.ts:1:1",
  ];
  for (const line of output) reader.take(line);
  assert.deepEqual(reader.failed, [
    { name: "a => b", file: "./tests/unit/x_test.ts" },
    { name: "the file itself", file: "./tests/unit/y_test.ts" },
  ]);
  assert.ok(reader.errors.includes("error: AssertionError: 1 !== 0"));
});

Deno.test("FileTimes sums the tests of a file, their steps once, whatever the unit", () => {
  const times = new FileTimes();
  for (
    const line of [
      "./tests/unit/a_test.ts => one ... ok (1m2s)",
      "./tests/unit/a_test.ts => two ... its step ... ok (30s)",
      "./tests/unit/a_test.ts => two ... \x1b[31mFAILED\x1b[0m (900ms)",
      "./tests/unit/b_test.ts => three ... ok (999ms)",
      "./tests/unit/c_test.ts => four ... ok (2s)",
      "./tests/unit/d_test.ts => five ... ok (3s)",
      "./tests/unit/e_test.ts => six ... ignored (0ms)",
    ]
  ) times.take(line);
  assert.deepEqual(times.slowest(2), [
    "   63 s  tests/unit/a_test.ts",
    "    3 s  tests/unit/d_test.ts",
  ]);
  assert.equal(times.slowest(9).length, 3, "what takes less than a second is not worth a line");
});
