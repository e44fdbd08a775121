import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { ask, problemOf } from "../helpers/problems.ts";

Deno.test("POST /api/etl/run: 202, Location, and the run is there", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const response = await engine.post("/api/etl/run", { batch_size: 5, run_label: "asked" });
  assert.equal(response.status, 202);
  const { run_id, state, created, skipped } = await response.json();
  assert.deepEqual([state, created, skipped], ["queued", true, false]);
  assert.equal(response.headers.get("location"), `/api/etl/runs/${run_id}`);
  const run = await (await engine.request(`/api/etl/runs/${run_id}`)).json();
  assert.deepEqual([run.run_label, run.trigger], ["asked", "http"]);
  assert.deepEqual(run.params.batch_size, { value: 5, origin: "request" });
  assert.deepEqual(run.params.chunk_size, { value: 500, origin: "default" });
  const empty = await engine.request("/api/etl/run", {
    method: "POST",
    headers: { "content-type": "application/json; charset=utf-8" },
  });
  assert.equal(empty.status, 202);
});

Deno.test("POST /api/etl/run?wait=true answers when the run has ended, however it ends", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const good = await engine.post("/api/etl/run?wait=true", { batch_size: 5, run_label: "good" });
  assert.equal(good.status, 200);
  const run = await good.json();
  assert.deepEqual([run.state, run.total_rows, run.ratio], ["succeeded", 5, 1]);
  assert.equal(good.headers.get("location"), `/api/etl/runs/${run.run_id}`);
  const bad = await engine.post("/api/etl/run?wait=true", {
    source: { type: "file", path: "none.csv" },
  });
  const failed = await bad.json();
  assert.deepEqual([bad.status, failed.state, failed.error.type], [
    200,
    "failed",
    "/api/problems/source-unreadable",
  ]);
  const problem = await problemOf(await engine.post("/api/etl/run?wait=maybe", {}));
  assert.equal(problem.errors![0]!.field, "wait");
});

Deno.test("POST /api/etl/run: every error of a conf in one problem, with field, value and expected", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const response = await engine.post("/api/etl/run", {
    batch_size: -1,
    chunk_size: "5",
    run_label: "",
    min_acceptance_ratio: 2,
    overlap: "maybe",
    sla_seconds: 0,
    table_name: "no-table",
    batchsize: 1,
    pool: "nope",
    configuration: "none",
    suite: "missing",
    source: { type: "synthetic", seed: 1.5, kye: "id" },
  });
  const problem = await problemOf(response);
  assert.deepEqual([problem.status, problem.type], [422, "/api/problems/invalid-conf"]);
  const by = Object.fromEntries(problem.errors!.map((error) => [error.field, error]));
  assert.deepEqual(Object.keys(by).sort(), [
    "batch_size",
    "batchsize",
    "chunk_size",
    "configuration",
    "min_acceptance_ratio",
    "overlap",
    "pool",
    "run_label",
    "sla_seconds",
    "source.kye",
    "source.seed",
    "suite",
    "table_name",
  ]);
  for (const { field, value, expected } of problem.errors!) {
    assert.ok(value !== undefined, field);
    assert.ok(expected !== undefined, field);
    assert.ok(problem.detail.includes(field), field);
  }
  assert.equal(by.batch_size!.expected, "at least 0");
  assert.equal(by.sla_seconds!.expected, "more than 0");
  assert.equal(by.batchsize!.expected, "batch_size");
  assert.equal(by["source.kye"]!.expected, "key");
  assert.match(by.pool!.expected!, /default_pool/);
  const { items } = await (await engine.request("/api/etl/runs")).json();
  assert.deepEqual(items, []);
});

Deno.test("POST /api/etl/run: what is no conf is refused by its kind", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const cases: [string, number, RegExp][] = [
    ["[]", 400, /must be a JSON object/],
    ["5", 400, /must be a JSON object/],
    ["{", 400, /not JSON/],
    ['{"a":1}}', 400, /not JSON/],
    ['{"batch_size":1e400}', 400, /out of range|not JSON/],
    ['{"source":{"type":"nope"}}', 422, /source/],
    ['{"sla_seconds":{"a":{"b":-798171651495932160}}}', 422, /sla_seconds/],
    ['{"source":{}}', 422, /source/],
    ['{"source":null}', 422, /source/],
    ['{"__proto__":{"batch_size":1}}', 422, /__proto__/],
    ['{"run_label":"a\\u0000b"}', 422, /run_label/],
    ['{"source":{"type":"synthetic","name":"a\\u0000b"}}', 422, /NUL/],
    ['{"source":{"type":"synthetic","name":"\\ud800"}}', 422, /surrogate/],
    [`{"source":${"[".repeat(200_000)}${"]".repeat(200_000)}}`, 400, /deeper/],
    [
      `{"source":{"type":"inline","records":[${"[".repeat(200_000)}${"]".repeat(200_000)}]}}`,
      400,
      /deeper/,
    ],
  ];
  for (const [body, status, detail] of cases) {
    const response = await engine.post("/api/etl/run", body);
    const problem = await problemOf(response);
    assert.ok(
      problem.status === status || problem.status === 400,
      `${body.slice(0, 60)}: ${problem.status}`,
    );
    assert.match(problem.detail, detail, body.slice(0, 60));
  }
  const latin1 = await engine.request("/api/etl/run", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: Uint8Array.from([0x22, 0xe9, 0x22]),
  });
  assert.match((await problemOf(latin1)).detail, /not UTF-8/);
  for (
    const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data",
      "application/xml",
    ]
  ) {
    const problem = await problemOf(await ask(engine, "", type, "{}"));
    assert.equal(problem.status, 415, type);
    assert.match(problem.detail, /application\/json.*text\/csv/);
  }
  const query = await problemOf(await engine.post("/api/etl/run?batch_size=5", {}));
  assert.equal(query.errors![0]!.field, "batch_size");
});

Deno.test("POST /api/etl/run: a body has its limits", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_MAX_BODY_BYTES: "2048" } });
  const conf = await engine.post("/api/etl/run", `{"run_label":"${"x".repeat(8 << 20)}"}`);
  assert.equal((await problemOf(conf)).status, 413);
  const csv = "id\n" + "1\n".repeat(2000);
  assert.equal((await problemOf(await ask(engine, "key=id", "text/csv", csv))).status, 413);
  // without a length that says so beforehand
  const stream = new Blob([csv]).stream();
  const streamed = await ask(engine, "key=id", "text/csv", stream);
  assert.equal((await problemOf(streamed)).status, 413);
  assert.match((await problemOf(await ask(engine, "key=id", "text/csv", ""))).detail, /empty/);
  const [uploads] = await engine.sql`select count(*)::int as n from etl.uploads`;
  assert.equal(uploads!.n, 0);
});

Deno.test("a body of JSON without a byte is no body, wherever one may be left out", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const init = { method: "POST", headers: { "content-type": "application/json" } };
  const { run_id } = await (await engine.request("/api/etl/run", { ...init, body: "" })).json();
  await engine.toEnd(run_id);
  for (const path of ["/api/etl/run", `/api/etl/runs/${run_id}/retry`, "/api/etl/maintenance"]) {
    for (const body of ["", new Blob([]).stream(), undefined]) {
      const response = await engine.request(path, body === undefined ? init : { ...init, body });
      assert.notEqual(response.status, 400, `${path}: ${await response.text()}`);
    }
  }
  for (const body of [{ body: "" }, {}]) {
    const put = await engine.request("/api/variables/v", { ...init, method: "PUT", ...body });
    assert.deepEqual((await problemOf(put)).errors!.map(({ field }) => field), ["value"]);
  }
});

Deno.test("the body of Airflow's REST API is understood: {conf: {…}}, and nothing beside it is lost without a word", async (t) => {
  await using engine = await startEngine(t);
  const run = await (await engine.post("/api/etl/run", { conf: { batch_size: 3, dry_run: true } }))
    .json();
  assert.equal((await engine.toEnd(run.run_id)).counts!.inserted, 3);
  const refused = await engine.post("/api/etl/run", { dag_run_id: "x", conf: {} });
  assert.equal(refused.status, 422);
  assert.match(
    (await refused.json()).detail,
    /only conf is taken, not dag_run_id.*Idempotency-Key/,
  );
  const none = await engine.post("/api/etl/run", { conf: null });
  assert.equal(none.status, 202, "Airflow's conf may be null");
  const ours = await problemOf(await engine.post("/api/etl/run", { conf: {}, batch_size: 5 }));
  assert.equal(ours.type, "/api/problems/unknown-parameter");
  assert.deepEqual(
    ours.errors!.map(({ field }) => field),
    ["conf"],
    "batch_size is no word of Airflow",
  );
  await engine.sql`insert into etl.variables (name, value) values ('etl_improved__pool', '"nope"')`;
  const problem = await (await engine.post("/api/etl/run", {})).json();
  assert.match(
    problem.errors[0].message,
    /is not a known pool \(from the variable etl_improved__pool\)/,
  );
  assert.match(problem.errors[0].expected, /one of: default_pool; or make it: etl pool set nope 4/);
});
