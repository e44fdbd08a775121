import assert from "node:assert/strict";
import { StatementWatch } from "../../store/database.ts";

/** A statement as postgres.js makes it: with a backend once it is sent. */
function statement(pid: number | null): {
  query: Promise<string> & { state: { pid: number } | null };
  answer: (value: string) => void;
  fail: (error: Error) => void;
} {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const query = Object.assign(promise, { state: pid === null ? null : { pid } });
  return { query, answer: resolve, fail: reject };
}

Deno.test("StatementWatch knows the backends of statements that wait too long for an answer", async () => {
  let now = 0;
  const watch = new StatementWatch(() => now);
  const [slow, quick, queued, fragment] = [7, 8, null, 9].map(statement);
  const waits = watch.watch(slow!.query).catch((error: Error) => error.message);
  const answered = watch.watch(quick!.query);
  void watch.watch(queued!.query).then(() => {});
  // never awaited, so never sent
  watch.watch(fragment!.query);
  quick!.answer("done");
  assert.equal(await answered, "done");
  now = 1_000;
  assert.deepEqual(watch.pidsAfter(1_000), [7]);
  assert.deepEqual(watch.pidsAfter(1_001), []);
  assert.equal(watch.longest(), 1_000);
  slow!.fail(new Error("lost"));
  assert.equal(await waits, "lost");
  assert.deepEqual(watch.pidsAfter(0), []);
});

Deno.test("StatementWatch leaves alone what is no statement", () => {
  const helper = { first: "a" };
  assert.equal(new StatementWatch().watch(helper), helper);
});
