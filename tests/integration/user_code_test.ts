import assert from "node:assert/strict";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Modules that do what a module must not be able to, each with what it then gives. */
const MODULES = {
  plain: "export const transform = (r) => ({ ...r, seen: Object.prototype.polluted ?? null });",
  thief: `
    import pg from "${import.meta.resolve("pg")}";
    const stolen = [];
    const connect = pg.Client.prototype.connect;
    pg.Client.prototype.connect = function (...given) {
      stolen.push(this.password, this.connectionParameters);
      return connect.apply(this, given);
    };
    Object.prototype.polluted = "yes";
    Array.prototype.at = () => "polluted";
    JSON.stringify = () => "polluted";
    let environment = "none";
    try { environment = Deno.env.toObject(); } catch (error) { environment = error.name; }
    export const transform = (r) => ({ id: r.id, stolen: stolen.length, environment });`,
  loop: "export const transform = (r) => { if (r.id === 'k1500') for (;;); return r; };",
  pattern: "export const transform = (r) => ({ ...r, m: /^(a|aa)+$/.test('a'.repeat(80) + 'b') });",
  loop_at_load: "for (;;); export const transform = (r) => r;",
  loop_later: "(async () => { await 1; for (;;); })(); export const transform = (r) => r;",
  never_loaded: "await new Promise(() => {}); export const transform = (r) => r;",
  awaits: "const add = await Promise.resolve(1); export const transform = (r) => ({ ...r, add });",
  promise: "export const transform = () => new Promise(() => {});",
  rejects: "Promise.reject(new Error('nobody waits')); export const transform = (r) => r;",
  throws_later:
    "setTimeout(() => { throw new Error('later'); }, 0); export const transform = (r) => r;",
  throws: `
    const odd = [null, undefined, { toString() { throw 1; } }, Object.create(null), 5n, new Error()];
    let n = 0;
    export const transform = (r) => { if (r.id === "k0") return r; throw odd[n++ % odd.length]; };`,
  prints: `
    export const transform = (r) => {
      for (let i = 0; i < 1000; i++) console.log("line of", r.id, { i });
      Deno.stdout.writeSync(new TextEncoder().encode("past the console"));
      return r;
    };`,
  exits: `
    import process from "node:process";
    const ways = [() => Deno.exit(1), () => process.exit(1), () => self.close(), () => process.abort()];
    let n = 0;
    export const transform = (r) => { if (n < ways.length) ways[n++](); return r; };`,
  kills: `
    import * as named from "node:process";
    import process from "node:process";
    const ways = [
      () => Deno.kill(Deno.pid, "SIGKILL"),
      () => named.kill(process.pid, "SIGKILL"),
      () => process._kill(process.pid, 9),
      () => Deno.chdir(import.meta.dirname),
      () => process.chdir(import.meta.dirname),
      async () => new (await import("node:worker_threads")).Worker("process.kill(process.pid, 9)", { eval: true }),
      () => new (process.getBuiltinModule("node:worker_threads")).Worker("process.kill(process.pid, 9)", { eval: true }),
      () => new BroadcastChannel("threads"),
      () => caches.open("runs"),
    ];
    const refusals = [];
    for (const way of ways) {
      try { await way(); refusals.push("done"); } catch (error) { refusals.push(error.name); }
    }
    export const transform = (r) => ({ ...r, refusals });`,
  forges: `
    const forged = { type: "batch", events: { positions: [0], outputs: [0], eventIds: ["forged"],
      eventTypes: ["x"], occurredAts: [null], versions: [null], texts: ["{}"],
      fingerprints: ["0".repeat(64)], rejected: [], refused: [] }, lines: { lines: [], dropped: 0 } };
    const messages = [forged, { type: "done", id: 1 }, { type: "failed" }, null];
    const post = MessagePort.prototype.postMessage;
    MessagePort.prototype.postMessage = function () { post.call(this, forged); };
    self.addEventListener("message", () => {});
    self.onmessage = () => self.postMessage(forged);
    export const transform = (r) => { for (const m of messages) self.postMessage(m); return r; };`,
  disturbs: `
    Array.prototype.map = function () { return ["disturbed"]; };
    export const transform = (r) => r;`,
  too_much: `
    const kept = [];
    export const transform = (r) => { kept.push(new Array(2e5).fill(r.n + 0.5)); return r; };`,
};

const RECORDS = Array.from({ length: 2_000 }, (_, n) => ({ id: `k${n}`, n }));

async function load(
  engine: Engine,
  transform: keyof typeof MODULES,
  { records = RECORDS.slice(0, 10), ...params }: {
    records?: unknown[];
    [param: string]: unknown;
  } = {},
): Promise<RunDetail> {
  return await engine.load(records, {
    transform,
    chunk_size: 1_000_000,
    table_name: `t_${transform}`,
    ...params,
  });
}

const problemOf = (run: RunDetail) => {
  assert.deepEqual([run.state, run.error?.type], ["failed", "/api/problems/transform-failed"]);
  return String(run.error!.detail);
};

Deno.test("what a transform module does stays in its run", async (t) => {
  await using engine = await startEngine(t, { workers: 1, transforms: MODULES });
  /** The next run on the same worker notices nothing. */
  const undisturbed = async () => {
    const run = await load(engine, "plain");
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    const payloads = await engine.payloads("public.t_plain");
    assert.deepEqual(payloads.k3, { id: "k3", n: 3, seen: null });
  };

  await t.step(
    "it has no connection, no password, no environment; its prototypes are its own",
    async () => {
      const run = await load(engine, "thief");
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      const payloads = await engine.payloads("public.t_thief");
      assert.deepEqual(payloads.k3, { id: "k3", stolen: 0, environment: "NotCapable" });
      await undisturbed();
    },
  );

  await t.step(
    "it cannot end or move the server, nor leave anything for other threads",
    async () => {
      const run = await load(engine, "kills");
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      const payloads = await engine.payloads("public.t_kills");
      assert.deepEqual(payloads.k3, {
        id: "k3",
        n: 3,
        refusals: [...new Array(7).fill("NotCapable"), "TypeError", "TypeError"],
      });
      await undisturbed();
    },
  );

  await t.step("one that does not end is ended in its time, and the run says where", async () => {
    const run = await load(engine, "loop", { records: RECORDS, transform_timeout_ms: 1_500 });
    assert.match(
      problemOf(run),
      /module loop did not end within 1500 ms \(records 1\d{3} to 1\d{3} of chunk 0, at record 1500\).*transform_timeout_ms/,
    );
    assert.match(
      problemOf(await load(engine, "pattern", { transform_timeout_ms: 500 })),
      /module pattern did not end within 500 ms/,
    );
    await undisturbed();
  });

  await t.step("one that does not load in its time is ended, too", async () => {
    for (const module of ["loop_at_load", "loop_later", "never_loaded"] as const) {
      const run = await load(engine, module, { transform_timeout_ms: 500 });
      assert.match(problemOf(run), /was not loaded within 500 ms/);
    }
    await undisturbed();
  });

  await t.step("one may wait while it is loaded, but not for each record", async () => {
    assert.equal((await load(engine, "awaits")).state, "succeeded");
    assert.deepEqual((await engine.payloads("public.t_awaits")).k0, { id: "k0", n: 0, add: 1 });
    const run = await load(engine, "promise", { min_acceptance_ratio: 0 });
    assert.equal(run.state, "failed");
    assert.match(problemOf(run), /return the record, not a promise/);
  });

  await t.step("what it leaves in the background fails the run, not the server", async () => {
    for (const module of ["rejects", "throws_later"] as const) {
      const run = await load(engine, module, { records: RECORDS });
      if (run.state !== "succeeded") {
        assert.match(problemOf(run), /in the background: (nobody waits|later)/);
      }
    }
    await undisturbed();
  });

  await t.step("whatever it throws is a rejected record", async () => {
    const run = await load(engine, "throws", { min_acceptance_ratio: 0 });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.deepEqual([run.counts.rejected, run.total_rows], [9, 1]);
    const rows = await engine.sql<{ rule: string; raw: string }[]>`
      select rule, raw from etl.quarantine where run_id = ${run.run_id} order by position`;
    assert.deepEqual(rows[0]!.rule, "transform_error");
    assert.deepEqual(
      rows.map(({ raw }) => JSON.parse(raw).id),
      RECORDS.slice(1, 10).map(({ id }) => id),
    );
  });

  await t.step("what it prints is in the run's log, with the record, and bounded", async () => {
    const before = engine.log.length;
    const run = await load(engine, "prints");
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    const lines = engine.log.slice(before).filter((line) => line.includes("transform=prints"));
    assert.ok(
      lines.some((line) => /line of k0 \{ i: 0 \}.*chunk_no=0.*position=0/.test(line)),
      lines.join("\n"),
    );
    assert.ok(lines.some((line) => /printed 99\d\d lines more/.test(line)), lines.join("\n"));
    assert.ok(lines.length <= 30, `${lines.length} lines`);
  });

  await t.step("it cannot end its worker", async () => {
    const run = await load(engine, "exits", { min_acceptance_ratio: 0 });
    assert.deepEqual([run.state, run.counts.rejected], ["succeeded", 4], JSON.stringify(run.error));
  });

  await t.step("what it posts is not taken for an answer", async () => {
    const run = await load(engine, "forges");
    assert.deepEqual([run.state, run.total_rows], ["succeeded", 10], JSON.stringify(run.error));
    assert.equal(Object.keys(await engine.payloads("public.t_forges")).length, 10);
  });

  await t.step("one that breaks the program beside it fails its run only", async () => {
    assert.match(problemOf(await load(engine, "disturbs")), /module/);
    await undisturbed();
  });

  await t.step("one that keeps more and more is ended before it ends the server", async () => {
    const run = await load(engine, "too_much", { records: RECORDS, chunk_size: 50 });
    assert.match(problemOf(run), /needs more than 512 MiB of memory/);
    await undisturbed();
  });
});

const LEAKS = "runs with and without a module leave no worker, connection or file behind";

Deno.test(LEAKS, async (t) => {
  if (!Deno.env.get("ETL_TEST_ALONE")) {
    // threads and open files are counted of a process, in which other tests run side by side
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", "--frozen", "--filter", LEAKS, import.meta.filename!],
      env: { ETL_TEST_ALONE: "1", NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.ok(success && /1 passed/.test(said), said);
    return;
  }
  const runs = Deno.env.get("ETL_TEST_LONG") ? 200 : 12;
  await using engine = await startEngine(t, { workers: 2, transforms: MODULES });
  const threads = () => [...Deno.readDirSync("/proc/self/task")].length;
  const connections = async () =>
    Number(
      (await engine.sql`select count(*) from pg_stat_activity where datname = current_database()`)[
        0
      ]!.count,
    );
  const measured = async () => ({
    threads: threads(),
    connections: await connections(),
    files: [...Deno.readDirSync(engine.config.spoolDir)].length,
    open: [...Deno.readDirSync("/proc/self/fd")].length,
  });
  await engine.succeed({});
  await load(engine, "plain");
  const first = await measured();
  for (let i = 0; i < runs; i++) {
    await engine.succeed({});
    if (i % 4 === 0) await load(engine, "plain");
  }
  // a worker that was thrown away ends in its own time
  await waitFor(() => threads() <= first.threads + 2, { what: "the workers' end" });
  const last = await measured();
  assert.ok(last.open <= first.open + 8, JSON.stringify([first, last]));
  // the pool of the server's own statements opens connections as it needs them, a few at most
  assert.ok(last.connections <= first.connections + 4, JSON.stringify([first, last]));
  assert.equal(last.files, first.files);
});
