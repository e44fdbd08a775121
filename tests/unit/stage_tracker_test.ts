import assert from "node:assert/strict";
import { StageTracker } from "../../pipeline/stage_tracker.ts";
import { STAGES } from "../../vocabulary/words.ts";

function clock(): () => Date {
  let second = 0;
  return () => new Date(Date.UTC(2026, 0, 1, 0, 0, second++));
}
const states = (tracker: StageTracker) => tracker.snapshot().map(({ state }) => state);

Deno.test("StageTracker shows the seven stages in their order, pending at first", () => {
  const tracker = new StageTracker(2);
  assert.deepEqual(tracker.snapshot().map(({ stage }) => stage), [...STAGES]);
  assert.deepEqual(new Set(states(tracker)), new Set(["pending"]));
  assert.equal(tracker.snapshot()[0]!.attempts, 2);
  assert.equal(tracker.current, null);
});

Deno.test("StageTracker: a stage starts once, ends last and sums what was done in it", () => {
  const tracker = new StageTracker(1, { now: clock() });
  tracker.begin("extract");
  tracker.begin("extract");
  tracker.add("extract", { busyMs: 5, in: 1, out: 2 });
  tracker.add("extract", { busyMs: 7, out: 3 });
  tracker.end("extract");
  const { started_at, ended_at, busy_ms, records_in, records_out } = tracker.snapshot()[0]!;
  assert.deepEqual([started_at, ended_at], [
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T00:00:01.000Z",
  ]);
  assert.deepEqual([busy_ms, records_in, records_out], [12, 1, 5]);
});

Deno.test("StageTracker: one stage failed, the last or the one that is named; others that ran are cancelled with it, the rest is skipped", () => {
  const tracker = new StageTracker(1, { now: clock() });
  tracker.begin("extract");
  tracker.end("extract");
  tracker.begin("transform", "chunk", "validate");
  assert.equal(tracker.current, "validate");
  tracker.stop("failed", { type: "x" });
  assert.deepEqual(states(tracker), [
    "succeeded",
    "cancelled",
    "cancelled",
    "failed",
    "skipped",
    "skipped",
    "skipped",
  ]);
  const blamed = tracker.snapshot().filter(({ error }) => error !== undefined);
  assert.deepEqual(blamed.map(({ stage }) => stage), ["validate"]);
  assert.equal(tracker.current, null);
  const named = new StageTracker(1, { now: clock() });
  named.begin("extract", "transform", "chunk");
  named.stop("failed", { type: "x" }, "transform");
  assert.deepEqual(states(named).slice(0, 4), ["cancelled", "failed", "cancelled", "skipped"]);
});

Deno.test("StageTracker: a snapshot does not change afterwards", () => {
  const tracker = new StageTracker(1);
  const before = tracker.snapshot();
  tracker.begin("load");
  assert.equal(before[5]!.state, "pending");
});
