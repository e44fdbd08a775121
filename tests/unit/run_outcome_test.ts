import assert from "node:assert/strict";
import type { RunControl } from "../../pipeline/run_control.ts";
import { type Ending, outcomeOf } from "../../pipeline/run_outcome.ts";
import { atStage, StageTracker } from "../../pipeline/stage_tracker.ts";
import { verbatim } from "../../vocabulary/messages.ts";
import { Problem, type ProblemType } from "../../vocabulary/problem.ts";
import { createLog } from "../../telemetry/log.ts";

/** What becomes of a run that an error stopped in the middle of its load, and what its stages and its log say. */
function outcome(error: unknown, control: Partial<RunControl> = {}) {
  const tracker = new StageTracker(1);
  tracker.begin("transform", "load");
  const log: string[] = [];
  const ending = {
    tracker,
    control: { why: null, problem: null, ...control },
    log: createLog({ level: "debug", format: "text", write: (line) => log.push(line) }),
  } as unknown as Ending;
  const found = outcomeOf(error, ending);
  const states = Object.fromEntries(tracker.snapshot().map(({ stage, state }) => [stage, state]));
  return { ...found, states, log };
}

const coded = (code: string, more: object = {}) => Object.assign(new Error(code), { code }, more);
const problem = (type: ProblemType, transient: boolean, cause?: unknown) =>
  new Problem(type, { transient, detail: verbatim("d"), cause });

Deno.test("an attempt that was replaced, or whose server stops, leaves the run as it is", () => {
  for (
    const found of [
      outcome(coded("FencedOut")),
      outcome(problem("cancelled", false), { why: "replaced" }),
    ]
  ) {
    assert.equal(found.state, "replaced");
    assert.equal(found.states.load, "running");
  }
  const stopped = outcome(coded("57P01"), { why: "server stops" });
  assert.deepEqual([stopped.state, stopped.error, stopped.outage], [
    ...["given back", undefined],
    undefined,
  ]);
});

Deno.test("a run that was cancelled or took too long says so, whatever the worker says that was ended", () => {
  const cancelled = outcome(coded("57014"), { why: "cancelled" });
  assert.equal(cancelled.state, "cancelled");
  assert.equal((cancelled.error as { type: string }).type, "/api/problems/cancelled");
  assert.deepEqual([cancelled.states.load, cancelled.states.finalize], ["cancelled", "skipped"]);
  const late = atStage(problem("timed-out", false), "transform") as Problem;
  const found = outcome(coded("worker_died", { transient: true }), {
    why: "timed out",
    problem: late,
  });
  assert.equal(found.state, "failed");
  assert.equal((found.error as { type: string }).type, "/api/problems/timed-out");
  assert.deepEqual([found.states.transform, found.states.load], ["failed", "cancelled"]);
});

Deno.test("what the environment causes is an outage; what runs do to each other, and a worker that died, use up attempts", () => {
  const outages = (errors: unknown[]) =>
    errors.map((error) => {
      const { state, outage } = outcome(error);
      assert.equal(state, "given back", String(error));
      return outage;
    });
  const environment = [
    coded("53100"),
    coded("25006"),
    coded("ECONNREFUSED"),
    problem("source-unreadable", true),
    problem("disk-full", true),
    problem("database-unavailable", true, coded("57P01")),
  ];
  assert.deepEqual(outages(environment), environment.map(() => true));
  const others = [
    coded("40P01"),
    coded("40001"),
    problem("database-unavailable", true, coded("55P03")),
    coded("worker_died", { transient: true }),
    problem("unavailable", true),
  ];
  assert.deepEqual(outages(others), others.map(() => false));
});

Deno.test("what is wrong with the run fails it in its stage; a defect is logged with its text, which the run does not show", () => {
  const wrong = outcome(atStage(problem("invalid-conf", false), "transform"));
  assert.equal(wrong.state, "failed");
  assert.deepEqual([wrong.states.transform, wrong.states.load], ["failed", "cancelled"]);
  assert.deepEqual(wrong.log, []);
  const defect = outcome(new TypeError("of the program"));
  assert.equal((defect.error as { type: string }).type, "/api/problems/internal");
  assert.doesNotMatch(JSON.stringify(defect.error), /of the program/);
  assert.match(defect.log.join(), /unexpected error.*of the program/);
  assert.equal(defect.states.load, "failed");
});
