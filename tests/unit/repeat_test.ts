import assert from "node:assert/strict";
import { createLog } from "../../telemetry/log.ts";
import { repeat } from "../../timers/repeat.ts";
import { heldTimers } from "../helpers/clock.ts";

/** Lets what a timer has begun go as far as it can. */
const turned = () => new Promise((turned) => setTimeout(turned, 0));

Deno.test("what is repeated is done once the first time is over, then each time again after its end, never twice at once", async () => {
  using first = heldTimers(3_001);
  using every = heldTimers(70_001);
  const log = createLog({ level: "debug", format: "text", write: () => {} });
  let [begun, ended] = [0, Promise.withResolvers<void>()];
  const end = repeat(() => {
    begun++;
    return ended.promise;
  }, { everyMs: 70_001, firstMs: 3_001, log, warning: "no" });
  assert.deepEqual([begun, first.started, every.started], [0, 1, 0]);
  first.end();
  await turned();
  assert.deepEqual([begun, every.started], [1, 0], "the next time is counted from its end");
  ended.resolve();
  await turned();
  assert.equal(every.started, 1);
  ended = Promise.withResolvers();
  every.end();
  assert.equal(begun, 2);
  // whoever ends it waits for what is under way, and nothing comes after it
  let over = false;
  const ending = end().then(() => over = true);
  await turned();
  assert.equal(over, false);
  ended.resolve();
  await ending;
  assert.deepEqual([begun, every.started], [2, 1]);
});

Deno.test("what is repeated waits as long for its first time where nothing else is said, and is over when it is ended before", async () => {
  using every = heldTimers(70_001);
  const log = createLog({ level: "debug", format: "text", write: () => {} });
  let begun = 0;
  const work = () => Promise.resolve(begun++);
  const end = repeat(work, { everyMs: 70_001, log, warning: "no" });
  assert.equal(every.started, 1);
  await end();
  every.end();
  assert.equal(begun, 0);
});

Deno.test("what is repeated and fails is warned of, and done again; nobody is warned of what its end breaks off", async () => {
  using every = heldTimers(70_001);
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "json", write: (line) => lines.push(line) });
  let failure = Promise.withResolvers<void>();
  const end = repeat(() => failure.promise, { everyMs: 70_001, log, warning: "purge failed" });
  every.end();
  failure.reject(new Error("no disk"));
  await turned();
  const [said] = lines.map((line) => JSON.parse(line));
  assert.deepEqual([said.level, said.msg ?? said.message, said.error], [
    "warn",
    "purge failed",
    "no disk",
  ]);
  assert.equal(every.started, 2);
  failure = Promise.withResolvers();
  every.end();
  const ending = end();
  failure.reject(new Error("stopped"));
  await ending;
  assert.equal(lines.length, 1);
});
