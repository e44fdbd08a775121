import assert from "node:assert/strict";
import { MemoryWatch } from "../../pipeline/workers/memory.ts";
import { Problem } from "../../vocabulary/problem.ts";

Deno.test("MemoryWatch ends what stays above its limit, and not what is garbage a moment later", () => {
  let used = 0;
  const watch = new MemoryWatch(100e6, () => used);
  for (used of [120e6, 130e6, 90e6, 120e6, 130e6]) watch.look(7);
  used = 140e6;
  assert.throws(() => watch.look(7), (error) => {
    assert.ok(error instanceof Problem);
    assert.equal(error.type, "out-of-memory");
    assert.ok(!error.transient, "it would need as much again");
    assert.match(error.message, /^Chunk 7: its worker holds 140 MB .*limit is 100 MB/);
    return true;
  });
});
