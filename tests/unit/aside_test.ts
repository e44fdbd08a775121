import assert from "node:assert/strict";
import process from "node:process";
import { Problem } from "../../vocabulary/problem.ts";
import { aside } from "../../pipeline/workers/aside.ts";
import { NO_REACH } from "../../pipeline/workers/permissions.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Milliseconds of the processor that this process takes in so many of the clock. */
async function busyMs(ms: number): Promise<number> {
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const regexes = Array.from({ length: 100 }, (_, i) => `^(a|b|ab|c${i})*$`);
const suite = {
  name: "slow",
  expectations: [{
    type: "expect_column_values_to_match_regex_list",
    kwargs: { column: "a", regex_list: regexes, match_on: "all" },
  }],
};

Deno.test("work beside the runs keeps no core after its time limit", async () => {
  const records = Array.from({ length: 1_000 }, () => ({ a: "ab".repeat(10_000) }));
  await assert.rejects(
    aside("try", { suite, sample: { records } }, { timeoutMs: 1_500, permissions: NO_REACH }),
    (error) => error instanceof Problem && /took too long/.test(error.message),
  );
  await waitFor(async () => await busyMs(500) < 5, { timeoutMs: 10_000, what: "an idle process" });
});

Deno.test("a suite is tried beside the runs as it is here", async () => {
  const records = [{ a: "abc" }, { a: "x" }];
  const [expectation] = suite.expectations;
  const kwargs = { ...expectation!.kwargs, regex_list: ["^(a|b)*c$"] };
  const result = await aside(
    "try",
    { suite: { name: "quick", expectations: [{ ...expectation, kwargs }] }, sample: { records } },
    { timeoutMs: Infinity, permissions: NO_REACH },
  );
  assert.equal(result.success, false);
});
