import assert from "node:assert/strict";
import { inSpanish } from "../../vocabulary/messages.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

const counts = (run: { counts: Record<string, number> }) => {
  const { records_read, inserted, updated, unchanged, duplicates, rejected, filtered, extra } =
    run.counts;
  return { records_read, inserted, updated, unchanged, duplicates, rejected, filtered, extra };
};

/** Drops, splits and breaks records as their `what` says. */
const SPLIT = `export function transform(record) {
  switch (record.what) {
    case "drop": return null;
    case "split": return [1, 2, 3].map((part) => ({ id: record.id + "/" + part }));
    case "throw": throw new Error("cannot convert " + record.id);
    case "same": return [{ id: record.id, n: 1 }, { id: record.id, n: 2 }];
    default: return record;
  }
}`;

async function quarantine(engine: Engine, runId: string) {
  return await engine.sql<
    {
      chunk_no: number;
      position: number;
      output: number;
      rule: string;
      message: string;
      raw: string;
    }[]
  >`
    select chunk_no, position, output, rule, message, raw from etl.quarantine
    where run_id = ${runId} order by chunk_no, position, output`;
}

Deno.test("numbers: filtered, extra, duplicates and rejected add up as defined", async (t) => {
  await using engine = await startEngine(t, { transforms: { split: SPLIT } });
  const records = [
    { id: "a" },
    { id: "b", what: "drop" },
    { id: "c", what: "split" },
    { id: "d", what: "throw" },
    { id: "e", what: "same" },
    { id: "a", n: 2 },
    { what: "keyless" },
    "no object",
  ];
  const run = await engine.load(records, { transform: "split", min_acceptance_ratio: 0 });
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  assert.deepEqual(counts(run), {
    records_read: 8,
    inserted: 4,
    updated: 0,
    unchanged: 0,
    duplicates: 1,
    rejected: 5,
    filtered: 1,
    extra: 3,
  });
  const stages = new Map(
    run.stages.map((each) => [each.stage, [each.records_in, each.records_out]]),
  );
  assert.deepEqual([stages.get("extract")?.[1], stages.get("transform"), stages.get("validate")], [
    8,
    [8, 10],
    [10, 5],
  ]);
  const chunks = await engine.sql<{ attempts: number; stage_ms: Record<string, number> }[]>`
    select attempts, stage_ms from etl.chunks`;
  for (const { attempts, stage_ms } of chunks) {
    assert.deepEqual(
      [attempts, typeof stage_ms.transform, typeof stage_ms.load],
      [1, "number", "number"],
    );
  }
  // nothing stays on the server's disk
  await assert.rejects(Deno.stat(`${engine.config.spoolDir}/${run.run_id}`), Deno.errors.NotFound);
  // expected = read − duplicates − filtered + extra
  assert.deepEqual([run.total_rows, run.expected_rows, run.ratio], [4, 9, 4 / 9]);
  assert.deepEqual(Object.keys(await engine.payloads()), ["a", "c/1", "c/2", "c/3"]);
  assert.deepEqual(
    // as the request's records are stored, for which PostgreSQL writes JSON its way
    (await quarantine(engine, run.run_id)).map((
      row,
    ) => [row.chunk_no, row.position, row.output, row.rule, row.raw]),
    [
      [1, 0, 0, "transform_error", '{"id": "d", "what": "throw"}'],
      [1, 1, 0, "same_key", '{"id": "e", "what": "same"}'],
      [1, 1, 1, "same_key", '{"id": "e", "what": "same"}'],
      [2, 0, 0, "key_missing", '{"what": "keyless"}'],
      [2, 1, 0, "not_an_object", '"no object"'],
    ],
  );
  assert.match((await quarantine(engine, run.run_id))[0]!.message, /cannot convert d/);
});

Deno.test("numbers: a transform that drops everything leaves nothing to expect: ratio 1", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { none: "export const transform = () => [];" },
  });
  const run = await engine.load([{ id: 1 }, { id: 2 }], { transform: "none" });
  assert.deepEqual([run.state, run.total_rows, run.expected_rows, run.ratio], [
    "succeeded",
    0,
    0,
    1,
  ]);
});

Deno.test("numbers: a run of nothing succeeds with ratio 1 and no chunks", async (t) => {
  await using engine = await startEngine(t, { files: { "empty.ndjson": "" } });
  for (const conf of [{ batch_size: 0 }, { source: { type: "file", path: "empty.ndjson" } }]) {
    const run = await engine.runToEnd(conf);
    assert.deepEqual(
      [run.state, run.total_rows, run.expected_rows, run.ratio, run.num_chunks],
      ["succeeded", 0, 0, 1, 0],
      JSON.stringify(run.error),
    );
  }
});

Deno.test("numbers: below min_acceptance_ratio the run fails in finalize; what was loaded stays", async (t) => {
  await using engine = await startEngine(t);
  const records = Array.from({ length: 10 }, (_, i) => i < 9 ? { id: i } : { none: i });
  const good = await engine.load(records, { min_acceptance_ratio: 0.9, table_name: "good" });
  assert.deepEqual([good.state, good.ratio, good.low_ratio], ["succeeded", 0.9, true]);
  const low = await engine.load(records, { min_acceptance_ratio: 0.91, table_name: "low" });
  assert.deepEqual([low.state, low.ratio, low.low_ratio], ["failed", 0.9, true]);
  assert.equal(low.error!.type, "/api/problems/low-ratio");
  assert.match(String(low.error!.detail), /9 of 10 expected rows .*stays in the table/);
  assert.deepEqual(low.stages.map(({ state }) => state), [...Array(6).fill("succeeded"), "failed"]);
  assert.equal((await engine.rows("public.low")).length, 9);
  const events = await engine.sql`select run_id from etl.dataset_events`;
  assert.deepEqual(events.map(({ run_id }) => run_id), [good.run_id]);
  const metrics = await engine.sql`
    select status, low_ratio, rejected::int from public.etl_improved_metrics order by run_id`;
  assert.deepEqual(metrics.map((row) => ({ ...row })), [
    { status: "succeeded", low_ratio: true, rejected: 1 },
    { status: "failed", low_ratio: true, rejected: 1 },
  ]);
  const none = await engine.load([{ none: 1 }], { table_name: "none" });
  assert.match(String(none.error!.detail), /0 of 1 expected rows .*Nothing was loaded\./);
  const mixed = await engine.load(
    [{ none: 1 }, { id: 1, occurred_at: 5 }, { none: 3 }, "no object"],
    { table_name: "mixed", source: { occurred_at: "occurred_at" } },
  );
  assert.match(
    String(mixed.error!.detail),
    /Rejected most often, 2 of \d: key_missing in id\. Look/,
  );
  assert.match(
    inSpanish(String(mixed.error!.detail)),
    /nada\. Lo más rechazado, 2 de \d: key_missing en id\. Mire/,
  );
});

Deno.test("numbers: batch_size is a cap and the number expected, where it is given", async (t) => {
  const lines = Array.from({ length: 10 }, (_, i) => `{"id":${i}}\n`).join("");
  await using engine = await startEngine(t, { files: { "ten.ndjson": lines } });
  const source = { type: "file", path: "ten.ndjson", key: "id" };
  const load = (conf: object) => engine.runToEnd({ source, ...conf });
  const unlimited = await load({});
  assert.deepEqual([unlimited.total_rows, unlimited.expected_rows, unlimited.ratio], [10, 10, 1]);
  const capped = await load({ batch_size: 4, table_name: "capped" });
  assert.deepEqual([capped.total_rows, capped.expected_rows, capped.ratio], [4, 4, 1]);
  assert.deepEqual(Object.keys(await engine.payloads("public.capped")), ["0", "1", "2", "3"]);
  const short = await load({ batch_size: 20, table_name: "short" });
  assert.deepEqual([short.state, short.total_rows, short.expected_rows, short.ratio], [
    "failed",
    10,
    20,
    0.5,
  ]);
  await engine
    .sql`insert into etl.configurations (name, conf) values ('capped', '{"batch_size": 20}')`;
  const saved = await load({ configuration: "capped", table_name: "saved" });
  assert.deepEqual([saved.total_rows, saved.expected_rows], [10, 20]);
  // a value of the environment is no cap: it is meant for synthetic runs
  await engine.sql`update etl.param_schema set environment = '{"batch_size": 3}'`;
  const from = await load({ table_name: "env" });
  assert.deepEqual([from.total_rows, from.expected_rows], [10, 10]);
});

Deno.test("dry run: writes nothing, makes nothing, and reports what a real run then does", async (t) => {
  await using engine = await startEngine(t);
  const relations = async () =>
    (await engine.sql`select n.nspname || '.' || c.relname as name from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'S') and n.nspname !~ '^pg_' order by 1`).map(({ name }) => name);
  const conf = (dry_run: boolean, records: unknown[]) => ({
    dry_run,
    schema_name: "fresh",
    table_name: "events",
    min_acceptance_ratio: 0,
    chunk_size: 2,
    source: { type: "inline", name: "s", key: "id", records },
  });
  const before = await relations();
  const records = [{ id: 1 }, { id: 2 }, { id: 1, n: 1 }, {}];
  const dry = await engine.succeed(conf(true, records));
  assert.deepEqual(await relations(), before);
  assert.deepEqual(
    await engine.sql`select to_regnamespace('fresh') as n`.then(([row]) => row!.n),
    null,
  );
  const real = await engine.succeed(conf(false, records));
  assert.deepEqual(counts(dry), counts(real));
  assert.deepEqual([dry.total_rows, dry.expected_rows, dry.ratio], [
    real.total_rows,
    real.expected_rows,
    real.ratio,
  ]);

  const rows = await engine.rows("fresh.events");
  const changed = [{ id: 1, n: 2 }, { id: 2 }, { id: 3 }];
  const dryAgain = await engine.succeed(conf(true, changed));
  assert.deepEqual(await engine.rows("fresh.events"), rows);
  assert.deepEqual(counts(dryAgain), { ...counts(await engine.succeed(conf(false, changed))) });
  assert.deepEqual([dryAgain.counts.inserted, dryAgain.counts.updated, dryAgain.counts.unchanged], [
    1,
    1,
    1,
  ]);
  const events = await engine.sql`select count(*)::int as n from etl.dataset_events`;
  assert.equal(events[0]!.n, 2);
  const low = await engine.runToEnd({ ...conf(true, records), min_acceptance_ratio: 1 });
  assert.match(String(low.error!.detail), /Nothing was written \(dry run\)/);
});

Deno.test("rejected: a run whose first 1,000 records are all rejected fails at once", async (t) => {
  const keyless = `{"no":"key"}\n`.repeat(1500) + `{"id":1}\n`.repeat(10);
  await using engine = await startEngine(t, { files: { "keyless.ndjson": keyless } });
  for (const chunk_size of [100_000, 400]) {
    const run = await engine.runToEnd({
      chunk_size,
      min_acceptance_ratio: 0,
      table_name: `t${chunk_size}`,
      source: { type: "file", path: "keyless.ndjson", key: "id" },
    });
    assert.equal(run.state, "failed");
    assert.equal(run.error!.type, "/api/problems/too-many-rejected");
    assert.match(String(run.error!.detail), /first 1\d{3} records were all rejected/);
    assert.match(String(run.error!.detail), /preview/);
    assert.equal((await engine.rows(`public.t${chunk_size}`)).length, 0);
  }
});

Deno.test("rejected: 999 bad records of a longer input do not end the run, nor does a good one among them", async (t) => {
  const bad = `{"no":"key"}\n`;
  await using engine = await startEngine(t, {
    files: {
      "a.ndjson": bad.repeat(999) + '{"id":1}\n',
      "b.ndjson": '{"id":1}\n' + bad.repeat(2000),
    },
  });
  for (const [path, rejected] of [["a.ndjson", 999], ["b.ndjson", 2000]] as const) {
    const run = await engine.runToEnd({
      min_acceptance_ratio: 0,
      table_name: path.slice(0, 1),
      source: { type: "file", path, key: "id" },
    });
    assert.deepEqual([run.state, run.counts.rejected, run.total_rows], ["succeeded", rejected, 1]);
  }
});

Deno.test("rejected: more than 100,000 rejected records fail the run; nothing is published", async (t) => {
  const lines = '{"id":1}\n' + `{"x":0}\n`.repeat(100_001);
  await using engine = await startEngine(t, { files: { "many.ndjson": lines } });
  const run = await engine.runToEnd({
    min_acceptance_ratio: 0,
    db_page_size: 100_000,
    chunk_size: 60_000,
    source: { type: "file", path: "many.ndjson", key: "id" },
  });
  assert.equal(run.state, "failed", JSON.stringify(run.counts));
  assert.match(String(run.error!.detail), /More than 100000 records were rejected/);
  assert.equal((await engine.rows()).length, 0);

  // all of them are exported, part by part: none is more than a few MiB
  const kept = (await quarantine(engine, run.run_id)).length;
  assert.ok(kept > 50_000, String(kept));
  const { body } = await engine.request(`/etl/runs/${run.run_id}/quarantine.csv`);
  const parts: number[] = [];
  let exported = 0;
  for await (const part of body!) {
    parts.push(part.byteLength);
    for (const byte of part) if (byte === 10) exported++;
  }
  assert.equal(exported, kept + 1);
  assert.ok(parts.length > 3 && Math.max(...parts) < 8 << 20, parts.join(" "));
});

Deno.test("transform: a module that is missing or exports no function fails the run and says so", async (t) => {
  await using engine = await startEngine(t, {
    transforms: {
      empty: "export const x = 1;",
      broken: "export const transform = (",
      split: SPLIT,
    },
  });
  const detail = async (transform: string) => {
    const run = await engine.load([{ id: 1 }], { transform });
    assert.deepEqual([run.state, run.error?.type], ["failed", "/api/problems/transform-failed"]);
    return String(run.error!.detail);
  };
  assert.match(await detail("nope"), /no transform module nope.*Known: broken, empty, split/);
  assert.match(await detail("empty"), /exports neither a function named transform/);
  assert.match(await detail("broken"), /cannot be loaded/);
});

Deno.test("numbers: integers beyond 2^53 keep every digit from the conf to the table, in keys too", async (t) => {
  await using engine = await startEngine(t);
  // as SQL asks for it
  const [row] = await engine.sql<
    { id: string }[]
  >`select etl.request_run(${`{"source": {"type": "inline",
    "name": "s", "key": "id", "records": [{"id": 9007199254740993, "n": [12345678901234567890]}]}}`}::text::jsonb) as id`;
  await engine.toEnd(row!.id);
  const [event] = await engine
    .sql`select event_id, payload::text as payload from public.etl_improved_events`;
  assert.equal(event!.event_id, "9007199254740993");
  assert.equal(event!.payload, '{"n": [12345678901234567890], "id": 9007199254740993}');
});
