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

/** Milliseconds that timers are asked to wait while `work` goes on; each is over at once. */
async function asked(work: () => Promise<unknown>): Promise<number[]> {
  const waits: number[] = [];
  const original = globalThis.setTimeout;
  globalThis.setTimeout = ((callback: () => void, ms: number) => {
    waits.push(ms);
    return original(callback, 0);
  }) as typeof setTimeout;
  try {
    await assert.rejects(work());
  } finally {
    globalThis.setTimeout = original;
  }
  return waits;
}

Deno.test("withRetry() doubles the delay up to maxMs, 10 s if none is given, with jitter of up to a half", async () => {
  for (
    const { policy, fulls } of [
      { policy: { attempts: 6, initialMs: 20, maxMs: 80 }, fulls: [20, 40, 80, 80, 80] },
      { policy: { attempts: 6, initialMs: 4_000 }, fulls: [4_000, 8_000, 10_000, 10_000, 10_000] },
    ]
  ) {
    const waits = await asked(() => withRetry(policy, () => Promise.reject(transient())));
    assert.equal(waits.length, fulls.length);
    fulls.forEach((full, i) => {
      assert.ok(
        waits[i]! >= full / 2 && waits[i]! <= full,
        `delay ${i} of ${full}: ${waits[i]} ms`,
      );
    });
  }
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
