import assert from "node:assert/strict";
import { atStage, stageOf, StageTracker } from "../../pipeline/stage_tracker.ts";
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

Deno.test("StageTracker tells once that a stage begins, though others of its chunks end meanwhile, and when it has ended", () => {
  const told: string[] = [];
  const tracker = new StageTracker(1, {
    now: clock(),
    onBegin: (stage) => told.push(`begin ${stage}`),
    onEnd: (stage) => told.push(`end ${stage}`),
  });
  tracker.begin("extract", "load");
  tracker.begin("extract");
  tracker.end("extract", "load");
  assert.deepEqual(told, ["begin extract", "begin load", "end extract", "end load"]);
  // what had ended is under way again, since when it was at first
  tracker.begin("extract");
  const { state, started_at } = tracker.snapshot()[0]!;
  assert.deepEqual([state, started_at], ["running", "2026-01-01T00:00:00.000Z"]);
});

Deno.test("StageTracker: a prepared chunk counts in each stage what goes in and out, and the time that it took there", () => {
  const counts = { records_read: 10, filtered: 3, extra: 2, events: 5, rejected: 4 };
  const stageMs = { extract: 1, transform: 2, validate: 3, ge_validate: 4, chunk: 5 };
  const added = (more: object) => {
    const tracker = new StageTracker(1);
    tracker.addPrepared({ counts, stageMs, ...more } as never);
    return tracker.snapshot().map(({ stage, busy_ms, records_in, records_out }) =>
      `${stage} ${busy_ms} ms ${records_in} → ${records_out}`
    );
  };
  assert.deepEqual(added({}), [
    "extract 1 ms 0 → 10",
    "transform 2 ms 10 → 9",
    "chunk 5 ms 5 → 5",
    "validate 3 ms 9 → 5",
    "ge_validate 4 ms 5 → 5",
    "load 0 ms 0 → 0",
    "finalize 0 ms 0 → 0",
  ]);
  // a suite has sent rows to the quarantine
  assert.deepEqual(added({ validation: { rows: 7 } }).slice(3, 5), [
    "validate 3 ms 9 → 7",
    "ge_validate 4 ms 7 → 5",
  ]);
});

Deno.test("an error keeps the stage that was noted on it first", () => {
  const error = new Error("x");
  assert.equal(stageOf(error), null);
  assert.equal(atStage(atStage(error, "extract"), "load"), error);
  assert.equal(stageOf(error), "extract");
  assert.deepEqual([stageOf(atStage("text", "load")), stageOf(atStage(null, "load"))], [
    null,
    null,
  ]);
});
