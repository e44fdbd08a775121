import assert from "node:assert/strict";
import { aside } from "../../pipeline/workers/aside.ts";
import { NO_REACH } from "../../pipeline/workers/permissions.ts";
import { SLOW_SUITE as suite } from "../fixtures/slow_suite.ts";

Deno.test("work beside the runs keeps no core after its time limit", async () => {
  // in a process of its own: here other tests take the processor's time, too
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("../fixtures/slow_aside.ts", import.meta.url).pathname,
    ],
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.match(text, /took too long/, new TextDecoder().decode(stderr));
  assert.match(text, /\nidle$/m, text);
});

Deno.test("what a worker takes to start is not its task's time", async () => {
  const check = (timeoutMs: number) =>
    aside("suite", { name: "quick", expectations: [] }, { permissions: NO_REACH, timeoutMs });
  const took: number[] = [];
  for (let i = 0; i < 3; i++) {
    const before = performance.now();
    await check(Infinity);
    took.push(performance.now() - before);
  }
  // nearly all of it is the start
  await assert.doesNotReject(check(0.5 * Math.min(...took)));
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
