import assert from "node:assert/strict";
import { forEachLane } from "../../pipeline/lanes.ts";

Deno.test("forEachLane() does each item once, and no more at a time than there are lanes", async () => {
  const done: number[] = [];
  let [now, most] = [0, 0];
  await forEachLane([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
    most = Math.max(most, ++now);
    await Promise.resolve();
    now--;
    done.push(item);
  });
  assert.deepEqual(done.sort(), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(most, 3);
});

Deno.test("forEachLane() begins nothing after a failure, and waits for what is in hand", async () => {
  const begun: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  let over = false;
  const all = forEachLane([1, 2, 3, 4], 2, async (item) => {
    begun.push(item);
    if (item === 2) throw new Error("of the second");
    await promise;
  });
  const ended = assert.rejects(all, /of the second/).then(() => over = true);
  // a turn of the event loop is more than what it does by itself takes
  await new Promise((turned) => setTimeout(turned, 0));
  assert.deepEqual([begun, over], [[1, 2], false]);
  resolve();
  await ended;
  assert.deepEqual(begun, [1, 2]);
});

Deno.test("forEachLane() throws the failure that is final, else the first", async () => {
  const failures = (...transient: boolean[]) => {
    const items = transient.map((transient, i) =>
      Object.assign(new Error(`of lane ${i}`), { transient })
    );
    return forEachLane(items, items.length, (error) => Promise.reject(error));
  };
  await assert.rejects(failures(true, false, true), /of lane 1/);
  await assert.rejects(failures(true, true), /of lane 0/);
  await assert.rejects(failures(false, true, false), /of lane 0/);
});
