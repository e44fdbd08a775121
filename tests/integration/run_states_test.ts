import { verbatim } from "../../vocabulary/messages.ts";
import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { cancelRun, finishRun, planChunks, startRun } from "../../store/runs.ts";
import { historyPage } from "../../store/history.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { heldTimers } from "../helpers/clock.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { VERSION } from "../../vocabulary/version.ts";

Deno.test("a server that stops in an orderly way uses up no attempt, one that gives up does", async (t) => {
  await using engine = await startEngine(t, { env: { ETL_RUN_MAX_ATTEMPTS: "2" } });
  const { run_id } = await engine.submit({ batch_size: 5 });
  for (let i = 0; i < 4; i++) {
    const stopping = AbortSignal.abort();
    assert.equal(await engine.execute(run_id, { stopping }), "given back");
    const { state, admitted_at, attempt } = await engine.run(run_id);
    assert.deepEqual([state, admitted_at === null, attempt], ["queued", false, i + 1]);
  }
  assert.equal((await engine.toEnd(run_id)).state, "succeeded");
});

/** A transaction that an attempt of a run has left open with a lock, as a worker that was stopped by force does. */
async function leftOpen(engine: Engine, runId: string, attempt: number) {
  const client = await connect(engine.db.dsn, { applicationName: `etl-run ${runId} ${attempt}` });
  await client.query("begin; select from etl.chunks for update");
  const [backend] = (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows;
  return {
    isOpen: async () =>
      (await engine.sql`select from pg_stat_activity where pid = ${backend!.pid}`).length > 0,
    [Symbol.asyncDispose]: () => client.end().catch(() => {}),
  };
}

for (const state of ["failed", "cancelled"] as const) {
  Deno.test(`a run that has ${state} leaves no transaction of its attempts open`, async (t) => {
    await using engine = await startEngine(t, { workers: 1 });
    const { sql } = engine;
    const { run_id } = await engine.submit({ batch_size: 5 });
    const run = (await startRun(sql, run_id, { serverId: "test", maxAttempts: 5 }))!;
    await planChunks(sql, run, { pin: {}, slices: [{ from: 0 }], warnings: [] });
    await using left = await leftOpen(engine, run_id, run.attempt);
    if (state === "cancelled") await cancelRun(sql, run_id, "test");
    assert.equal(await left.isOpen(), true);
    const error = { type: "/api/problems/internal", title: "t", status: 500, detail: "d" };
    assert.equal((await finishRun(sql, run, { state, error, stages: [] }))!.state, state);
    assert.equal(await left.isOpen(), false);
  });
}

Deno.test("the next attempt of a run ends the transactions that the one before has left open", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 5 });
  const run = (await startRun(sql, run_id, { serverId: "dead", maxAttempts: 5 }))!;
  await using left = await leftOpen(engine, run_id, run.attempt);
  assert.equal(await engine.execute(run_id), "nothing to do", "the attempt is alive");
  // while PostgreSQL was away nobody could give a sign of life, so its start counts as one
  await waitFor(async () => {
    await sql`update etl.runs set seen_at = now() - interval '1 minute' where state = 'running'`;
    return await engine.execute(run_id) === "ended";
  }, { intervalMs: 200, what: "another attempt" });
  assert.equal((await engine.run(run_id)).state, "succeeded");
  assert.equal(await left.isOpen(), false);
});

Deno.test("a run keeps the warnings of its plan and those of its end", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 0 });
  const run = (await startRun(sql, run_id, { serverId: "test", maxAttempts: 5 }))!;
  await planChunks(sql, run, { pin: {}, slices: [], warnings: ["of the plan"] });
  // another attempt finds the same
  await planChunks(sql, run, { pin: {}, slices: [], warnings: ["of the plan"] });
  await finishRun(sql, run, { state: "succeeded", stages: [], warnings: [verbatim("of the end")] });
  const shown = await (await engine.request(`/api/etl/runs/${run_id}`)).json();
  assert.deepEqual(shown.warnings, ["of the plan", "of the end"]);
});

Deno.test("a waiting run of the same label is not started before the one that goes on has ended", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.sql`insert into etl.pools (pool, slots) values ('other', 3)`;
  const ask = async (conf: object) =>
    (await engine.submit({ run_label: "same", batch_size: 1, ...conf })).run_id;
  const [first, second, third] = [await ask({}), await ask({}), await ask({ pool: "other" })];
  const admitted = async () =>
    await Promise.all(
      [first, second, third].map(async (id) => (await engine.run(id)).admitted_at !== null),
    );
  assert.deepEqual(await admitted(), [true, false, false]);
  assert.equal(await engine.execute(second), "nothing to do");
  await engine.toEnd(first);
  assert.equal((await admitted()).filter(Boolean).length, 2, "one more, of whichever pool");
  const order = (await admitted())[1] ? [second, third] : [third, second];
  for (const id of order) assert.equal((await engine.toEnd(id)).state, "succeeded");
});

Deno.test("a pool has as many runs going on as it has slots, and labels take turns", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.sql`insert into etl.pools (pool, slots) values ('two', 2)`;
  const ask = async (run_label: string) =>
    (await engine.submit({ run_label, pool: "two", batch_size: 1 })).run_id;
  const runs: Record<string, string> = {};
  for (const label of ["a1", "b1", "a2", "a3", "c1"]) runs[label] = await ask(label[0]!);
  const going = async () => {
    const found: string[] = [];
    for (const [name, id] of Object.entries(runs)) {
      const { state, admitted_at } = await engine.run(id);
      if (state === "queued" && admitted_at !== null) found.push(name);
    }
    return found;
  };
  assert.deepEqual(await going(), ["a1", "b1"]);
  await engine.toEnd(runs.a1!);
  assert.deepEqual(await going(), ["b1", "a2"]);
  await engine.toEnd(runs.a2!);
  // a has just had a turn, c has waited for its first
  assert.deepEqual(await going(), ["b1", "c1"]);
  await engine.toEnd(runs.b1!);
  assert.deepEqual(await going(), ["a3", "c1"]);
});

Deno.test("a cancel ends a waiting run at once, and a retry goes on with attempts of its own", async (t) => {
  await using engine = await startEngine(t, { env: { ETL_RUN_MAX_ATTEMPTS: "1" } });
  const conf = { source: { type: "file", path: "later.csv", key: "id" } };
  const { run_id } = await engine.submit(conf);
  assert.equal((await engine.toEnd(run_id)).state, "failed");
  await Deno.writeTextFile(`${engine.dataDir}/later.csv`, "id\n1\n");
  assert.equal((await engine.post(`/api/etl/runs/${run_id}/retry`)).status, 202);
  const again = await engine.run(run_id);
  assert.deepEqual([again.state, again.error, again.ended_at], ["queued", null, null]);
  // what it counted is what its chunks have, not what it came to at its last end
  await engine
    .sql`update etl.runs set counts = counts || '{"inserted": 9}' where run_id = ${run_id}`;
  assert.equal((await engine.run(run_id)).counts!.inserted, 0);
  await engine.post(`/api/etl/runs/${run_id}/cancel`);
  assert.equal((await engine.run(run_id)).state, "cancelled");
  await engine.post(`/api/etl/runs/${run_id}/retry`);
  assert.equal((await engine.toEnd(run_id)).state, "succeeded");
  const refused = await engine.post(`/api/etl/runs/${run_id}/retry`);
  assert.equal(refused.status, 409);
  assert.match((await refused.json()).detail, /only a failed or cancelled run can be retried/);
});

Deno.test("a run that was to be cancelled when its server died is cancelled by the next, before anything is loaded", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 5 });
  assert.notEqual(await startRun(sql, run_id, { serverId: "dead", maxAttempts: 5 }), null);
  await cancelRun(sql, run_id, "test");
  const tasks: string[] = [];
  const workers = beforeTasks(
    engine.deps.workers,
    (kind) => tasks.push(kind),
    () => tasks.push("end"),
  );
  // PostgreSQL's start counts as a sign of life
  await waitFor(async () => {
    await sql`update etl.runs set seen_at = now() - interval '1 minute' where state = 'running'`;
    return await engine.execute(run_id, { workers, onCancel: () => () => {} }) === "ended";
  }, { intervalMs: 200, what: "another attempt" });
  const { state, counts } = await engine.run(run_id);
  assert.deepEqual([state, counts.inserted, tasks], ["cancelled", 0, ["end", "plan"]]);
});

Deno.test("a cancel that comes while the last chunk is published cancels the run, which says what is in the table", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  let cancel = () => {};
  let watches = 0;
  await engine.execute(run_id, {
    observer: { taskDone: (_run, { kind }) => void (kind === "publish" && cancel()) },
    onCancel: (_runId, asked) => {
      cancel = asked;
      watches++;
      return () => watches--;
    },
  });
  const { state, counts, error } = await engine.run(run_id);
  assert.deepEqual([state, counts.inserted], ["cancelled", 5]);
  assert.match(error!.detail, /1 of 1 chunk/);
  assert.equal(watches, 0);
});

Deno.test("a run that is cancelled while a statement of its worker waits for a lock ends at once, and keeps its worker", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  const held = await connect(engine.db.dsn);
  try {
    await held.query("begin; lock table public.etl_improved_events in share mode");
    let cancel = () => {};
    const onCancel = (_runId: string, asked: () => void) => {
      cancel = asked;
      return () => {};
    };
    const execution = engine.execute(run_id, { onCancel });
    await waitFor(async () =>
      (await engine.sql`select from pg_locks
        where not granted and relation = 'public.etl_improved_events'::regclass`).length === 1
    );
    cancel();
    assert.equal(await execution, "ended");
    assert.equal((await engine.run(run_id)).state, "cancelled");
    assert.ok(!engine.log.some((line) => line.includes("did not stop in time")));
  } finally {
    await held.end();
  }
});

Deno.test("a run whose spill files are gone is given back, and prepares them again", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5, chunk_size: 3 });
  let removed = false;
  const workers = beforeTasks(engine.deps.workers, async (kind) => {
    if (kind !== "publish" || removed) return;
    removed = true;
    for await (const { name, isDirectory } of Deno.readDir(engine.config.spoolDir)) {
      if (isDirectory) await Deno.remove(`${engine.config.spoolDir}/${name}`, { recursive: true });
    }
  });
  assert.equal(await engine.execute(run_id, { workers }), "given back");
  assert.ok(removed);
  const { state, counts, attempt } = await engine.toEnd(run_id);
  assert.deepEqual([state, counts.inserted, attempt], ["succeeded", 5, 2]);
});

Deno.test("the time limit of an attempt that was given back ends none of the next one's tasks", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 6, timeout_seconds: 3_600 });
  using limit = heldTimers(3_600_000);
  let ended = 0;
  const workers = beforeTasks(engine.deps.workers, (kind) => {
    if (kind !== "prepare") return;
    throw new Problem("unavailable", { transient: true, detail: verbatim("away") });
  }, () => ended++);
  assert.equal(await engine.execute(run_id, { workers }), "given back");
  assert.equal(limit.started, 1);
  limit.end();
  assert.equal(ended, 0);
});

Deno.test("every change of a run's state that no arrow of the diagram shows is refused", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const page = await Deno.readTextFile(new URL("../../docs/run_lifecycle.md", import.meta.url));
  const arrows = [...page.matchAll(/^ {4}(\w+|\[\*\]) --> (\w+|\[\*\])/gm)]
    .map(([, from, to]) => [from!, to!])
    .filter(([from, to]) => from !== "[*]" && to !== "[*]");
  const stored = await engine.sql<{ arrow: string }[]>`
    select from_state || ' ' || to_state as arrow from etl.run_transitions`;
  const drawn = new Set(arrows.map((arrow) => arrow.join(" ")));
  assert.deepEqual(
    new Set(stored.map(({ arrow }) => arrow)),
    drawn,
  );
  const { run_id } = await engine.submit({ batch_size: 1 });
  await assert.rejects(
    async () => await engine.sql`update etl.runs set state = 'succeeded' where run_id = ${run_id}`,
    /cannot|not allowed|from queued/,
  );
});

Deno.test("every change of a run is told on the channel etl_run", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const told: string[] = [];
  const client = await connect(engine.db.dsn);
  client.on("notification", ({ payload }) => told.push(payload!.split(" ")[1]!));
  await client.query("listen etl_run");
  const run = await engine.succeed({ batch_size: 1 });
  await waitFor(() => told.includes("succeeded"), { what: "the end of the run" });
  await client.end();
  assert.deepEqual([...new Set(told)], ["queued", "running", "succeeded"], run.run_id);
});

Deno.test("a chunk that is in the table is not published again by a server that has none of its files", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const records = Array.from({ length: 60 }, (_, id) => ({ id }));
  const { run_id } = await engine.submit({
    chunk_size: 1,
    source: { type: "inline", name: "test", key: "id", records },
  });
  const stopping = new AbortController();
  const attempt = engine.execute(run_id, { stopping: stopping.signal });
  await waitFor(async () => (await engine.run(run_id)).chunks.published, { intervalMs: 5 });
  stopping.abort();
  assert.equal(await attempt, "given back");
  const versions = () =>
    engine.sql`select event_id, xmin::text, ctid::text from public.etl_improved_events order by 1`;
  const before = await versions();
  assert.ok(before.length > 0 && before.length < records.length, `${before.length}`);
  // another server has another disk
  await Deno.remove(`${engine.config.spoolDir}/${run_id}`, { recursive: true });
  const run = await engine.toEnd(run_id);
  assert.deepEqual([run.state, run.counts.inserted, run.counts.unchanged], ["succeeded", 60, 0]);
  const { records_in, records_out } = run.stages.find(({ stage }) => stage === "load")!;
  assert.deepEqual([records_in, records_out], [60, 60], "of both attempts");
  const after = new Map((await versions()).map((row) => [row.event_id, row]));
  for (const row of before) assert.deepEqual(after.get(row.event_id), row);
});

Deno.test("a test that ends in the middle of a run leaves nothing of it to the next", async (t) => {
  let attempt: Promise<unknown>;
  {
    await using engine = await startEngine(t, { workers: 1 });
    const { run_id } = await engine.submit({ batch_size: 100, chunk_size: 1 });
    // what the test would stop it with, had nothing failed
    attempt = engine.execute(run_id, { stopping: new AbortController().signal });
    await waitFor(async () => (await engine.run(run_id)).state === "running");
  }
  assert.equal(await attempt, "given back");
});

Deno.test("a higher priority goes first, and not before what has waited 20 minutes longer", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.sql`insert into etl.pools (pool, slots) values ('one', 1)`;
  const ask = async (run_label: string, priority = 0) =>
    (await engine.submit({ run_label, pool: "one", batch_size: 1, priority })).run_id;
  const first = await ask("first");
  const runs = {
    low: await ask("low", -10),
    plain: await ask("plain"),
    high: await ask("high", 10),
  };
  const waited = await ask("waited");
  await engine.sql`update etl.runs set requested_at = requested_at - interval '21 minutes'
    where run_id = ${waited}`;
  const order: string[] = [];
  await engine.toEnd(first);
  for (const names = { ...runs, waited }; Object.keys(names).length > 0;) {
    const going: string[] = [];
    for (const [name, id] of Object.entries(names)) {
      if ((await engine.run(id)).admitted_at !== null) going.push(name);
    }
    assert.equal(going.length, 1, going.join());
    const name = going[0] as keyof typeof names;
    await engine.toEnd(names[name]);
    order.push(name);
    delete (names as Record<string, string>)[name];
  }
  assert.deepEqual(order, ["waited", "high", "plain", "low"]);
});

Deno.test("a run's duration is what attempts worked on it; what lay before, between and after them is told apart", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const hours = (ms: number | null) => Math.floor(ms! / 3_600_000);
  const { run_id } = await engine.submit({ batch_size: 1 });
  const waited = (many: string) =>
    sql`update etl.runs set requested_at = requested_at - ${many}::text::interval where run_id = ${run_id}`;
  const worked = (many: string) =>
    sql`update etl.runs set requested_at = requested_at - ${many}::text::interval,
      attempt_started_at = attempt_started_at - ${many}::text::interval where run_id = ${run_id}`;
  const times = async () => {
    const { duration_ms, waited_ms } = await engine.run(run_id);
    return [hours(duration_ms), hours(waited_ms)];
  };
  const begin = async () => {
    await sql`select etl.admit_runs()`;
    // a server of PostgreSQL that has just begun takes everybody for alive
    await waitFor(async () =>
      (await sql`select * from etl.start_run(${run_id}, 'elsewhere', 9)`).length > 0
    );
  };
  await waited("2 hours");
  assert.equal((await engine.run(run_id)).duration_ms, null);
  await begin();
  await worked("1 hour");
  const { started_at } = await engine.run(run_id);
  assert.deepEqual(await times(), [1, 2]);
  await sql`select etl.give_back_run(${run_id}, 1)`;
  await waited("4 hours");
  assert.deepEqual(await times(), [1, 6]);
  await begin();
  await worked("3 hours");
  // its server dies half an hour before another takes the run up
  await sql`update etl.runs set seen_at = clock_timestamp() - interval '90 minutes' where run_id = ${run_id}`;
  await begin();
  assert.deepEqual(await times(), [2, 7]);
  await sql`select etl.finish_run(${run_id}, 3, '{"state": "failed", "error": {}}')`;
  assert.deepEqual(await times(), [2, 7]);
  await sql`select etl.retry_run(${run_id})`;
  await waited("10 hours");
  await begin();
  await worked("5 hours");
  await sql`select etl.finish_run(${run_id}, 4, '{"state": "cancelled"}')`;
  assert.deepEqual(await times(), [7, 17]);
  assert.deepEqual((await engine.run(run_id)).started_at, started_at, "it began once");
  const metrics = await (await engine.request("/api/metrics/history")).json();
  assert.match(JSON.stringify(metrics), /"waited_ms":63\d{6}[.,]/, "17.5 hours");
  const [row] = await sql`select * from public.etl_improved_metrics where run_id = ${run_id}`;
  assert.deepEqual([hours(row!.duration_ms), hours(row!.waited_ms)], [7, 17]);
  const { rows } = await historyPage(sql, { limit: 1, sort: "duration_ms", descending: true });
  assert.equal(hours(rows[0]!.duration_ms), 7);
});

Deno.test("the metrics, the verdict and the audit of a run are those of its last attempt, each counter by its name", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 0 });
  const names = ["rejected", "filtered", "extra", "duplicates", "inserted", "updated", "unchanged"]
    .concat("deleted", "marked");
  const end = async (
    first: number,
    { state, success }: { state: "failed" | "cancelled"; success: boolean },
  ) => {
    await sql`select etl.admit_runs()`;
    const run = (await startRun(sql, run_id, { serverId: `server ${first}`, maxAttempts: 5 }))!;
    await planChunks(sql, run, { pin: {}, slices: [{ from: 0 }], warnings: [] });
    await sql`update etl.chunks set ${
      sql(Object.fromEntries(names.map((name, i) => [name, first + i])))
    }`;
    const error = { type: "/api/problems/internal", title: "t", status: 500, detail: "d" };
    const validation = { suite_name: `suite ${first}`, success };
    const load = { state: "succeeded", busy_ms: first + 0.5, records_in: first, records_out: 9 };
    const stages = [
      {
        stage: "load" as const,
        ...load,
        started_at: null,
        ended_at: null,
        attempts: 1,
        error: null,
      },
    ];
    await finishRun(sql, run, { state, error, stages: stages as never, validation });
    const [row] =
      await sql`select m.*, m.created_at = r.ended_at as dated from public.etl_improved_metrics as m join etl.runs as r using (run_id)`;
    assert.deepEqual(
      names.map((name) => `${name} ${row![name]}`),
      names.map((name, i) => `${name} ${first + i}`),
    );
    assert.deepEqual([row!.status, row!.attempt, row!.dated], [state, run.attempt, true]);
    assert.deepEqual(row!.stages.load, load);
    const [verdict] = await sql`select suite_name, success from etl.validations`;
    assert.deepEqual({ ...verdict }, validation);
    const [audit] =
      await sql`select actor, status from public.etl_improved_audit where event = 'finished' order by audit_id desc limit 1`;
    assert.deepEqual({ ...audit }, { actor: `server ${first}`, status: state });
  };
  await end(10, { state: "failed", success: false });
  await sql`select etl.retry_run(${run_id})`;
  await end(30, { state: "cancelled", success: true });
});

Deno.test("what a run has made in schema etl is gone with its end, and what it offered to others when it takes that back", async (t) => {
  const records = (more: (n: number) => object) =>
    Array.from({ length: 24 }, (_, n) => JSON.stringify({ id: n, ...more(n) })).join("\n");
  await using engine = await startEngine(t, {
    env: { ETL_DATA_SHARED: "true" },
    files: { "a.ndjson": records(() => ({ x: 1 })), "b.ndjson": records((n) => ({ x: n, y: 1 })) },
  });
  const { sql, deps } = engine;
  await sql`insert into etl.servers (server_id, version, run_slots, seen_until) values ('other', ${VERSION}, 1, now() + interval '1 hour')`;
  const left = async () => {
    const [row] = await sql`
      select (select count(*)::int from pg_class where relname ~ '^manifest_' and relkind = 'r') as manifests,
        (select count(*)::int from etl.shared_runs) as shared`;
    return { ...row };
  };
  const conf = (path: string) => ({
    ...{ layout: "typed", table_name: "t", schema_policy: "evolve", chunk_size: 3 },
    source: { type: "file", path, key: "id" },
  });
  // since when it is offered, and since when no more
  const offered: Promise<number>[] = [];
  const load = async (path: string) => {
    const { run_id } = await engine.submit(conf(path));
    await engine.execute(run_id, {
      settings: { ...deps.settings, sharesRuns: true, dataShared: true },
      observer: {
        taskDone: (_run, { kind }) => {
          if (kind === "prepare") offered.push(left().then(({ shared }) => shared));
        },
      },
    });
    return await engine.run(run_id);
  };
  const first = await load("a.ndjson");
  assert.deepEqual([first.state, first.sharing], ["succeeded", { alone: null, left: [] }]);
  assert.deepEqual(await left(), { manifests: 0, shared: 0 });
  assert.deepEqual(new Set(await Promise.all(offered.splice(0))), new Set([1]));

  const evolved = await load("b.ndjson");
  assert.deepEqual([evolved.state, evolved.sharing], ["succeeded", { alone: "columns", left: [] }]);
  assert.deepEqual(await left(), { manifests: 0, shared: 0 });
  assert.equal((await Promise.all(offered)).at(-1), 0);
});
