import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { parquetWriteBuffer } from "hyparquet-writer";
import { type Engine, startEngine } from "../helpers/engine.ts";

interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  errors?: { field: string; value?: unknown; message: string; expected?: string }[];
}

/** The problem that a response holds; its form is checked. */
async function problemOf(response: Response): Promise<ProblemBody> {
  assert.equal(
    response.headers.get("content-type"),
    "application/problem+json",
    String(response.status),
  );
  const problem: ProblemBody = await response.json();
  assert.equal(problem.status, response.status);
  assert.match(problem.type, /^\/api\/problems\/[a-z-]+$/);
  for (const member of ["title", "detail", "instance"] as const) {
    assert.equal(typeof problem[member], "string");
  }
  assert.notEqual(problem.type, "/api/problems/internal", problem.detail);
  return problem;
}

const ask = (engine: Engine, query: string, type: string, body: BodyInit) =>
  engine.request(`/api/etl/run?${query}`, {
    method: "POST",
    headers: { "content-type": type },
    body,
  });

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
    ['{"source":{}}', 422, /source/],
    ['{"source":null}', 422, /source/],
    ['{"__proto__":{"batch_size":1}}', 422, /__proto__/],
    ['{"run_label":"a\\u0000b"}', 422, /run_label/],
    ['{"source":{"type":"synthetic","name":"a\\u0000b"}}', 422, /NUL/],
    ['{"source":{"type":"synthetic","name":"\\ud800"}}', 422, /surrogate/],
    [`{"source":${"[".repeat(200_000)}${"]".repeat(200_000)}}`, 422, /source|deep|stack|store/],
    [
      `{"source":{"type":"inline","records":[${"[".repeat(200_000)}${"]".repeat(200_000)}]}}`,
      422,
      /store/,
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

Deno.test("POST /api/etl/run with data: query values are read as their parameter asks", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const params = async (query: string) => {
    const response = await ask(engine, query, "text/csv", "a,b\n1,2\n");
    assert.equal(response.status, 202, await response.clone().text());
    return (await engine.run((await response.json()).run_id)).params;
  };
  const read = await params(
    "run_label=2026&key=a&key=b&dry_run=true&min_acceptance_ratio=0.5&event_type=7",
  );
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
    ["batch_size=many", "batch_size", /must be number/],
    ["batch_size=1&batch_size=2", "batch_size", /cannot be told/],
    ["source=x", "source", /cannot be told/],
    ["dry_run=maybe", "dry_run", /must be boolean/],
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

Deno.test("every error is a problem: unknown routes, ids, cursors, filters, hosts, origins", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const none = "00000000-0000-7000-8000-000000000000";
  const cursor = (value: unknown) => btoa(JSON.stringify(value));
  const cases: [string, number, RegExp, RequestInit?][] = [
    ["/api/nothing", 404, /nothing at \/api\/nothing/],
    ["/api/etl/runs/nope", 400, /id/],
    [`/api/etl/runs/${none}`, 404, /no run/],
    [`/api/etl/runs/${none}/events`, 404, /no run/],
    [`/api/etl/runs/${none}/chunks`, 404, /no run/],
    [`/api/etl/runs/${none}/cancel`, 404, /no run/, { method: "POST" }],
    [`/api/etl/runs/${none}/retry`, 404, /no run/, { method: "POST" }],
    ["/api/etl/runs?limit=0", 400, /limit/],
    ["/api/etl/runs?limit=x", 400, /limit/],
    ["/api/etl/runs?state=odd", 400, /state/],
    ["/api/etl/runs?cursor=!", 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["x", "y"])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["2026-01-01T00:00:00Z", 5])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["2026-02-30T00:00:00Z", none])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor({})}`, 400, /cursor/],
    ["/api/metrics/latest", 404, /no metrics yet/],
    ["/api/etl/run", 404, /nothing/],
    ["/livez", 403, /ETL_ALLOWED_HOSTS/, { headers: { host: "evil.example" } }],
    ["/livez", 403, /another origin/, { headers: { origin: "http://evil.example" } }],
    ["/livez", 403, /another origin/, { headers: { origin: "null" } }],
  ];
  for (const [path, status, detail, init] of cases) {
    const problem = await problemOf(await engine.request(path, init));
    assert.equal(problem.status, status, `${path}: ${problem.detail}`);
    assert.match(problem.detail, detail);
    assert.equal(problem.instance, path.split("?")[0]);
    if (status === 400) {
      for (const { value, expected } of problem.errors!) {
        assert.ok(value !== undefined && expected !== undefined, path);
      }
    }
  }
  const { run_id } = await engine.submit({ batch_size: 1 });
  for (const bad of [["x"], [1.5], [null], [1, 2]]) {
    const problem = await problemOf(
      await engine.request(`/api/etl/runs/${run_id}/chunks?cursor=${cursor(bad)}`),
    );
    assert.equal(problem.status, 400);
  }
  const early = await problemOf(
    await engine.request(`/api/etl/runs/${run_id}/retry`, { method: "POST" }),
  );
  assert.deepEqual([early.status, early.type], [409, "/api/problems/conflict"]);
});

Deno.test("GET /api/etl/runs: pages hold every run once, also those of one millisecond", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const ids: string[] = [];
  for (let i = 0; i < 25; i++) ids.push((await engine.submit({ run_label: `l${i % 2}` })).run_id);
  // all within one millisecond, in microseconds that go the other way
  await engine.sql`update etl.runs as r set requested_at = timestamptz '2026-01-01 00:00:00.123+00'
    + (n.n * interval '7 microseconds') from (select run_id, row_number() over (order by run_id) as n from etl.runs) as n
    where n.run_id = r.run_id`;
  const walk = async (filter: string) => {
    const found: string[] = [];
    for (let next: string | null = ""; next !== null;) {
      const page: { items: { run_id: string }[]; next: string | null } =
        await (await engine.request(
          `/api/etl/runs?limit=4${filter}${next === "" ? "" : `&cursor=${next}`}`,
        )).json();
      found.push(...page.items.map((run) => run.run_id));
      next = page.next;
    }
    return found;
  };
  assert.deepEqual(await walk(""), [...ids].reverse());
  assert.deepEqual(await walk("&run_label=l1"), ids.filter((_, i) => i % 2 === 1).reverse());
  assert.deepEqual(await walk("&state=failed"), []);
});

interface Event {
  event: string;
  id: string;
  data: { run_id: string; state: string; revision: number; stages: unknown[] };
}

/** Reads a stream of server-sent events to its end. */
async function events(response: Response): Promise<Event[]> {
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  const text = await response.text();
  return text.split("\n\n").filter((block) => /^(event|id|data):/m.test(block)).map((block) => {
    const fields = Object.fromEntries(
      block.split("\n").filter((line) => !line.startsWith(":")).map((line) => {
        const at = line.indexOf(":");
        return [line.slice(0, at), line.slice(at + 1).trimStart()];
      }),
    );
    return { event: fields.event!, id: fields.id!, data: JSON.parse(fields.data!) };
  });
}

Deno.test("GET …/events streams the run until it ends; Last-Event-ID takes it up", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const { run_id } = await engine.submit({ batch_size: 3000, chunk_size: 500 });
  const all = await events(await engine.request(`/api/etl/runs/${run_id}/events`));
  assert.ok(all.length >= 1);
  const revisions = all.map(({ data }) => data.revision);
  assert.deepEqual(
    revisions,
    [...new Set(revisions)].sort((a, b) => a - b),
    "each revision once, in order",
  );
  for (const { id, data } of all) assert.equal(id, String(data.revision));
  const last = all.at(-1)!;
  assert.deepEqual([last.event, last.data.state, last.data.stages.length], ["end", "succeeded", 7]);
  assert.ok(all.slice(0, -1).every(({ event }) => event === "run"));

  const from = (id: string) =>
    engine.request(`/api/etl/runs/${run_id}/events`, { headers: { "last-event-id": id } });
  // someone who missed the end is told it; so is someone who has seen it and asks again
  for (const id of ["0", String(last.data.revision - 1), last.id, "garbage"]) {
    assert.deepEqual((await events(await from(id))).map(({ event, id }) => [event, id]), [[
      "end",
      last.id,
    ]]);
  }
});

Deno.test("GET …/events with Last-Event-ID leaves out what was seen of a run that goes on", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  const { revision } = await engine.run(run_id);
  const response = await engine.request(`/api/etl/runs/${run_id}/events`, {
    headers: { "last-event-id": String(revision) },
  });
  const reading = events(response);
  await engine.toEnd(run_id);
  const seen = await reading;
  assert.ok(seen.every(({ data }) => data.revision > revision));
  assert.equal(seen.at(-1)!.event, "end");
});

Deno.test("cancel: a waiting run is cancelled at once, and asked for again it says so", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  for (let i = 0; i < 2; i++) {
    const response = await engine.request(`/api/etl/runs/${run_id}/cancel`, { method: "POST" });
    assert.equal(response.status, 202);
    assert.equal((await response.json()).state, "cancelled");
  }
  const retried = await engine.request(`/api/etl/runs/${run_id}/retry`, { method: "POST" });
  assert.deepEqual([retried.status, (await retried.json()).state], [202, "queued"]);
  assert.equal((await engine.toEnd(run_id)).total_rows, 5);
});

Deno.test("/api/openapi.json is valid OpenAPI 3.1 and describes every route of the API", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const document = await (await engine.request("/api/openapi.json")).json();
  assert.match(document.openapi, /^3\.1\./);
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors, null, 1));
  const described = new Set(
    Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item as object).map((method) => `${method.toUpperCase()} ${path}`)
    ),
  );
  const routes = (await engine.routes()).filter(({ method, path }) =>
    method !== "ALL" && (path.startsWith("/api/") || /^\/(livez|readyz)$/.test(path)) &&
    // pages for people, and the description itself
    !/^\/api\/(docs|problems|openapi\.json)/.test(path)
  ).map(({ method, path }) => `${method} ${path.replaceAll(/:([a-z_]+)(\{[^/]*\})?/g, "{$1}")}`);
  assert.ok(routes.length > 10);
  assert.deepEqual([...new Set(routes)].filter((route) => !described.has(route)), []);
  const body = document.paths["/api/etl/run"].post.requestBody.content["application/json"].schema;
  assert.ok("configuration" in body.properties && "batch_size" in body.properties);
  for (
    const [path, item] of Object.entries<Record<string, { responses: Record<string, unknown> }>>(
      document.paths,
    )
  ) {
    for (const [method, { responses }] of Object.entries(item)) {
      assert.ok(
        Object.keys(responses).some((status) => status.startsWith("2")),
        `${method} ${path}`,
      );
    }
  }
});
