import assert from "node:assert/strict";
import { listQuarantine } from "../../store/quarantine.ts";
import { retryRun } from "../../store/runs.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

const AT = "2026-01-01T00:00:00Z";

interface Rejected {
  rule: string;
  raw: string;
  field: string | null;
  state: string;
  tries: number;
  replayed_by: string | null;
}

async function quarantine(engine: Engine, runId: string): Promise<Rejected[]> {
  const answer = await engine.request(`/api/etl/runs/${runId}/quarantine?limit=1000`);
  return (await answer.json()).items;
}

async function ask(engine: Engine, runId: string, body: object = {}) {
  const answer = await engine.post(`/api/etl/runs/${runId}/quarantine/replay`, body);
  const submitted = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(submitted));
  return submitted as { run_id: string; created: boolean };
}

async function replay(engine: Engine, runId: string, body: object = {}) {
  const { run_id } = await ask(engine, runId, body);
  return await engine.toEnd(run_id);
}

/** Records whose time is wrong under the conf, and right with `occurred_at: "when"`. */
const mendable = (id: string, v: string) => ({ id, v, at: "no time", when: AT });
const SOURCE = { occurred_at: "at" };
const MENDED = { set: { source: { occurred_at: "when" } } };

Deno.test("replay: what a corrected mapping accepts is loaded, the rest is open again with its new reason", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.load(
    [mendable("a", "1"), { id: "b", at: "no time", when: "neither" }, { at: AT }, {
      id: "d",
      at: AT,
    }],
    { source: SOURCE },
  );
  assert.deepEqual((await quarantine(engine, run.run_id)).map(({ state }) => state), [
    "open",
    "open",
    "open",
  ]);
  const dry = await replay(engine, run.run_id, { ...MENDED, dry_run: true });
  assert.equal(dry.counts!.inserted, 1);
  assert.equal((await engine.payloads()).a, undefined);
  const mended = await replay(engine, run.run_id, MENDED);
  assert.equal(mended.state, "succeeded");
  assert.deepEqual([mended.counts!.inserted, mended.counts!.rejected], [1, 2]);
  assert.ok((await engine.payloads()).a);
  const after = await quarantine(engine, run.run_id);
  assert.deepEqual(after.map(({ state, tries }) => [state, tries]), [
    ["replayed", 2],
    ["open", 2],
    ["open", 2],
  ]);
  assert.deepEqual(after.slice(0, 2).map(({ field }) => field), ["at", "when"]);
  // the replay's own are no others: they went back
  assert.deepEqual((await quarantine(engine, mended.run_id)).map(({ state }) => state), [
    "returned",
    "returned",
  ]);
  // a replay of the replay is one of what is open
  const again = await replay(engine, mended.run_id, { set: { source: { occurred_at: null } } });
  assert.equal(again.replay_of, run.run_id);
  assert.deepEqual([again.counts!.inserted, again.counts!.rejected], [1, 1]);
  assert.equal((await quarantine(engine, run.run_id)).filter((r) => r.state === "open").length, 1);
});

Deno.test("replay: five requests at once are one run; when it is over, a sixth finds nothing", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.load([mendable("a", "1"), mendable("b", "1")], { source: SOURCE });
  const asked = await Promise.all(
    Array.from({ length: 5 }, () => ask(engine, run.run_id, MENDED)),
  );
  assert.equal(new Set(asked.map(({ run_id }) => run_id)).size, 1);
  assert.equal(asked.filter(({ created }) => created).length, 1);
  await engine.toEnd(asked[0]!.run_id);
  assert.deepEqual(Object.keys(await engine.payloads()), ["a", "b"]);
  const late = await engine.post(`/api/etl/runs/${run.run_id}/quarantine/replay`, MENDED);
  assert.equal(late.status, 409);
  assert.match((await late.json()).detail, /no open record/);
});

Deno.test("replay: records that stay wrong do not keep those behind them from being loaded", async (t) => {
  await using engine = await startEngine(t);
  const wrong = Array.from({ length: 1_100 }, (_, i) => ({ no: i, at: "no time" }));
  const right = Array.from({ length: 100 }, (_, i) => mendable(`m${i}`, "1"));
  const loaded = await engine.load([{ id: "first", at: AT }, ...wrong, ...right], {
    source: SOURCE,
    chunk_size: 5_000,
  });
  // all in one chunk, whose first 1,000 records are wrong
  const mended = await replay(engine, loaded.run_id, {
    set: { ...MENDED.set, chunk_size: 5_000 },
  });
  assert.equal(mended.state, "succeeded", JSON.stringify(mended.error));
  assert.deepEqual([mended.counts!.inserted, mended.counts!.rejected], [100, 1_100]);
});

Deno.test("replay: a cancelled one leaves its records open", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.load([mendable("a", "1")], { source: SOURCE });
  const { run_id } = await ask(engine, run.run_id, MENDED);
  assert.deepEqual((await quarantine(engine, run.run_id)).map((r) => r.state), ["replaying"]);
  await engine.post(`/api/etl/runs/${run_id}/cancel`);
  assert.deepEqual((await quarantine(engine, run.run_id)).map((r) => r.state), ["open"]);
});

Deno.test("replay: what a later request has confirmed as it is stays; what is missing is added", async (t) => {
  await using engine = await startEngine(t);
  await engine.load([{ id: "k", v: "first", at: AT }], { source: SOURCE });
  const bad = await engine.load([mendable("k", "bad"), mendable("missing", "bad")], {
    source: SOURCE,
  });
  const confirmed = await engine.load([{ id: "k", v: "first", at: AT }], { source: SOURCE });
  assert.equal(confirmed.counts!.unchanged, 1);
  const mended = await replay(engine, bad.run_id, MENDED);
  assert.deepEqual([mended.counts!.inserted, mended.counts!.updated], [1, 0]);
  assert.match(mended.warnings.join(), /^1 row was not updated: a later request/);
  const payloads = await engine.payloads() as Record<string, { v: string }>;
  assert.deepEqual([payloads.k!.v, payloads.missing!.v], ["first", "bad"]);
});

Deno.test("replay: without a later request it changes the row that an earlier one has left", async (t) => {
  await using engine = await startEngine(t);
  await engine.load([{ id: "k", v: "old", at: AT }], { source: SOURCE });
  const bad = await engine.load([mendable("k", "new")], { source: SOURCE });
  const mended = await replay(engine, bad.run_id, MENDED);
  assert.equal(mended.counts!.updated, 1);
  assert.equal((await engine.payloads() as Record<string, { v: string }>).k!.v, "new");
});

Deno.test("replay: a replayed row counts as its first run's, so a request between the two is newer", async (t) => {
  await using engine = await startEngine(t);
  const bad = await engine.load([mendable("k", "replayed")], { source: SOURCE });
  const source = { type: "inline", name: "test", key: "id", ...SOURCE };
  const between = await engine.submit({
    run_label: "another",
    source: { ...source, records: [{ id: "k", v: "newer", at: AT }] },
  });
  const mended = await ask(engine, bad.run_id, MENDED);
  await engine.toEnd(between.run_id);
  await engine.toEnd(mended.run_id);
  assert.equal((await engine.payloads() as Record<string, { v: string }>).k!.v, "newer");
});

Deno.test("retry: a failed run that is taken up after a later one adds what is missing and changes nothing", async (t) => {
  await using engine = await startEngine(t);
  const source = { type: "file", path: "late.ndjson", name: "test", key: "id" };
  const failed = await engine.runToEnd({ source });
  assert.equal(failed.state, "failed");
  await engine.load([{ id: "k", v: "later" }]);
  await Deno.writeTextFile(
    `${engine.config.dataDir}/late.ndjson`,
    '{"id":"k","v":"late"}\n{"id":"missing","v":"late"}\n',
  );
  await engine.post(`/api/etl/runs/${failed.run_id}/retry`);
  const retried = await engine.toEnd(failed.run_id);
  assert.equal(retried.state, "succeeded", JSON.stringify(retried.error));
  assert.deepEqual([retried.counts!.inserted, retried.counts!.updated], [1, 0]);
  assert.match(retried.warnings.join(), /1 row was not updated/);
  assert.equal((await engine.payloads() as Record<string, { v: string }>).k!.v, "later");
});

Deno.test("retry: a run that was cancelled while it waited, and is taken up after a later one, changes nothing either", async (t) => {
  await using engine = await startEngine(t);
  const conf = (v: string) => ({
    source: { type: "inline", name: "test", key: "id", records: [{ id: "k", v }, { id: v, v }] },
  });
  await engine.succeed(conf("confirmed"));
  const { run_id } = await engine.submit(conf("late"));
  await engine.post(`/api/etl/runs/${run_id}/cancel`);
  assert.equal((await engine.succeed(conf("confirmed"))).counts.unchanged, 2);
  await engine.post(`/api/etl/runs/${run_id}/retry`);
  const { attempt, counts } = await engine.toEnd(run_id);
  assert.deepEqual([attempt, counts.inserted, counts.updated], [1, 1, 0]);
  assert.equal((await engine.payloads() as Record<string, { v: string }>).k!.v, "confirmed");
});

Deno.test("retry: what dry runs, failures, replays, other sources and other tables did meanwhile makes no run late", async (t) => {
  await using engine = await startEngine(t);
  const source = { type: "file", path: "late.ndjson", name: "test", key: "id" };
  await engine.load([{ id: "k", v: "old" }]);
  const rejecting = await engine.load([mendable("r", "1")], { source: SOURCE });
  const failed = await engine.runToEnd({ source });
  await engine.load([{ id: "k", v: "dry" }], { dry_run: true });
  assert.equal((await engine.runToEnd({ source })).state, "failed");
  await engine.load([{ id: "k", v: "elsewhere" }], { table_name: "elsewhere" });
  await engine.load([{ id: "another" }], { source: { name: "other" } });
  assert.equal((await replay(engine, rejecting.run_id, MENDED)).counts!.inserted, 1);
  await Deno.writeTextFile(`${engine.config.dataDir}/late.ndjson`, '{"id":"k","v":"new"}\n');
  await engine.post(`/api/etl/runs/${failed.run_id}/retry`);
  const retried = await engine.toEnd(failed.run_id);
  assert.deepEqual([retried.counts!.updated, retried.warnings], [1, []]);
  assert.equal((await engine.payloads() as Record<string, { v: string }>).k!.v, "new");
});

Deno.test("replay: a version decides as ever, however late it comes", async (t) => {
  await using engine = await startEngine(t);
  const versioned = { ...SOURCE, version: "n" };
  const bad = await engine.load([{ ...mendable("k", "high"), n: 9 }, {
    ...mendable("l", "low"),
    n: 1,
  }], { source: versioned });
  await engine.load([{ id: "k", v: "x", n: 5, at: AT }, { id: "l", v: "x", n: 5, at: AT }], {
    source: versioned,
  });
  const mended = await replay(engine, bad.run_id, MENDED);
  assert.deepEqual([mended.counts!.updated, mended.counts!.unchanged], [1, 1]);
  const payloads = await engine.payloads() as Record<string, { v: string }>;
  assert.deepEqual([payloads.k!.v, payloads.l!.v], ["high", "x"]);
});

/** Refuses records that are marked, until the module is replaced. */
const REFUSES = `export function transform(record) {
  if (record.bad) throw new Error("is bad");
  return record;
}`;

const source = (records: object[]) => ({ type: "inline", name: "shop", key: "id", records });

Deno.test("a replay loads what was rejected with today's transform, and overwrites nothing that came later", async (t) => {
  await using engine = await startEngine(t, { transforms: { checks: REFUSES } });
  const load = (records: object[]) =>
    engine.succeed({ transform: "checks", min_acceptance_ratio: 0, source: source(records) });
  await load([{ id: "changed", v: 0 }, { id: "newer", v: 0 }]);
  const rejecting = await load([
    { id: "changed", v: 1, bad: true },
    { id: "newer", v: 1, bad: true },
    { id: "missing", v: 1, bad: true },
  ]);
  assert.equal(rejecting.counts.rejected, 3);
  await load([{ id: "newer", v: 2 }]);

  await Deno.writeTextFile(
    `${engine.config.transformsDir}/checks.ts`,
    "export const transform = ({ bad: _bad, ...record }) => record;",
  );
  const path = `/api/etl/runs/${rejecting.run_id}/quarantine/replay`;
  const asked = await engine.post(path);
  assert.equal(asked.status, 202, await asked.clone().text());
  const { run_id } = await asked.json();
  const replay = await engine.toEnd(run_id);
  assert.equal(replay.state, "succeeded", JSON.stringify(replay.error));
  const { inserted, updated, unchanged } = replay.counts;
  // the later request may have confirmed what it did not change
  assert.deepEqual([replay.replay_of, inserted, updated, unchanged], [rejecting.run_id, 1, 0, 2]);
  assert.match(replay.warnings.join(), /^2 rows were not updated/);
  assert.deepEqual(await engine.payloads(), {
    changed: { id: "changed", v: 0 },
    missing: { id: "missing", v: 1 },
    newer: { id: "newer", v: 2 },
  });
  const again = await engine.post(path);
  assert.equal(again.status, 409, "what was replayed is not replayed again");
  assert.deepEqual((await engine.run(rejecting.run_id)).counts, rejecting.counts);
});

Deno.test("replay: a record of a CSV file has the key and the values that it had in the file", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "codes.csv": "code,n,at,when\n1.10,5.0,no time,2026-01-01\n007,true,no time,2026-01-01\n",
    },
  });
  const source = { type: "file", path: "codes.csv", name: "codes", key: "code" };
  const run = await engine.runToEnd({ source: { ...source, occurred_at: "at" } });
  assert.equal(run.counts!.rejected, 2);
  const mended = await replay(engine, run.run_id, MENDED);
  assert.equal(mended.counts!.inserted, 2);
  const again = await engine.succeed({ source: { ...source, occurred_at: "when" } });
  const { inserted, unchanged } = again.counts!;
  assert.deepEqual([inserted, unchanged], [0, 2]);
  assert.deepEqual((await engine.rows()).map(({ event_id }) => event_id), ["007", "1.10"]);
});

Deno.test("replay: it reads the records as the original did, with its parameters, and not as the original was cut", async (t) => {
  await using engine = await startEngine(t, { transforms: { checks: REFUSES } });
  const rejected = (source: object, params: object = {}) =>
    engine.succeed({ min_acceptance_ratio: 0, ...params, source });
  const given = async (runId: string, body: object = {}) => {
    const { run_id } = await ask(engine, runId, body);
    const { params, run_label } = await engine.run(run_id);
    const entries = Object.entries(params).filter(([, { origin }]) => origin !== "default");
    const { source, ...rest } = Object.fromEntries(
      entries.map(([name, { value }]) => [name, value]),
    );
    const { records: _records, upload_id: _upload, ...read } = source as Record<string, unknown>;
    return { read, rest, run_label };
  };
  const mapping = {
    key: "id",
    version: "n",
    occurred_at: "at",
    event_type: "kind",
    columns: { day: { type: "date", format: "%d/%m/%Y" } },
    null_values: ["-"],
    true_values: ["si"],
    false_values: ["no"],
  };
  const records = [{ id: "1", n: 1, at: "no time", kind: "k" }];

  const run = await rejected({ type: "inline", name: "shop", records, ...mapping }, {
    run_label: "mine",
    batch_size: 7,
    chunk_size: 9,
    overlap: "skip",
    exclude: ["left_out"],
    priority: 3,
  });
  const { read, rest, run_label } = await given(run.run_id, { set: { db_max_retries: 2 } });
  assert.deepEqual(read, {
    type: "inline",
    name: "shop",
    format: "ndjson",
    cells: true,
    ...mapping,
  });
  const { min_acceptance_ratio, run_label: _label, ...others } = rest;
  assert.equal(run_label, "mine");
  assert.equal(min_acceptance_ratio, 0);
  // what is private is what the dataset has declared by now
  assert.deepEqual(others, {
    priority: 3,
    overlap: "queue",
    db_max_retries: 2,
    dry_run: false,
  });

  const unnamed = await rejected({ type: "inline", records, key: "id", occurred_at: "at" }, {
    run_label: "of its label",
  });
  const changed = await given(unnamed.run_id, {
    set: { source: { occurred_at: null, version: "n" } },
  });
  assert.deepEqual(changed.read, {
    type: "inline",
    name: "of its label",
    format: "ndjson",
    cells: true,
    key: "id",
    version: "n",
  });
  await Deno.writeTextFile(
    `${engine.config.transformsDir}/none.ts`,
    "export const transform = () => { throw new Error('none'); };",
  );
  const synthetic = await rejected({ type: "synthetic", seed: 1 }, {
    batch_size: 2,
    transform: "none",
  });
  assert.deepEqual((await given(synthetic.run_id)).read, {
    type: "inline",
    name: "synthetic",
    format: "ndjson",
    cells: true,
    key: "id",
    event_type: { field: "event_type" },
    occurred_at: "occurred_at",
  });
});

Deno.test("replay: where its records come from cannot be set", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.load([mendable("a", "1")], { source: SOURCE });
  for (const name of ["type", "format", "upload_id", "records", "cells", "path", "url", "name"]) {
    const answer = await engine.post(`/api/etl/runs/${run.run_id}/quarantine/replay`, {
      set: { source: { [name]: "x", key: "id" } },
    });
    assert.equal(answer.status, 422, name);
    assert.deepEqual((await answer.json()).errors.map(({ field }: { field: string }) => field), [
      `set.source.${name}`,
    ]);
  }
  const whole = await engine.post(`/api/etl/runs/${run.run_id}/quarantine/replay`, {
    set: { source: ["x"] },
  });
  assert.equal(whole.status, 422);
});

Deno.test("quarantine: a page has at least one record, as many as its bytes take, and texts as long as they are shown", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const long = { at: "no time", text: "x".repeat(1_000) };
  const run = await engine.load(
    [{ id: "a", ...long }, { id: "b", ...long }, { id: "c", ...long }],
    {
      source: SOURCE,
    },
  );
  const page = { after: [-1, -1, -1] as [number, number, number], limit: 3 };
  const of = async (options: object) =>
    await listQuarantine(sql, run.run_id, { ...page, ...options });
  assert.deepEqual([(await of({})).rows.length, (await of({})).more], [3, false]);
  for (const [bytes, count] of [[1, 1], [1_500, 1], [2_200, 2]] as const) {
    const { rows, more } = await of({ bytes });
    assert.deepEqual([rows.length, more], [count, true], `${bytes}`);
  }
  const [short] = (await of({ shown: 10 })).rows;
  assert.equal(short!.raw.length, 11);
  assert.ok(short!.raw.endsWith("…"));
  await sql`update etl.quarantine set record = raw, raw_bytes = convert_to(raw, 'UTF8')`;
  const [cut] = (await of({ shown: 10 })).rows;
  assert.deepEqual([cut!.record, cut!.raw_base64], [null, null], "half of a JSON text is none");
  const [all] = (await of({})).rows;
  assert.equal(all!.record, all!.raw);
  assert.equal(atob(all!.raw_base64!), all!.raw);
});

Deno.test("replay: records of a failed run that were replayed are so still when the run is retried and read anew", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.load([{ id: "a", at: AT }, mendable("b", "1"), { at: AT }], {
    source: SOURCE,
    write: "mirror",
  });
  assert.equal(run.error?.type, "/api/problems/low-ratio");
  const { run_id } = await replay(engine, run.run_id, MENDED);
  await retryRun(engine.sql, run.run_id, "test");
  await engine.toEnd(run.run_id);
  const after = await quarantine(engine, run.run_id);
  assert.deepEqual(after.map(({ state, tries, replayed_by }) => [state, tries, replayed_by]), [
    ["replayed", 1, run_id],
    ["open", 1, run_id],
  ]);
});
