import assert from "node:assert/strict";
import type { Preview } from "../../pipeline/preview.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

const SUITE = {
  meta: {
    payload_schema: {
      type: "object",
      required: ["amount"],
      properties: { amount: { type: "number", maximum: 1000 } },
    },
  },
  expectations: [{
    expectation_type: "expect_column_values_to_be_between",
    kwargs: { column: "amount", min_value: 0 },
  }],
};

const FILES = {
  "a.ndjson": [
    '{"id":"1","amount":5}',
    '{"id":"2","amount":-5}',
    '{"id":"3", "amount":5000}',
    '{"id":"4"}',
    '{"amount":1}',
    '{"id":"6","amount":',
    '{"id":"7","amount":2,"drop":true}',
    '{"id":"8","amount":8,"bad":true}',
  ].join("\n"),
  "b.csv":
    'id,amount,day\n1,"2,50",31/01/2026\n2,-1,01/02/2026\n3,many,02/02/2026\n4,7,2026\n5\n6,\n',
};

const CSV = {
  type: "file",
  path: "b.csv",
  key: "id",
  occurred_at: "day",
  columns: {
    amount: { type: "numeric", decimal: "," },
    day: { type: "date", format: "%d/%m/%Y" },
  },
};

/** A module that drops, breaks and changes what the payload schema then looks at. */
const MODULE =
  'export const transform = (r) => { if (r.bad) throw new Error("bad"); return r.drop ? null : { ...r, amount: r.amount * 2 }; };';

const CASES: Record<string, Record<string, unknown>> = {
  "row rules": { source: { type: "file", path: "a.ndjson", key: "id" } },
  "a payload schema and a suite": {
    source: { type: "file", path: "a.ndjson", key: "id" },
    suite: "strict",
  },
  "a suite that sends rows to the quarantine": {
    source: { type: "file", path: "a.ndjson", key: "id" },
    suite: "strict",
    on_failure: "quarantine",
  },
  "a transform module": {
    source: { type: "file", path: "a.ndjson", key: "id" },
    transform: "twice",
    suite: "strict",
    on_failure: "quarantine",
  },
  "declared columns": { source: CSV, suite: "strict", on_failure: "quarantine" },
  "records in the conf": {
    source: {
      type: "inline",
      key: "id",
      records: [{ id: 1, amount: 5000 }, { id: 2, amount: 1 }, "text", { id: 3, amount: -1 }],
    },
    suite: "strict",
    on_failure: "quarantine",
  },
  "made records": { source: { type: "synthetic" }, batch_size: 15, suite: "strict" },
};

Deno.test("preview says of each record what a run does with it", async (t) => {
  await using engine = await startEngine(t, { files: FILES, transforms: { twice: MODULE } });
  const put = await engine.request("/api/suites/strict", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(SUITE),
  });
  assert.equal(put.status, 201, await put.text());
  let n = 0;
  for (const [name, conf] of Object.entries(CASES)) {
    await t.step(name, async () => {
      const table = `t${++n}`;
      const asked = { ...conf, table_name: table, min_acceptance_ratio: 0 };
      const response = await engine.post("/api/etl/preview", asked);
      const preview = await response.json() as Preview;
      assert.equal(response.status, 200, JSON.stringify(preview));
      const run = await engine.succeed(asked);
      assert.deepEqual(await loaded(engine, table), shown(preview));
      // a run keeps records of a conf as lines, with their members in another order
      const kept = preview.rejected.map(({ position, rule, message, raw }) =>
        name === "records in the conf"
          ? { position, rule, raw: JSON.parse(raw) }
          : { position, rule, message, raw }
      );
      const stored = (await quarantined(engine, run.run_id)).map(({ message, raw, ...row }) =>
        name === "records in the conf" ? { ...row, raw: JSON.parse(raw) } : { ...row, message, raw }
      );
      assert.deepEqual(kept, stored);
    });
  }
});

const byKey = (a: { event_id: string }, b: { event_id: string }) =>
  a.event_id < b.event_id ? -1 : 1;

function shown({ events }: Preview) {
  return events.map(({ event_id, fingerprint }) => ({ event_id, fingerprint })).sort(byKey);
}

async function loaded({ sql }: Engine, table: string) {
  const rows = await sql<{ event_id: string; fingerprint: string }[]>`
    select event_id, encode(fingerprint, 'hex') as fingerprint from ${sql(table)}`;
  return rows.map((row) => ({ ...row })).sort(byKey);
}

async function quarantined({ sql }: Engine, runId: string) {
  const rows = await sql<{ position: number; rule: string; message: string; raw: string }[]>`
    select position::int, rule, message, raw from etl.quarantine where run_id = ${runId}
    order by chunk_no, position, output`;
  return rows.map((row) => ({ ...row }));
}

Deno.test("preview and profile refuse a suite that does not exist, as a run does", async (t) => {
  await using engine = await startEngine(t);
  const conf = { source: { type: "inline", records: [{ id: 1 }] }, suite: "no_such" };
  for (const path of ["/api/etl/preview", "/api/suites/profile", "/api/etl/run"]) {
    const response = await engine.post(path, conf);
    const problem = await response.json();
    assert.equal(response.status, 422, path);
    assert.equal(problem.errors[0].field, "suite", path);
  }
});

Deno.test("profile and try see what a run's suite sees", async (t) => {
  await using engine = await startEngine(t, { files: FILES, transforms: { twice: MODULE } });
  const put = await engine.request("/api/suites/strict", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(SUITE),
  });
  assert.equal(put.status, 201, await put.text());
  const conf = { source: { type: "file", path: "a.ndjson", key: "id" }, suite: "strict" };
  const profile = await (await engine.post("/api/suites/profile", conf)).json();
  const run = await engine.succeed({ ...conf, min_acceptance_ratio: 0 });
  const [validation] = await engine.sql`
    select result from etl.validations where run_id = ${run.run_id}`;
  const [{ element_count }] = validation!.result.results.map((r: { result: unknown }) => r.result);
  assert.equal(profile.events, element_count);
  assert.equal(profile.records, 8);
  assert.equal(profile.rejected, 8 - element_count);
  const tried = await (await engine.post("/api/suites/try", { suite: SUITE, conf })).json();
  assert.deepEqual(tried.results[0].result, validation!.result.results[0].result);
});
