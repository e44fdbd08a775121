import assert from "node:assert/strict";
import { Helping } from "../../pipeline/helping.ts";
import { executionsOf, type RunDeps } from "../../pipeline/run.ts";
import type { TaskKind } from "../../pipeline/workers/task.ts";
import { VERSION } from "../../vocabulary/version.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { wrongClock } from "../helpers/clock.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

const CHUNKS = 8;
/** Of them the first server has so many in hand while it is kept from going on: one in each worker. */
const HELD = 2;

/** 24 records, for 8 chunks of 3. */
const records = (x: (n: number) => unknown) =>
  Array.from({ length: 3 * CHUNKS }, (_, n) => JSON.stringify({ id: n, x: x(n) })).join("\n");

/**
 * Two servers of one database and one disk with files a, b and c. The first executes runs and comes to no chunk before `go`;
 * the second helps when the test has it claim.
 */
class TwoServers implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #going = Promise.withResolvers<void>();
  readonly #cancels = new Set<() => void>();
  readonly #stopping = new AbortController();
  first!: Engine;
  second!: Engine;
  /** What happens before a task of the second server. */
  before: (kind: TaskKind) => unknown = () => {};
  /** And before one of the first. */
  beforeFirst: (kind: TaskKind) => unknown = () => {};
  helper!: RunDeps;
  helping!: Helping;

  static async start(t: { name: string }): Promise<TwoServers> {
    const servers = new TwoServers();
    const stack = servers.#stack;
    const database = stack.use(await testDatabase(t));
    const files = Object.fromEntries(
      ["a", "b", "c"].map((name) => [`${name}.ndjson`, records((n) => n)]),
    );
    const one = stack.use(await startEngine(t, { database, workers: HELD, files }));
    const two = stack.use(
      await startEngine(t, { database, workers: 1, env: { ETL_DATA_DIR: one.dataDir } }),
    );
    stack.defer(() => servers.#going.resolve());
    servers.first = one;
    servers.second = two;
    servers.helper = {
      ...two.deps,
      serverId: "second",
      workers: beforeTasks(two.deps.workers, (kind) => servers.before(kind)),
      settings: { ...two.deps.settings, dataShared: true },
      stopping: servers.#stopping.signal,
      onCancel: (_runId, cancel) => {
        servers.#cancels.add(cancel);
        return () => servers.#cancels.delete(cancel);
      },
    };
    servers.helping = new Helping(servers.helper);
    stack.defer(() => servers.stop());
    await one.sql`insert into etl.servers (server_id, version, run_slots, seen_until)
      values ('second', ${VERSION}, 1, now() + interval '1 hour')`;
    return servers;
  }

  /** Asks for the load of a file and has the first server offer it. */
  async offer(
    file = "a",
    params: object = {},
  ): Promise<{ runId: string; ended: Promise<unknown> }> {
    const { first } = this;
    const { run_id: runId } = await first.submit({
      ...{ chunk_size: 3, run_label: file, table_name: file, ...params },
      source: { type: "file", path: `${file}.ndjson`, key: "id", name: file },
    });
    const { settings, workers } = first.deps;
    const ended = first.execute(runId, {
      settings: { ...settings, sharesRuns: true, dataShared: true },
      workers: beforeTasks(workers, async (kind) => {
        if (kind === "prepare") await this.#going.promise;
        await this.beforeFirst(kind);
      }),
    });
    await waitFor(async () => {
      const taken = await first.sql`
        select from etl.shared_chunks where run_id = ${runId} and state = 'taken'`;
      return taken.length === HELD;
    }, { what: "the first server to have its chunks" });
    return { runId, ended };
  }

  /** Lets the first server come to its chunks. */
  go(): void {
    this.#going.resolve();
  }

  /** Has the second server do a step of a chunk; false where there is none. */
  async help(): Promise<boolean> {
    const step = await this.helping.claim();
    await step?.();
    return step !== null;
  }

  /** Has it do all that there is to do. */
  async helpOn(): Promise<number> {
    let steps = 0;
    while (await this.help()) steps++;
    return steps;
  }

  /** Has it help until the run has ended. */
  async toEnd({ runId, ended }: { runId: string; ended: Promise<unknown> }) {
    this.go();
    let over = false;
    void ended.finally(() => over = true);
    await waitFor(async () => {
      await this.help();
      return over;
    });
    return await this.first.run(runId);
  }

  /** What the second server is told of a cancel. */
  cancel(): void {
    for (const cancel of this.#cancels) cancel();
  }

  get watches(): number {
    return this.#cancels.size;
  }

  /** Stops the second server. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    let stopped = false;
    void this.helping.stop().then(() => stopped = true);
    await waitFor(() => stopped, { timeoutMs: 10_000, what: "the helper to stop" });
  }

  /** How many chunks of a run the second server has, or has had, in each state. */
  async chunks(runId: string): Promise<Record<string, number>> {
    const rows = await this.first.sql<{ state: string; n: number }[]>`
      select state, count(*)::int as n from etl.shared_chunks where run_id = ${runId} and server_id = 'second' group by state`;
    return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
  }

  async helpers(): Promise<number> {
    return (await this.first.sql`select from etl.run_helpers`).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("helping: each server publishes what it has prepared, and the helper keeps nothing after the end", async (t) => {
  await using servers = await TwoServers.start(t);
  const { first, helper } = servers;
  // of each chunk a row stays, one is changed and one is new
  await Deno.writeTextFile(
    `${first.dataDir}/before.ndjson`,
    records((n) => n % 3 === 0 ? n : "else").split("\n").filter((_, n) => n % 3 < 2).join("\n"),
  );
  const earlier = await first.succeed({
    table_name: "a",
    run_label: "a",
    source: { type: "file", path: "before.ndjson", key: "id", name: "a" },
  });
  assert.equal(earlier.counts.inserted, 2 * CHUNKS);
  const run = await servers.offer();
  assert.equal(await servers.helpOn(), CHUNKS - HELD, "all but those of the first");
  assert.deepEqual(await servers.chunks(run.runId), { prepared: CHUNKS - HELD });
  const { state, counts, chunks, stages } = await servers.toEnd(run);
  assert.equal(state, "succeeded");
  assert.deepEqual(
    [counts.inserted, counts.updated, counts.unchanged],
    [CHUNKS, CHUNKS, CHUNKS],
  );
  assert.equal(chunks.published, CHUNKS);
  const loaded = stages.find(({ stage }) => stage === "load")!;
  assert.deepEqual([loaded.records_in, loaded.records_out], [3 * CHUNKS, 2 * CHUNKS]);
  const rows = Object.values(await first.payloads("public.a")) as { id: number; x: unknown }[];
  assert.equal(rows.length, 3 * CHUNKS);
  for (const { id, x } of rows) assert.equal(x, id);
  await waitFor(() => executionsOf(helper).size === 0, { what: "the helper to let go" });
  assert.equal(servers.watches, 0);
  assert.deepEqual([...Deno.readDirSync(helper.settings.spoolDir)], []);
});

Deno.test("helping: a server has no more chunks in hand than workers", async (t) => {
  await using servers = await TwoServers.start(t);
  const { helping } = servers;
  assert.equal(await helping.claim(), null, "there is nothing to help with");
  const run = await servers.offer();
  const step = (await helping.claim())!;
  assert.equal(await helping.claim(), null, "its worker is promised");
  await step();
  assert.deepEqual(await servers.chunks(run.runId), { prepared: 1 });
  assert.equal(await servers.help(), true, "its worker is free again");
  assert.equal((await servers.toEnd(run)).state, "succeeded");
});

Deno.test("helping: runs that are offered at the same time get help in turn", async (t) => {
  await using servers = await TwoServers.start(t);
  const runs = [];
  for (const file of ["a", "b", "c"]) runs.push(await servers.offer(file));
  for (let i = 0; i < 6; i++) assert.equal(await servers.help(), true);
  for (const { runId } of runs) {
    assert.deepEqual(await servers.chunks(runId), { prepared: 2 });
  }
  await Promise.all(runs.map((run) => servers.toEnd(run)));
});

Deno.test("helping: a chunk that fails on a helper is its coordinator's, and the helper rests", async (t) => {
  await using servers = await TwoServers.start(t);
  const { first, second } = servers;
  const run = await servers.offer();
  servers.before = () => {
    throw new Error("its disk is broken");
  };
  assert.equal(await servers.help(), true);
  servers.before = () => {};
  const given = async () =>
    await first
      .sql`select chunk_no, state, own from etl.shared_chunks where run_id = ${run.runId} and own`;
  assert.deepEqual([...await given()], [{ chunk_no: HELD, state: "open", own: true }]);
  const lines = () => second.log.filter((line) => line.includes("left to the run's coordinator"));
  assert.match(lines().join(), /its disk is broken/);
  assert.equal(await servers.help(), false);
  using _ = wrongClock(1);
  assert.equal(await servers.helpOn(), CHUNKS - HELD - 1, "all but those of the first");
  const ended = await servers.toEnd(run);
  assert.deepEqual([ended.state, ended.counts.inserted], ["succeeded", 3 * CHUNKS]);
  assert.equal(lines().length, 1);
});

Deno.test("helping: a helper that stops gives its chunks back at once, and others prepare them again", async (t) => {
  await using servers = await TwoServers.start(t);
  const { first, second, helper, helping } = servers;
  const run = await servers.offer();
  await servers.help();
  const step = (await helping.claim())!;
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  servers.before = () => {
    begun.resolve();
    return held.promise;
  };
  const doing = step();
  await begun.promise;
  let stopped = false;
  const stopping = servers.stop().then(() => stopped = true);
  assert.equal(await helping.claim(), null);
  assert.equal(await servers.helpers(), 1);
  assert.equal(stopped || second.log.some((line) => line.includes("no more")), false, "in hand");
  held.resolve();
  await Promise.all([doing, stopping]);
  assert.equal(await servers.helpers(), 0);
  assert.equal(servers.watches, 0);
  assert.equal(executionsOf(helper).size, 0);
  const kept = [...Deno.readDirSync(helper.settings.spoolDir)];
  assert.equal(kept.length, 1, "the next attempt of the run may use its rows");
  const [{ open }] = await first.sql`
    select count(*)::int as open from etl.shared_chunks where run_id = ${run.runId} and state = 'open'` as [
    { open: number },
  ];
  assert.equal(open, CHUNKS - HELD);
  servers.go();
  await run.ended;
  const ended = await first.run(run.runId);
  assert.deepEqual([ended.state, ended.counts.inserted, ended.attempt], [
    "succeeded",
    3 * CHUNKS,
    1,
  ]);
});

Deno.test("helping: a cancel that is told of ends a helper's task at once", async (t) => {
  await using servers = await TwoServers.start(t);
  const { first, helper, helping } = servers;
  const run = await servers.offer();
  await servers.help();
  const step = (await helping.claim())!;
  // its task is refused, as it was stopped before it began
  servers.before = () => servers.cancel();
  await step();
  assert.equal(await helping.claim(), null);
  await waitFor(() => executionsOf(helper).size === 0, { what: "the helper to let go" });
  assert.equal(await servers.helpers(), 0);
  assert.deepEqual(
    [...await first.sql`select from etl.shared_chunks where run_id = ${run.runId} and own`],
    [],
    "a chunk that was stopped has not failed",
  );
  await servers.stop();
  servers.go();
  await run.ended;
});

Deno.test("helping: a server that is not fit for a run says why, once, and leaves it alone", async (t) => {
  await using servers = await TwoServers.start(t);
  const { second, helper } = servers;
  servers.helping = new Helping({
    ...helper,
    settings: { ...helper.settings, dataShared: false },
  });
  const run = await servers.offer();
  assert.equal(await servers.help(), false);
  await waitFor(() => executionsOf(helper).size === 0);
  assert.equal(await servers.help(), false);
  assert.equal(second.log.filter((line) => line.includes("leaves the run to others")).length, 1);
  assert.equal(await servers.helpers(), 0);
  const { sharing } = await servers.toEnd(run);
  assert.deepEqual(sharing!.left, [{ server_id: "second", why: ["data"] }]);
});

Deno.test("helping: a server that cannot begin says that, once, and leaves the run alone", async (t) => {
  await using servers = await TwoServers.start(t);
  const { second, helper } = servers;
  // its rows have no place there
  const spoolDir = `${second.dataDir}/a.ndjson`;
  servers.helping = new Helping({ ...helper, settings: { ...helper.settings, spoolDir } });
  const run = await servers.offer();
  assert.equal(await servers.help(), false);
  await waitFor(() => executionsOf(helper).size === 0);
  assert.equal(await servers.help(), false);
  assert.equal(second.log.filter((line) => line.includes("cannot help with the run")).length, 1);
  const { sharing, state } = await servers.toEnd(run);
  assert.equal(state, "succeeded");
  assert.deepEqual(sharing!.left, [{ server_id: "second", why: ["failed"] }]);
});

Deno.test("helping: where PostgreSQL has lost a key that the servers exchange, all are exchanged again", async (t) => {
  await using servers = await TwoServers.start(t);
  const { first } = servers;
  const run = await servers.offer();
  servers.beforeFirst = async (kind) => {
    if (kind !== "resolve") return;
    const [table] = await first.sql`
      select oid::regclass::text as name from pg_class where relname ~ '^manifest_' and relkind = 'r'`;
    await first.sql.unsafe(`delete from ${table!.name} where event_id = '23'`);
  };
  await servers.helpOn();
  const { state, error } = await servers.toEnd(run);
  assert.equal(state, "queued");
  assert.match(String(error?.detail), /keys/);
  servers.beforeFirst = () => {};
  const { counts, attempt } = await first.toEnd(run.runId);
  assert.deepEqual([counts.inserted, attempt], [3 * CHUNKS, 2]);
});

Deno.test("a run that one server executes says why: its way to write, no other server, or the settings", async (t) => {
  await using engine = await startEngine(t, { files: { "a.ndjson": records((n) => n) } });
  const why = async (params: object, sharesRuns = true) => {
    const source = { type: "file", path: "a.ndjson", key: "id", name: "a" };
    const { run_id } = await engine.submit({ chunk_size: 3, source, ...params });
    await engine.execute(run_id, {
      settings: { ...engine.deps.settings, sharesRuns, dataShared: true },
    });
    const { state, sharing } = await engine.run(run_id);
    assert.equal(state, "succeeded");
    return sharing.alone;
  };
  assert.equal(await why({ table_name: "mirrored", write: "mirror" }), "write");
  assert.equal(await why({ table_name: "a" }), "no_other");
  assert.equal(await why({ table_name: "a" }, false), "off");
  assert.equal(await why({ table_name: "a", chunk_size: 24 }), null);
});
