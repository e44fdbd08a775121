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

Deno.test("FileTimes sums the tests of a file, their steps once, whichever report they are in", () => {
  const times = new FileTimes();
  const testcase = (file: string, name: string, time: string) =>
    `        <testcase name="${name}" classname="./tests/unit/${file}_test.ts" time="${time}" line="1" col="6">
        </testcase>\n`;
  times.take(testcase("a", "one", "62.000") + testcase("b", "three", "0.999"));
  times.take(
    testcase("a", "two &gt; its step", "30.000") + testcase("a", "two", "0.900") +
      testcase("c", "four", "2.000") + testcase("d", "five", "3.000"),
  );
  assert.deepEqual(times.slowest(2), [
    "   63 s  tests/unit/a_test.ts",
    "    3 s  tests/unit/d_test.ts",
  ]);
  assert.equal(times.slowest(9).length, 3, "what takes less than a second is not worth a line");
});
