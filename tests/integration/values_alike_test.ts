import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";

/** Records as somebody writes them; what stands in them is the same however they come. */
const RECORDS = [
  '{"id": "minus zero", "n": -0, "m": -0.0, "list": [-0, {"x": -0e5}]}',
  '{"id": "digits", "n": 1.10, "m": 12345678901234567890, "list": [0.10, 1e2, 1E+2, 0.1e-7]}',
  '{"id": -0, "n": 1}',
  '{"id": 1.50, "n": 1}',
  '{"id": 2e2, "n": 1}',
  '{"id": 9007199254740993, "n": 1}',
  '{"id": "below a microsecond", "at": "2026-01-31T23:59:59.1234569Z", "v": "2026-01-31T23:59:59.9999999Z"}',
  '{"id": "below, with an offset", "at": "2026-02-01T00:59:59.9999996+01:00", "v": 7.50}',
  '{"id": "text \\u00e9\\ud83d\\ude00", "n": "1.10"}',
].map((record) =>
  record.includes('"at"') ? record : record.replace("{", '{"at": "2026-01-31T00:00:00Z", "v": 1, ')
);

const MAPPING = { name: "alike", key: "id", occurred_at: "at", version: "v" };

async function rowsOf(engine: Engine, table: string) {
  return [
    ...await engine.sql`select event_id, payload::text as payload,
      to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as occurred_at, version::text as version,
      encode(fingerprint, 'hex') as fingerprint from ${engine.sql(table)} order by event_id`,
  ];
}

Deno.test("a record has the same key, values, time, version and fingerprint inline, as a body and in a file", async (t) => {
  await using engine = await startEngine(t, {
    queue: true,
    files: {
      "alike.ndjson": RECORDS.join("\n"),
      "alike.json": `[${RECORDS.join(",\n")}]`,
    },
  });
  const ask = async (path: string, type: string, body: string) => {
    const answer = await engine.request(`${path}wait=true`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    const run = await answer.json();
    assert.equal(run.state, "succeeded", JSON.stringify(run));
    assert.equal(run.counts.rejected, 0);
  };
  const conf = (table: string, source: string) =>
    `{"table_name": "${table}", "run_label": "${table}", "source": {${
      JSON.stringify(MAPPING).slice(1, -1)
    }, ${source}}}`;
  const json = (table: string, source: string) =>
    ask("/api/etl/run?", "application/json", conf(table, source));
  await json("alike_ndjson", '"type": "file", "path": "alike.ndjson"');
  await json("alike_json", '"type": "file", "path": "alike.json"');
  await json("alike_inline", `"type": "inline", "records": [${RECORDS.join(", ")}]`);
  const query = Object.entries(MAPPING).map(([name, value]) => `${name}=${value}&`).join("");
  await ask(
    `/api/etl/run?table_name=alike_body&run_label=alike_body&${query}`,
    "application/x-ndjson",
    RECORDS.join("\n"),
  );
  const expected = await rowsOf(engine, "alike_ndjson");
  const of = (id: string) => expected.find(({ event_id }) => event_id === id)!;
  assert.equal(expected.length, RECORDS.length);
  assert.match(of("minus zero").payload, /"m": 0, "n": 0, .*"list": \[0, \{"x": 0\}\]/);
  assert.match(of("0").payload, /"id": 0\}/);
  // cut, as a time must not come before another that is later; a version has all digits, as they tell which is newer
  assert.deepEqual(
    [of("below a microsecond").occurred_at, of("below a microsecond").version],
    ["2026-01-31 23:59:59.123456", "1769903999.9999999"],
  );
  assert.equal(of("below, with an offset").occurred_at, "2026-01-31 23:59:59.999999");
  for (const table of ["alike_json", "alike_inline", "alike_body"]) {
    assert.deepEqual(await rowsOf(engine, table), expected, table);
  }
});
