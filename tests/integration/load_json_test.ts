import assert from "node:assert/strict";
import { FakeS3 } from "../helpers/s3.ts";
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

Deno.test("load: what an object's slices reject has the line that it has in the same file on a disk, also where its table refuses it", async (t) => {
  await using s3 = await FakeS3.start();
  const { endpoint, region, keys } = s3.connection;
  const pad = "x".repeat(500);
  const lines = Array.from({ length: 13_000 }, (_, i) => {
    if (i % 1_700 === 100) return "{not JSON";
    if (i % 1_700 === 200) return `{"text":"no key"}`;
    if (i % 1_700 === 300) return `{"id":${i},"type":"unwanted","text":"${pad}"}`;
    return i % 1_700 === 400 ? "\r" : `{"id":${i},"type":"t","text":"${pad}"}`;
  });
  const cells = lines.map((_, i) => i % 1_700 === 100 ? `${i},"t",a,b` : `${i},"t",${pad}`);
  const files = {
    "a.ndjson": lines.join("\n"),
    "a.csv": `# of a day\nid,type,text\n${cells.join("\r\n")}`,
  };
  await using engine = await startEngine(t, {
    files,
    env: {
      ETL_HTTP_PRIVATE_HOSTS: s3.host,
      ETL_CONNECTION_LAKE: JSON.stringify({
        type: "s3",
        endpoint,
        region,
        path_style: true,
        access_key_id: keys!.accessKeyId,
        secret_access_key: keys!.secretAccessKey,
      }),
    },
  });
  const rejectedOf = async (runId: string): Promise<Record<string, unknown>[]> =>
    await engine.sql<
      Record<string, unknown>[]
    >`select chunk_no, position, rule, line::integer, slice_line,
        regexp_replace(message, ' of (s3://lake/)?a[.]', ' of a.') as message
      from etl.quarantine where run_id = ${runId} order by chunk_no, position`;
  for (const [name, content] of Object.entries(files)) {
    s3.put(name, content);
    const rest = { key: "id", ...(name === "a.csv" ? { quote: false, comment: "#" } : {}) };
    const found: Record<string, unknown>[][] = [];
    for (
      const source of [
        { type: "file", path: name },
        { type: "s3", url: `s3://lake/${name}`, connection: "lake" },
      ]
    ) {
      const conf = {
        source: { ...source, ...rest, name: "x" },
        layout: "typed",
        table_name: `${source.type}_${name.slice(2)}`,
        min_acceptance_ratio: 0,
      };
      await engine.sql.unsafe(
        `create table ${conf.table_name} (id bigint primary key, type text check (type <> 'unwanted'), text text)`,
      );
      const { run_id } = await engine.submit(conf);
      const run = await engine.toEnd(run_id);
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      assert.ok(run.num_chunks! >= 4, String(run.num_chunks));
      found.push(await rejectedOf(run_id));
      if (source.type === "file") continue;
      // as on another server that prepares a chunk again while one before is not read
      const numbered = found.at(-1)!;
      const last = numbered.at(-1)!;
      await engine.sql`update etl.quarantine set slice_line = 1, line = null
        where run_id = ${run_id} and chunk_no = ${last.chunk_no as number} and position = ${last
        .position as number}`;
      await engine
        .sql`update etl.chunks set newlines = null where run_id = ${run_id} and chunk_no = 1`;
      await engine.sql`select etl.number_lines(${run_id})`;
      assert.deepEqual((await rejectedOf(run_id)).at(-1), { ...last, line: null, slice_line: "1" });
    }
    assert.deepEqual(found[1], found[0]);
    assert.ok(found[0]!.length >= 8, String(found[0]!.length));
    assert.ok(found[0]!.every(({ line }) => line !== null));
  }
});
