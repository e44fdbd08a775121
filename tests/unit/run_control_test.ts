import assert from "node:assert/strict";
import { RunControl } from "../../pipeline/run_control.ts";
import type { WorkerPool } from "../../pipeline/workers/pool.ts";
import { createLog } from "../../telemetry/log.ts";
import { type HeldTimers, heldTimers } from "../helpers/clock.ts";

type Answer = { is_current: boolean; cancel_requested: boolean };

/** The control of a run, whose timers end when the test says so. */
class Controlled implements Disposable {
  readonly reports: HeldTimers = heldTimers(500);
  readonly kill: HeldTimers = heldTimers(1_000);
  readonly drain: HeldTimers = heldTimers(7_000);
  /** What the workers were told. */
  readonly told: string[] = [];
  readonly log: string[] = [];
  report: () => Promise<Answer> = () =>
    Promise.resolve({ is_current: true, cancel_requested: false });
  readonly control: RunControl;

  constructor() {
    const workers = {
      abort: (runId: string) => this.told.push(`abort ${runId}`),
      kill: (runId: string) => this.told.push(`kill ${runId}`),
    };
    this.control = new RunControl({
      runId: "r",
      workers: workers as unknown as WorkerPool,
      log: createLog({ level: "debug", format: "text", write: (line) => this.log.push(line) }),
      report: () => this.report(),
    });
  }

  /** Lets the time of the next report be over. */
  async reported(): Promise<void> {
    this.reports.end();
    // until what the report brings about has happened
    await new Promise((turned) => setTimeout(turned, 0));
  }

  [Symbol.dispose](): void {
    for (const timers of [this.drain, this.kill, this.reports]) timers[Symbol.dispose]();
  }
}

Deno.test("a run that is cancelled has its tasks ended at once, and its workers after a second", async () => {
  using of = new Controlled();
  const { control, told } = of;
  control.throwIfHalted();
  control.halt("cancelled");
  assert.deepEqual(told, ["abort r"]);
  assert.throws(() => control.throwIfHalted(), { type: "cancelled" });
  control.halt("server stops");
  assert.equal(control.why, "cancelled", "the first reason counts");
  assert.equal(of.drain.started, 0);
  of.kill.end();
  assert.deepEqual(told, ["abort r", "kill r"]);
  assert.match(of.log.join(), /workers did not stop in time/);
  await control.end();
});

Deno.test("a server that stops lets the tasks of its runs go on for seven seconds", async () => {
  using of = new Controlled();
  const { control, told } = of;
  control.halt("server stops");
  assert.deepEqual(told, []);
  assert.throws(() => control.throwIfHalted());
  // meanwhile nobody takes them for dead
  await of.reported();
  await of.reported();
  assert.equal(of.reports.started, 3);
  of.drain.end();
  assert.deepEqual(told, ["abort r"]);
  of.kill.end();
  assert.deepEqual(told, ["abort r", "kill r"]);
  await control.end();
});

Deno.test("a run hears with its reports that it is cancelled or another's, and goes on without the database", async () => {
  for (
    const [answer, why, started] of [
      [{ is_current: false, cancel_requested: true }, "replaced", 3],
      [{ is_current: true, cancel_requested: true }, "cancelled", 4],
    ] as const
  ) {
    using of = new Controlled();
    await of.reported();
    assert.deepEqual([of.control.why, of.reports.started], [null, 2]);
    of.report = () => Promise.reject(new Error("no connection"));
    await of.reported();
    assert.deepEqual([of.control.why, of.reports.started], [null, 3]);
    assert.match(of.log.join(), /progress could not be stored.*no connection/);
    of.report = () => Promise.resolve(answer);
    await of.reported();
    assert.deepEqual([of.control.why, of.reports.started], [why, started]);
    await of.control.end();
  }
});

Deno.test("the end of a run waits for its last report, and nothing is halted or told after it", async () => {
  using of = new Controlled();
  const { control, told } = of;
  const { promise, resolve } = Promise.withResolvers<Answer>();
  of.report = () => promise;
  of.reports.end();
  let over = false;
  const ended = control.end().then(() => over = true);
  await new Promise((turned) => setTimeout(turned, 0));
  assert.equal(over, false);
  resolve({ is_current: false, cancel_requested: false });
  await ended;
  assert.deepEqual([control.why, of.reports.started, told], [null, 1, []]);
});

Deno.test("a time limit ends the run with what took too long, unless it is lifted or another reason was first", async () => {
  using limits = heldTimers(90_000);
  {
    using of = new Controlled();
    of.control.limit(90, "load");
    limits.end();
    assert.equal(of.control.why, "timed out");
    assert.deepEqual(of.told, ["abort r"]);
    const { problem } = of.control;
    assert.match(problem!.message, /^Stage load took longer than 90 s/);
    assert.equal((problem as unknown as { stage: string }).stage, "load");
    await of.control.end();
  }
  {
    using of = new Controlled();
    of.control.halt("cancelled");
    of.control.limit(90, null);
    limits.end();
    assert.deepEqual([of.control.why, of.control.problem], ["cancelled", null]);
    await of.control.end();
  }
  // longer than a timer can be
  using longest = heldTimers(2 ** 31 - 1);
  using of = new Controlled();
  const lift = of.control.limit(365 * 86_400, null);
  assert.equal(longest.started, 1);
  lift();
  longest.end();
  assert.equal(of.control.why, null);
  await of.control.end();
});
