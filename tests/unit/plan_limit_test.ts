import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { withinPlanLimit } from "../../pipeline/stages/extract.ts";

Deno.test("planning a source that does not end is ended at its limit, whether it listens or not", async () => {
  const { signal } = new AbortController();
  const heard = Promise.withResolvers<void>();
  const listens = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => {
        heard.resolve();
        reject(new Error("the statement was cancelled"));
      });
    });
  const deaf = () => new Promise<never>(() => {});
  for (const planner of [listens, deaf]) {
    await assert.rejects(withinPlanLimit(signal, planner, 600), (error) => {
      assert.ok(error instanceof Problem);
      assert.equal(error.type, "source-unreadable");
      assert.match(error.message, /took longer than 0\.01 minutes\..*page_key/s);
      return true;
    });
  }
  await heard.promise;
});

Deno.test("planning that ends in time, fails or is stopped is left as it is", async () => {
  const stopped = new AbortController();
  assert.equal(await withinPlanLimit(stopped.signal, () => Promise.resolve(7)), 7);
  const failed = withinPlanLimit(stopped.signal, () => Promise.reject(new Error("no such file")));
  await assert.rejects(failed, /no such file/);
  const waiting = withinPlanLimit(stopped.signal, () => new Promise<never>(() => {}));
  stopped.abort(new Error("cancelled"));
  await assert.rejects(waiting, /cancelled/);
});
