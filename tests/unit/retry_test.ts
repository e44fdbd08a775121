import assert from "node:assert/strict";
import { delay, withRetry } from "../../store/retry.ts";

const transient = () => Object.assign(new Error("gone"), { code: "57P01" });

Deno.test("withRetry() counts attempts, not retries", async () => {
  for (const attempts of [1, 2, 5]) {
    let calls = 0;
    await assert.rejects(
      withRetry({ attempts, initialMs: 1 }, () => {
        calls++;
        return Promise.reject(transient());
      }),
      { code: "57P01" },
    );
    assert.equal(calls, attempts);
  }
});

Deno.test("withRetry() tries nothing again that cannot help", async () => {
  let calls = 0;
  const permanent = Object.assign(new Error("no"), { code: "23505" });
  await assert.rejects(
    withRetry({ attempts: 5, initialMs: 1 }, () => {
      calls++;
      return Promise.reject(permanent);
    }),
    permanent,
  );
  assert.equal(calls, 1);
});

Deno.test("withRetry() answers with the first success, and tells of what failed before", async () => {
  const told: number[] = [];
  let calls = 0;
  const value = await withRetry(
    { attempts: 3, initialMs: 1, onRetry: (_error, attempt) => told.push(attempt) },
    () => ++calls < 3 ? Promise.reject(transient()) : Promise.resolve("done"),
  );
  assert.equal(value, "done");
  assert.deepEqual(told, [1, 2]);
});

Deno.test("withRetry() doubles the delay up to maxMs, with jitter of up to a half", async () => {
  const waits: number[] = [];
  let last: number | undefined;
  await assert.rejects(
    withRetry({ attempts: 6, initialMs: 20, maxMs: 80 }, () => {
      const now = performance.now();
      if (last !== undefined) waits.push(now - last);
      last = now;
      return Promise.reject(transient());
    }),
  );
  [20, 40, 80, 80, 80].forEach((full, i) => {
    assert.ok(
      waits[i]! >= full / 2 - 2,
      `delay ${i} was ${waits[i]} ms, less than half of ${full}`,
    );
  });
});

Deno.test("withRetry() stops waiting when the signal is aborted", async () => {
  const stop = new AbortController();
  let calls = 0;
  const started = performance.now();
  await assert.rejects(
    withRetry({
      attempts: 3,
      initialMs: 60_000,
      maxMs: 60_000,
      signal: stop.signal,
      onRetry: () => stop.abort(),
    }, () => {
      calls++;
      return Promise.reject(transient());
    }),
  );
  assert.ok(performance.now() - started < 5_000);
  assert.ok(calls <= 2);
});

Deno.test("delay() of an aborted signal is over at once", async () => {
  await delay(60_000, AbortSignal.abort());
});
