import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";

const DECIMALS = [
  ...["883406386745030.3", "9007199254740993.5", "50000.0000000000000001"],
  ...["0.12345678901234567890", "12345678901234567.89", "1234567899517.12991"],
];
const DEEP = `{"k":"deep","d":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;

const FILES: Record<string, string> = {
  "dec.ndjson": DECIMALS.map((v, k) => `{"k":${k},"v":${v}}\n`).join("") +
    '{"k":"small","v":1e-400}\n{"k":"power","v":123456789012345678e0}\n{"k":"far","v":1e5000}\n',
  "keys.ndjson": [
    ...['{"k":1,"n":"int"}', '{"k":"1","n":"string"}', '{"k":1.0,"n":"float"}', '{"k":"1.0"}'],
    ...['{"k":true}', '{"k":"true"}', '{"k":1e21}', '{"k":1000000000000000000000}', '{"k":-0.0}'],
  ].join("\n"),
  "one_type.ndjson": '{"k":1}\n{"k":2.5}\n{"k":"x"}\n{"k":"02"}\n',
  "dup.ndjson": '{"k":0}\n{"k":1,"bar":2,"k":3}\n{"k":2}\n{"k":9,"o":{"a":1,"a":2}}\n',
  "bad.ndjson": `${DEEP}\n{"k":"nul","t":"\\u0000"}\n{"k":"half",  "t":"\\ud800"}\n{"k":"good"}\n`,
  "day_a.json": "",
  "day_b.json": '{"k":1}\n{"k":2}\n',
  "day_c.json": '{"k":3,"v":"c"}\n',
  "twice.json": '{"features":[{"k":1}],"meta":1,"features":[{"k":2},{"k":NaN},{"k":3}]}',
};

Deno.test("JSON: what is stored is what was read, and the rest is told", async (t) => {
  await using engine = await startEngine(t, { files: FILES });
  const load = async (path: string, source: object = {}) => {
    const table_name = path.replace(/\W/g, "_");
    const run = await engine.runToEnd({
      min_acceptance_ratio: 0,
      table_name,
      source: { type: "file", name: "s", path, key: "k", ...source },
    });
    const rows = await engine.sql<{ event_id: string; v: string | null }[]>`
      select event_id, payload ->> 'v' as v from ${engine.sql(table_name)}`;
    const answer = await engine.request(`/api/etl/runs/${run.run_id}/quarantine`);
    const { items } = await answer.json() as {
      items: { rule: string; raw: string; file: string; line: number | null }[];
    };
    return {
      warnings: run.warnings.join("\n"),
      rows: Object.fromEntries(rows.map(({ event_id, v }) => [event_id, v])),
      rejected: items.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)),
    };
  };

  const dec = await load("dec.ndjson");
  assert.deepEqual(DECIMALS.map((_, k) => dec.rows[k]), DECIMALS);
  assert.equal(dec.rows.small, `0.${"0".repeat(399)}1`);
  assert.equal(dec.rows.power, "123456789012345678");
  assert.deepEqual(dec.rejected.map(({ rule, raw, line }) => [rule, raw, line]), [
    ["number_range", '{"k":"far","v":1e5000}', 9],
  ]);

  const keys = await load("keys.ndjson");
  assert.deepEqual(Object.keys(keys.rows).toSorted(), [
    ...["0", "1", "1.0", "1000000000000000000000", "true"],
  ]);
  assert.match(keys.warnings, /Key field k is a number in 5 records and a text .* in 1/);
  assert.match(keys.warnings, /Key field k is a boolean in 1 records and a text .* in 1/);
  assert.doesNotMatch((await load("one_type.ndjson")).warnings, /Key field/);

  const dup = await load("dup.ndjson");
  assert.match(
    dup.warnings,
    /2 records have a name twice in one object.*"k" in line 2 of dup\.ndjson/,
  );

  const bad = await load("bad.ndjson");
  assert.deepEqual(Object.keys(bad.rows), ["good"]);
  assert.deepEqual(bad.rejected.map(({ rule, line, file }) => [rule, line, file]), [
    ["not_storable", 1, "bad.ndjson"],
    ["nul_character", 2, "bad.ndjson"],
    ["unicode", 3, "bad.ndjson"],
  ]);
  assert.ok(bad.rejected[0]!.raw === DEEP, "the raw text is not that of the file");
  assert.equal(bad.rejected[2]!.raw, '{"k":"half",  "t":"\\ud800"}');

  const days = await load("day_*.json");
  assert.deepEqual(Object.keys(days.rows).toSorted(), ["1", "2", "3"]);
  assert.match(days.warnings, /day_a\.json: the file is empty/);

  const twice = await load("twice.json", { records_path: "features" });
  assert.deepEqual(Object.keys(twice.rows).toSorted(), ["1", "2", "3"]);
  assert.deepEqual(twice.rejected.map(({ raw }) => raw), ['{"k":NaN}']);
});
