import assert from "node:assert/strict";
import { parquetWriteBuffer } from "hyparquet-writer";
import { startEngine } from "../helpers/engine.ts";
import { ask, problemOf } from "../helpers/problems.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("POST /api/etl/run: CSV, NDJSON and Parquet bodies with parameters in the query", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const query = "wait=true&key=id&name=bodies&batch_size=2&event_type=sale&occurred_at=at";
  const rows = [{ id: "1", at: "2026-01-01" }, { id: "2", at: "2026-01-02" }];
  const bodies: [string, string, BodyInit][] = [
    ["csv", "text/csv", "id,at\n" + rows.map(({ id, at }) => `${id},${at}\n`).join("")],
    [
      "tsv",
      "text/tab-separated-values",
      "id\tat\n" + rows.map(({ id, at }) => `${id}\t${at}\n`).join(""),
    ],
    [
      "ndjson",
      "application/x-ndjson; charset=utf-8",
      rows.map((row) => JSON.stringify(row)).join("\n"),
    ],
    [
      "parquet",
      "application/vnd.apache.parquet",
      new Uint8Array(parquetWriteBuffer({
        columnData: [
          { name: "id", data: rows.map(({ id }) => id), type: "STRING" },
          { name: "at", data: rows.map(({ at }) => at), type: "STRING" },
        ],
      })),
    ],
  ];
  for (const [format, type, body] of bodies) {
    const response = await ask(
      engine,
      `${query}&run_label=${format}&table_name=t_${format}`,
      type,
      body,
    );
    const run = await response.json();
    assert.deepEqual(
      [response.status, run.state, run.total_rows],
      [200, "succeeded", 2],
      JSON.stringify(run),
    );
    assert.deepEqual(
      (await engine.rows(`public.t_${format}`)).map((
        row,
      ) => [row.event_id, row.event_type, row.occurred_at, row.source]),
      [["1", "sale", "2026-01-01 00:00:00+00", "bodies"], [
        "2",
        "sale",
        "2026-01-02 00:00:00+00",
        "bodies",
      ]],
    );
  }
});

Deno.test("POST /api/etl/run: a large body is divided as a file is, a small one by chunk_size", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const load = async (records: number, query = "") => {
    const pad = "x".repeat(900);
    const body = "id,pad\n" + Array.from({ length: records }, (_, i) => `${i},${pad}\n`).join("");
    const options = `wait=true&key=id&name=bodies&run_label=large&dry_run=true${query}`;
    const run = await (await ask(engine, options, "text/csv", body)).json();
    assert.equal(run.counts?.records_read, records, JSON.stringify(run));
    return run.chunks.prepared;
  };
  assert.equal(await load(1_001), 3);
  assert.equal(await load(10_000), 4, "9 MB");
  // its run has taken it from the disk
  const left = await Array.fromAsync(Deno.readDir(engine.config.spoolDir));
  assert.deepEqual(left.filter(({ isFile }) => isFile), []);
  assert.equal(await load(10_000, "&chunk_size=4000"), 3, "what is asked for counts");
});

Deno.test("POST /api/etl/run with data: query values are read as their parameter asks", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const params = async (query: string) => {
    const response = await ask(engine, query, "text/csv", "a,b\n1,2\n");
    assert.equal(response.status, 202, await response.clone().text());
    return (await engine.run((await response.json()).run_id)).params;
  };
  const read = await params(
    "run_label=2026&key=a&key=b&dry_run=true&min_acceptance_ratio=0.5&event_type=7&exclude=c",
  );
  assert.deepEqual(read.exclude!.value, ["c"]);
  assert.equal(read.run_label!.value, "2026");
  assert.equal(read.dry_run!.value, true);
  assert.equal(read.min_acceptance_ratio!.value, 0.5);
  const source = read.source!.value as Record<string, unknown>;
  assert.deepEqual([source.key, source.event_type, source.format], [["a", "b"], "7", "csv"]);
  const time = `occurred_at=${encodeURIComponent('{"field":"a","format":"epoch_s"}')}&event_type=${
    encodeURIComponent('{"field":"b"}')
  }`;
  const mapped = (await params(time)).source!.value as Record<string, unknown>;
  assert.deepEqual([mapped.occurred_at, mapped.event_type], [{ field: "a", format: "epoch_s" }, {
    field: "b",
  }]);
  const wrong: [string, string, RegExp][] = [
    ["batchsize=5", "batchsize", /did you mean batch_size/],
    ["batch_size=many", "batch_size", /must be a number/],
    ["batch_size=1&batch_size=2", "batch_size", /cannot be told/],
    ["source=x", "source", /cannot be told/],
    ["dry_run=maybe", "dry_run", /must be true or false/],
    ["pool=nope&batch_size=-1", "pool", /not a known pool/],
  ];
  for (const [query, field, message] of wrong) {
    const problem = await problemOf(await ask(engine, query, "text/csv", "a\n1\n"));
    const error = problem.errors!.find((each) => each.field === field);
    assert.ok(error !== undefined, JSON.stringify(problem));
    assert.match(error.message, message);
  }
  const gzip = await engine.request("/api/etl/run", {
    method: "POST",
    headers: { "content-type": "text/csv", "content-encoding": "gzip" },
    body: "x",
  });
  assert.equal((await problemOf(gzip)).status, 415);
});

Deno.test("Idempotency-Key: the same request is one run, another body is 422, for data too", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const headers = (key: string) => ({ "idempotency-key": key });
  const ids = await Promise.all(Array.from({ length: 100 }, async () => {
    const response = await engine.post("/api/etl/run", { batch_size: 3 }, headers("k"));
    assert.equal(response.status, 202);
    return (await response.json()).run_id;
  }));
  assert.equal(new Set(ids).size, 1);
  const conflict = await problemOf(
    await engine.post("/api/etl/run", { batch_size: 4 }, headers("k")),
  );
  assert.deepEqual([conflict.status, conflict.type], [422, "/api/problems/idempotency-conflict"]);
  assert.equal(
    (await problemOf(await engine.post("/api/etl/run", {}, headers("x".repeat(256))))).status,
    400,
  );

  const data = async (body: string) =>
    await engine.request("/api/etl/run?key=id&run_label=data", {
      method: "POST",
      headers: { "content-type": "text/csv", ...headers("d") },
      body,
    });
  const first = await (await data("id\n1\n")).json();
  const again = await (await data("id\n1\n")).json();
  assert.deepEqual([again.run_id, again.created], [first.run_id, false]);
  assert.equal((await problemOf(await data("id\n2\n"))).type, "/api/problems/idempotency-conflict");

  const records = async (id: string) =>
    await engine.post(
      "/api/etl/run",
      `{"run_label":"r","source":{"type":"inline","key":"id","records":[{"id":${id}}]}}`,
      headers("r"),
    );
  const one = await (await records("1")).json();
  assert.equal((await (await records("1")).json()).run_id, one.run_id);
  assert.equal((await problemOf(await records("2"))).type, "/api/problems/idempotency-conflict");
});

Deno.test("inline records over HTTP keep every digit; what cannot be stored is quarantined, not refused", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const response = await engine.post(
    "/api/etl/run?wait=true",
    String.raw`{"min_acceptance_ratio":0,"source":{"type":"inline","name":"s","key":"id","records":[
      {"id":9007199254740993,"n":12345678901234567890},{"id":"nul\u0000"},{"id":"half\ud800"},5,{"id":"{{today}}"}]}}`,
  );
  const run = await response.json();
  assert.deepEqual(
    [run.state, run.counts.rejected, run.counts.inserted],
    ["succeeded", 3, 2],
    JSON.stringify(run.error),
  );
  const events = await engine
    .sql`select event_id, payload::text as text from public.etl_improved_events order by event_id`;
  assert.deepEqual(events.map((row) => ({ ...row })), [
    { event_id: "9007199254740993", text: '{"n": 12345678901234567890, "id": 9007199254740993}' },
    { event_id: "{{today}}", text: '{"id": "{{today}}"}' },
  ]);
});

Deno.test("thousands of inline records are all loaded, each once", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const records = Array.from({ length: 2_500 }, (_, id) => ({ id, n: id % 7 }));
  const source = { type: "inline", name: "s", key: "id", records };
  const run = await (await engine.post("/api/etl/run?wait=true", { source })).json();
  assert.deepEqual([run.counts.records_read, run.counts.inserted], [2_500, 2_500]);
  const [sum] = await engine.sql`select count(*)::int as n, count(distinct event_id)::int as ids,
    sum((payload ->> 'n')::int)::int as of from public.etl_improved_events`;
  assert.deepEqual({ ...sum }, {
    n: 2_500,
    ids: 2_500,
    of: records.reduce((a, { n }) => a + n, 0),
  });
});

Deno.test("a body that is refused, or that another server runs, leaves no file, no place taken and no connection", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    env: { ETL_MAX_UPLOADS: "1", ETL_ROLE: "api" },
  });
  const left = async () => ({
    files: (await Array.fromAsync(Deno.readDir(engine.config.spoolDir)))
      .filter(({ isFile }) => isFile).map(({ name }) => name),
    connections: (await engine.sql`select from pg_stat_activity
      where datname = current_database() and application_name = 'etl-improved upload'`).length,
  });
  for (let i = 0; i < 3; i++) {
    const refused = await problemOf(await ask(engine, "", "text/csv", ""));
    assert.match(refused.detail, /empty/);
  }
  const large = `id,text\n1,${"x".repeat(9 << 20)}\n`;
  assert.equal((await ask(engine, "key=id", "text/csv", large)).status, 202);
  assert.equal((await ask(engine, "key=id", "text/csv", "id\n1\n")).status, 202);
  // a backend goes a moment after its connection is closed
  await waitFor(async () => (await left()).connections === 0);
  assert.deepEqual(await left(), { files: [], connections: 0 });
});

Deno.test("a name that stands twice in one object of a JSON body is warned of", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const warningsOf = async (records: string) => {
    const answer = await engine.post(
      "/api/etl/run?wait=true",
      `{"source":{"type":"inline","name":"s","key":"id","records":[${records}]}}`,
    );
    const run = await answer.json();
    assert.equal(run.state, "succeeded", JSON.stringify(run));
    return run.warnings.join();
  };
  assert.equal(await warningsOf('{"id":"a: \\"b\\" : c","x":{"id":1}},{"id":"b"}'), "");
  assert.match(
    await warningsOf('{"id":"a"},{"id":"b","x":{"n" : 1,"m":[{}],"n":2}}'),
    /name "n" twice/,
  );
});

Deno.test("POST /api/etl/run with text: its charset is obeyed, an unknown one refused; a header alone is warned of", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const send = async (type: string, body: BodyInit) => {
    const response = await ask(engine, "wait=true&key=id&table_name=texts", type, body);
    return { status: response.status, answer: await response.json() };
  };
  // 0xC3 0xA9 is é in UTF-8 and two letters in ISO 8859-1
  const bytes = Uint8Array.of(...new TextEncoder().encode("id,v\n1,"), 0xc3, 0xa9, 10);
  await send("text/csv; charset=ISO-8859-1", bytes);
  await send("text/csv", new TextEncoder().encode("id,v\n2,é\n"));
  // without a mark the text shows which byte comes first
  const units = [..."id,v\n3,é\n"].flatMap((character) => [0, character.charCodeAt(0)]);
  await send("text/csv; charset=utf-16", Uint8Array.from(units));
  const payloads = await engine.payloads("public.texts");
  assert.deepEqual([payloads["1"], payloads["2"], payloads["3"]], [
    { id: 1, v: "Ã©" },
    { id: 2, v: "é" },
    { id: 3, v: "é" },
  ]);
  const unknown = await send("text/csv; charset=klingon", bytes);
  assert.equal(unknown.status, 415);
  assert.match(unknown.answer.detail, /charset klingon is not read/);
  const json = await send("text/csv", '[{"id":1},{"id":2}]');
  assert.match(json.answer.warnings.join(), /a header .* and no records/);
});
