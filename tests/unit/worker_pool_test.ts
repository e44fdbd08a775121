import assert from "node:assert/strict";
import type { RunContext, TaskKind, ToWorker } from "../../pipeline/workers/task.ts";
import {
  logModuleLines,
  type PoolOptions,
  WorkerPool,
  type WorkerThread,
} from "../../pipeline/workers/pool.ts";
import { stageOf } from "../../pipeline/stage_tracker.ts";
import { createLog } from "../../telemetry/log.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { verbatim } from "../../vocabulary/messages.ts";

type Task = Extract<ToWorker, { type: "task" }>;

/** A worker that does nothing by itself: the test answers in its place. */
class Thread implements WorkerThread {
  onmessage: WorkerThread["onmessage"] = null;
  onerror: WorkerThread["onerror"] = null;
  readonly told: ToWorker[] = [];
  ended = false;

  postMessage(message: ToWorker): void {
    this.told.push(message);
    if (message.type === "host") message.port.close();
  }

  terminate(): void {
    this.ended = true;
  }

  /** What it was told, in short: "open a", "task a 1". */
  get said(): string[] {
    return this.told.map((message) => {
      if (message.type === "task") return `task ${message.runId} ${message.input}`;
      if (message.type === "open") return `open ${message.context.runId}`;
      return "runId" in message ? `${message.type} ${message.runId}` : message.type;
    });
  }

  get task(): Task | undefined {
    return this.told.findLast((message) => message.type === "task");
  }

  answer(message: object): void {
    this.onmessage!.call(this as unknown as Worker, { data: message } as MessageEvent);
  }

  /** Ends its task well. */
  done(output: unknown = null): void {
    this.answer({ type: "done", id: this.task!.id, output });
  }

  crash(message: string): void {
    const event = { message, preventDefault: () => {} } as ErrorEvent;
    this.onerror!.call(this as unknown as Worker, event);
  }
}

/** A pool of such workers. */
class Pool {
  readonly threads: Thread[] = [];
  readonly pool: WorkerPool;

  constructor(options: Partial<PoolOptions> = {}) {
    this.pool = new WorkerPool({
      size: 1,
      dsn: "postgres://u@127.0.0.1/x",
      name: "w",
      permissions: {},
      ...options,
      worker: (name) => {
        const thread = new Thread();
        this.names.push(name);
        this.threads.push(thread);
        return thread;
      },
    });
  }

  readonly names: string[] = [];

  open(runId: string, context: object = {}, options?: { helps: boolean }): void {
    const params = { transform: null, source: { type: "inline" } };
    const run = { runId, params, transformsDir: "/", sourcesDir: "/", limits: {}, table: null };
    this.pool.open({ ...run, ...context } as unknown as RunContext, options);
  }

  /** What a task came to: its output, or the name of what it failed with. */
  submit(runId: string, input: unknown, kind: TaskKind = "prepare"): Promise<unknown> {
    return this.pool.submit(runId, kind, input as never)
      .catch((error) => error instanceof Problem ? error.type : error);
  }
}

Deno.test("workers take turns between the runs, and the runs of other servers come last", () => {
  const of = new Pool();
  const [thread] = of.threads as [Thread];
  of.open("other", {}, { helps: true });
  of.open("a");
  of.open("b");
  void of.submit("a", 1);
  for (const [runId, input] of [["other", 1], ["a", 2], ["a", 3], ["b", 1], ["b", 2]] as const) {
    void of.submit(runId, input);
  }
  for (let i = 0; i < 5; i++) thread.done();
  assert.deepEqual(thread.said.filter((said) => said.startsWith("task")), [
    "task a 1",
    "task b 1",
    "task a 2",
    "task b 2",
    "task a 3",
    "task other 1",
  ]);
  // of a run a worker is told once, before its first task
  const opened = thread.said.filter((said) => said.startsWith("open"));
  assert.deepEqual(opened, ["open a", "open b", "open other"]);
});

Deno.test("a pool counts who is busy and who waits, and starts workers when there is work where it is told to", async () => {
  const of = new Pool({ size: 3, lazy: true });
  const { pool, threads } = of;
  assert.deepEqual([threads.length, pool.size, pool.busy, pool.idle], [0, 3, 0, 3]);
  of.open("a");
  const first = of.submit("a", 1);
  assert.deepEqual([threads.length, pool.busy, pool.idle], [1, 1, 2]);
  threads[0]!.done("made");
  assert.equal(await first, "made");
  void of.submit("a", 2);
  assert.equal(threads.length, 1, "one that is idle has it");
  for (const input of [3, 4, 5]) void of.submit("a", input);
  assert.deepEqual([threads.length, pool.busy, pool.idle], [3, 3, 0]);
  assert.deepEqual(of.names, ["w-1", "w-2", "w-3"]);
  const none = new Pool({ size: 0 });
  none.open("a");
  void none.submit("a", 1);
  assert.equal(none.threads.length, 0);
});

Deno.test("a worker that dies is replaced: its task fails as one that may be tried again, and the next goes on in its place", async () => {
  const of = new Pool({ size: 2 });
  of.open("a");
  const [lost, other] = [of.submit("a", 1), of.submit("a", 2)];
  const waiting = of.submit("a", 3);
  const [dead, alive] = of.threads as [Thread, Thread];
  dead.crash("out of luck");
  const error = await lost as Error & { code: string; transient: boolean };
  assert.deepEqual([error.message, error.code, error.transient], [
    "worker w-1 died: out of luck",
    "worker_died",
    true,
  ]);
  assert.equal(dead.ended, true);
  const third = of.threads[2]!;
  assert.deepEqual([of.names[2], third.said], ["w-1", ["start", "open a", "task a 3"]]);
  // what the dead one says afterwards is nobody's answer
  dead.done("late");
  dead.crash("again");
  assert.equal(of.threads.length, 3);
  third.done(3);
  alive.done(2);
  assert.deepEqual([await waiting, await other], [3, 2]);
});

Deno.test("a run that is stopped has its waiting tasks ended at once, those in hand when they answer or are killed", async () => {
  const of = new Pool({ size: 2 });
  const { pool } = of;
  of.open("a");
  of.open("b");
  const inHand = of.submit("a", 1);
  void of.submit("b", 1);
  const [waiting, ofOther] = [of.submit("a", 2), of.submit("b", 2)];
  const [first, second] = of.threads as [Thread, Thread];
  pool.abort("a");
  assert.equal(await waiting, "cancelled");
  assert.deepEqual([first.said.at(-1), second.said.at(-1)], ["abort a", "task b 1"]);
  assert.equal(pool.kill("a"), 1);
  assert.deepEqual([first.ended, second.ended], [true, false]);
  assert.match(`${await inHand}`, /worker w-1 died: the worker was stopped/);
  assert.equal(of.threads[2]!.said.at(-1), "task b 2");
  of.threads[2]!.done("of b");
  assert.equal(await ofOther, "of b");
  assert.equal(pool.kill("a"), 0);
  // one that has had a task of the run, and has another's now, is left alone
  void of.submit("a", 3);
  const third = of.threads[2]!;
  assert.equal(third.said.at(-1), "task a 3");
  third.done();
  void of.submit("b", 3);
  assert.deepEqual([third.said.at(-1), pool.kill("a"), third.ended], ["task b 3", 0, false]);
});

Deno.test("a run that is closed is forgotten: what waits of it ends, and no task of it is taken any more", async () => {
  const of = new Pool({ size: 2 });
  const { pool } = of;
  of.open("a");
  of.open("b");
  void of.submit("a", 1);
  void of.submit("b", 1);
  const waiting = of.submit("a", 2);
  const [first, second] = of.threads as [Thread, Thread];
  pool.close("a");
  assert.equal(await waiting, "cancelled");
  assert.equal(await of.submit("a", 3), "cancelled");
  assert.deepEqual([first.said.at(-1), second.said.at(-1)], ["close a", "task b 1"]);
  first.done();
  // opened again it is told of again
  of.open("a");
  void of.submit("a", 4);
  assert.deepEqual(first.said.slice(-2), ["open a", "task a 4"]);
});

Deno.test("a pool that stops ends its workers and what waits, and takes and replaces nothing any more", async () => {
  const of = new Pool();
  of.open("a");
  void of.submit("a", 1);
  const waiting = of.submit("a", 2);
  of.pool.stop();
  assert.equal(await waiting, "cancelled");
  assert.equal(await of.submit("a", 3), "cancelled");
  of.threads[0]!.crash("terminated");
  assert.deepEqual(of.threads.map(({ ended }) => ended), [true]);
});

Deno.test("what a worker fails with keeps its words, its code, its stage, and whether it may be tried again", async () => {
  const of = new Pool();
  of.open("a");
  const failed = async (error: object) => {
    const ended = of.pool.submit("a", "plan", {}).catch((error) => error);
    of.threads[0]!.answer({ type: "failed", id: of.threads[0]!.task!.id, error });
    return await ended as Error & { code: string; transient: boolean };
  };
  const plain = { message: "deadlock", stack: "at x", code: "40P01", transient: true };
  const thrown = await failed({ ...plain, stage: "load" });
  const { message, stack, code, transient } = thrown;
  assert.deepEqual({ message, stack, code, transient }, plain);
  assert.equal(stageOf(thrown), "load");
  assert.equal(stageOf(await failed({ ...plain, stage: null })), null);
  const known = new Problem("unavailable", { detail: verbatim("gone") }).toJSON();
  const problem = await failed({ problem: known, transient: true, stage: "extract" });
  assert.ok(problem instanceof Problem);
  assert.deepEqual([problem.type, problem.message, problem.transient, stageOf(problem)], [
    "unavailable",
    "gone",
    true,
    "extract",
  ]);
  // an answer to another question is none
  const next = of.submit("a", 1);
  of.threads[0]!.answer({ type: "done", id: -1, output: "of another" });
  of.threads[0]!.done("right");
  assert.equal(await next, "right");
});

Deno.test("what workers tell besides reaches who asked for it, and answers nothing", async () => {
  const told: unknown[] = [];
  const of = new Pool({
    onRetry: (...of) => told.push(["retry", ...of]),
    onLines: (...of) => told.push(["lines", ...of]),
    probeMs: 7,
    keepPlans: true,
  });
  const [thread] = of.threads as [Thread];
  const config = { dsn: "postgres://u@127.0.0.1/x", name: "w-1", probeMs: 7, keepPlans: true };
  assert.deepEqual(thread.told, [{ type: "start", config }]);
  of.open("a");
  const task = of.submit("a", 1);
  thread.answer({ type: "ready" });
  thread.answer({ type: "retry", runId: "a", retry: 1 });
  thread.answer({ type: "lines", runId: "a", lines: 2 });
  assert.deepEqual(told, [["retry", "a", 1], ["lines", "a", 2]]);
  thread.done("its own");
  assert.equal(await task, "its own");
});

Deno.test("a worker that may read records of a run with a transform module has a host for it, until the run is closed", async () => {
  const transformsDir = await Deno.makeTempDir();
  const params = { transform: "mine.ts", source: { type: "inline" } };
  const of = new Pool();
  const { pool } = of;
  const [thread] = of.threads as [Thread];
  const hosts = (runId: string) => thread.said.filter((said) => said === `host ${runId}`).length;
  const carryOut = (runId: string, ...kinds: TaskKind[]) => {
    for (const kind of kinds) {
      void of.submit(runId, 1, kind);
      thread.done();
    }
  };
  of.open("a", { params, transformsDir });
  carryOut("a", "plan", "judge", "resolve", "lookup", "publish", "publishAtOnce", "compare");
  assert.equal(hosts("a"), 0);
  carryOut("a", "types", "prepare", "prepare");
  assert.equal(hosts("a"), 1, "one for all chunks");
  pool.close("a");
  of.open("a", { params, transformsDir });
  carryOut("a", "prepare");
  assert.equal(hosts("a"), 2, "another attempt has one of its own");
  // a typed table may refuse records, which are read again
  for (const kind of ["publish", "publishAtOnce"] as const) {
    of.open(kind, { params, transformsDir, table: {} });
    carryOut(kind, kind);
    assert.equal(hosts(kind), 1);
  }
  pool.stop();
  await Deno.remove(transformsDir);
});

Deno.test("what a module printed is in the run's log, with where it was printed, and how much more there was", () => {
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "json", write: (line) => lines.push(line) });
  logModuleLines(
    log,
    "r",
    {
      module: "mine.ts",
      chunkNo: 4,
      lines: [{ level: "warn", text: "odd", position: 3 }],
      dropped: 2,
    } as Parameters<typeof logModuleLines>[2],
  );
  logModuleLines(log, "r", { module: "m", chunkNo: null, lines: [], dropped: 0 });
  const said = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    said.map(({ level, msg, message, run_id, transform, chunk_no, position }) => ({
      level,
      text: msg ?? message,
      run_id,
      transform,
      chunk_no,
      position,
    })),
    [
      {
        level: "warn",
        text: "odd",
        run_id: "r",
        transform: "mine.ts",
        chunk_no: 4,
        position: 3,
      },
      {
        level: "warn",
        text: "the transform module printed 2 lines more",
        run_id: "r",
        transform: "mine.ts",
        chunk_no: 4,
        position: undefined,
      },
    ],
  );
});
