import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";

const NONE = "00000000-0000-7000-8000-000000000000";
const cursor = (...parts: unknown[]) =>
  btoa(JSON.stringify(parts)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Every request is answered with a problem of this status that is none of the program's own. */
async function refused(engine: Engine, status: number, cases: [string, RequestInit?][]) {
  for (const [path, init] of cases) {
    const problem = await problemOf(await engine.request(path, init));
    const what = `${init?.method ?? "GET"} ${path.slice(0, 100)} ${
      String(init?.body).slice(0, 80)
    }`;
    assert.equal(problem.status, status, `${what}: ${problem.detail}`);
  }
}

const json = (method: string, body: string): RequestInit => ({
  method,
  body,
  headers: { "content-type": "application/json" },
});

Deno.test("hostile requests: a NUL in a query is refused, on pages too", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id: id } = await engine.submit({ batch_size: 1 });
  await refused(engine, 400, [
    ["/api/etl/runs?run_label=%00"],
    ["/api/metrics/history?run_label=a%00b"],
    ["/api/metrics/history?format=csv&run_label=a%00b"],
    ["/api/datasets/events?dataset=%00.x"],
    ["/api/reports/latest?consumer=%00"],
    [`/api/etl/runs/${id}/quarantine?rule=%00`],
    ["/api/variables/%00"],
    ["/etl/overview?run_label=%00"],
    ["/etl?q=%00"],
    ["/etl/runs?run_label=%00"],
    ["/etl/runs.csv?run_label=%00"],
  ]);
});

Deno.test("hostile requests: cursors and times beyond what a column holds are refused", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id: id } = await engine.submit({ batch_size: 1 });
  const big = Number.MAX_SAFE_INTEGER;
  await refused(engine, 400, [
    [`/api/etl/runs/${id}/chunks?cursor=${cursor(big)}`],
    [`/api/etl/runs/${id}/logs?cursor=${cursor(big)}`],
    [`/api/etl/runs/${id}/logs?cursor=${cursor(null)}`],
    [`/api/etl/runs/${id}/quarantine?cursor=${cursor(big, 0, 0)}`],
    [`/api/datasets/events?cursor=${cursor("1")}`],
    ...["1", "Thu Jan 1", "0000-01-01T00:00:00Z", "2026-01-01\0", "infinity"]
      .map((at): [string] => [`/api/metrics/history?cursor=${cursor(at, NONE)}`]),
    ["/api/metrics/history?start=0000-01-01"],
    ["/api/metrics/history?start=9999-12-31T23:59:59-14:00"],
    ["/etl/runs?start=0000-01-01"],
    ["/etl/runs?end=9999-12-31"],
    ...["requested_at", "total_rows", "ratio", "duration_ms"].flatMap((sort) =>
      ["x", "NaN", "1e999", "", 5].map((value): [string] => [
        `/etl/runs?sort=${sort}&after=${cursor(value, NONE)}`,
      ])
    ),
    [`/etl/runs?sort=run_label&before=${cursor("\0", NONE)}`],
    [`/etl/runs?sort=run_label&before=${cursor("x", "y")}`],
  ]);
  for (const after of ["3000000000", "-3000000000", "1e15", "x"]) {
    const response = await engine.request(`/etl/runs/${id}/data?log_after=${after}`);
    assert.equal(response.status, 200, after);
    await response.body?.cancel();
  }
});

Deno.test("hostile requests: text that PostgreSQL cannot store is refused wherever it is put", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  for (const text of ["\\u0000", "\\ud800", "a\\udc00b"]) {
    await refused(engine, 400, [
      ["/api/variables/n", json("PUT", `{"value":"${text}"}`)],
      ["/api/variables/n", json("PUT", `{"value":{"${text}":1}}`)],
      ["/api/configurations/n", json("PUT", `{"conf":{},"description":"${text}"}`)],
      ["/api/pools/n", json("PUT", `{"slots":1,"description":"${text}"}`)],
      ["/api/suites/n", json("PUT", `{"expectations":[],"meta":{"a":"${text}"}}`)],
    ]);
    await refused(engine, 422, [
      ["/api/etl/run", json("POST", `{"mlflow_experiment":"${text}"}`)],
      ["/api/etl/run", json("POST", `{"source":{"type":"file","path":"${text}"}}`)],
      ["/api/etl/preview", json("POST", `{"source":{"type":"file","path":"${text}"}}`)],
    ]);
  }
  assert.equal((await engine.sql`select from etl.variables`).length, 0);
});

Deno.test("hostile requests: JSON of any depth, size and number is answered, by every route", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const lists = "[".repeat(100_000) + "]".repeat(100_000);
  const objects = '{"a":'.repeat(50_000) + "1" + "}".repeat(50_000);
  const large = `{"value":"${"x".repeat(8 << 20)}"}`;
  const routes: [string, string][] = [
    ["POST", "/api/etl/run"],
    ["POST", "/api/etl/preview"],
    ["POST", "/api/etl/downstream"],
    ["POST", "/api/suites/try"],
    ["POST", "/api/suites/profile"],
    ["PUT", "/api/suites/n"],
    ["PUT", "/api/variables/n"],
    ["PUT", "/api/configurations/n"],
    ["PUT", "/api/pools/n"],
  ];
  const deep = [
    lists,
    objects,
    `{"source":{"type":"inline","records":[${lists}]}}`,
    `{"value":${lists}}`,
  ];
  for (const [method, path] of routes) {
    await refused(engine, 400, deep.map((body) => [path, json(method, body)]));
    // the depth is found whatever the body says that it is
    await refused(engine, 400, deep.map((body) => [path, { method, body }]));
    await refused(engine, 413, [[path, json(method, large)]]);
    await refused(engine, 400, [[path, json(method, '{"a":1e400}')]]);
  }
  // brackets in text are text
  const text = JSON.stringify({ value: `\\"${"[".repeat(5000)}` });
  assert.equal((await engine.request("/api/variables/n", json("PUT", text))).status, 201);
});

Deno.test("hostile requests: a variable keeps its digits, however many", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await refused(engine, 400, [
    ["/api/variables/n", json("PUT", `{"value":null}`)],
    ["/api/variables/n", json("PUT", "{}")],
  ]);
  const digits = `[12345678901234567890, 0.1000000000000000055, 1.10, ${"9".repeat(300)}]`;
  const put = await engine.request("/api/variables/n", json("PUT", `{"value":${digits}}`));
  const compact = `"value":${digits.replaceAll(" ", "")}`;
  assert.ok((await put.text()).includes(compact));
  assert.ok((await (await engine.request("/api/variables/n")).text()).includes(compact));
  // the page's editor begins with them, and what it reads again after a change has them, too
  for (const path of ["/etl/variables", "/etl/data/variables"]) {
    assert.ok((await (await engine.request(path)).text()).includes(compact), path);
  }
});

Deno.test("hostile requests: names that objects inherit are names like any other", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id: id } = await engine.submit({
    source: { type: "inline", key: "id", records: [{ id: null }] },
  });
  await engine.toEnd(id);
  await refused(engine, 422, [
    ["/api/etl/run", json("POST", '{"__proto__":{"batch_size":3}}')],
    ["/api/etl/run", json("POST", '{"constructor":{"prototype":{"batch_size":3}}}')],
    ["/api/etl/run", json("POST", '{"source":{"type":"synthetic","__proto__":{"seed":3}}}')],
    ["/api/configurations/n", json("PUT", '{"conf":{"__proto__":{"batch_size":3}}}')],
    ["/api/configurations/n", json("PUT", '{"conf":{"toString":1}}')],
    ["/api/schedules/n", json("PUT", '{"cron":"@daily","conf":{"__proto__":{"batch_size":3}}}')],
    [`/api/etl/runs/${id}/quarantine/replay`, json("POST", '{"set":{"__proto__":{"a":3}}}')],
  ]);
  for (const conf of ["null", "1", '"x"', "[]"]) {
    await refused(engine, 400, [["/api/configurations/n", json("PUT", `{"conf":${conf}}`)]]);
  }
  await refused(engine, 400, [
    ["/api/pools/n", json("PUT", '{"slots":1,"__proto__":{"a":1}}')],
    ["/api/variables/__proto__", json("PUT", '{"value":1}')],
    ["/api/etl/run?__proto__=1", json("POST", "{}")],
  ]);
  await refused(engine, 404, [
    ["/api/problems/__proto__"],
    ["/api/problems/constructor"],
    ["/etl/data/constructor"],
    ["/etl/assets/__proto__"],
    ["/api/variables/constructor"],
  ]);
  const put = await engine.request("/api/variables/constructor", json("PUT", '{"value":1}'));
  assert.equal(put.status, 201);
  assert.equal(({} as Record<string, unknown>).batch_size, undefined);
});

Deno.test("hostile requests: what a run keeps of a request is read by runs only", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const conf = { source: { type: "inline", upload_id: NONE } };
  await refused(engine, 422, [
    ["/api/etl/preview", json("POST", JSON.stringify(conf))],
    ["/api/suites/profile", json("POST", JSON.stringify(conf))],
    ["/api/suites/try", json("POST", JSON.stringify({ suite: { expectations: [] }, conf }))],
  ]);
  const { run_id } = await engine.submit(conf);
  const run = await engine.toEnd(run_id);
  assert.deepEqual([run.state, run.error?.type], ["failed", "/api/problems/source-unreadable"]);
});

Deno.test("hostile requests: an unknown method is 405 and says which ones there are", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const cases: [string, string, string][] = [
    ["PUT", "/api/etl/runs", "GET, HEAD"],
    ["GET", "/api/etl/run", "POST"],
    ["PATCH", "/api/pools/default_pool", "GET, HEAD, PUT, DELETE"],
    ["DELETE", "/livez", "GET, HEAD"],
    ["OPTIONS", "/api/etl/metrics", "GET, HEAD"],
  ];
  for (const [method, path, allow] of cases) {
    const response = await engine.request(path, { method });
    assert.equal((await problemOf(response)).status, 405, path);
    assert.equal(response.headers.get("allow"), allow);
  }
  assert.equal((await engine.request("/api/nothing", { method: "PUT" })).status, 404);
});

Deno.test("hostile requests: a body without a type, or of another, is told what is taken", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const xml = { headers: { "content-type": "text/xml" }, body: "<a/>" };
  await refused(engine, 415, [
    ["/api/etl/run", { method: "POST" }],
    ["/api/etl/run", { method: "POST", ...xml }],
    ["/api/schedules/preview", { method: "POST", ...xml }],
    ["/api/schedules/s", { method: "PUT", ...xml }],
    ["/api/pools/p", { method: "PUT", ...xml }],
  ]);
});

Deno.test("hostile requests: wait and a trial say what they do not take", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const suite = { expectations: [] };
  await refused(engine, 400, [
    ["/api/etl/downstream?wait=yes", json("POST", "{}")],
    ["/api/etl/maintenance?wait=yes", json("POST", "{}")],
    ["/api/suites/try", json("POST", JSON.stringify({ suite, records: [], conf: {} }))],
    ["/api/suites/try", json("POST", JSON.stringify({ suite, records: [], more: 1 }))],
  ]);
});

Deno.test("hostile requests: a URL is shown without secrets, and not taken back that way", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const cases = [
    ["http://h/x.csv", "http://h/x.csv"],
    ["https://u:p@h:8/x?a=1&b=c#f", "https://***@h:8/x?a=***&b=***"],
    ["http://u@v:p@h/x@y", "http://***@h/x@y"],
    ["http:u:p@h/x", "http:***@h/x"],
    ["http:\\\\u:p@h\\x", "http:\\\\***@h\\x"],
    ["http://h/x?bare", "http://h/x?***"],
    ["http://h?a=b=c&bare&=d", "http://h?a=***&***&=***"],
    ["http://h/x?u:p@v", "http://h/x?***"],
  ];
  for (const [url, shown] of cases) {
    const [row] = await engine.sql`select etl.public_url(${url!}) as shown`;
    assert.equal(row!.shown, shown);
  }
  const source = { type: "http", url: "https://u:p@h/x?token=t" };
  const put = json("PUT", JSON.stringify({ value: source }));
  await refused(engine, 422, [["/api/variables/etl_improved__source", put]]);
  // as a version before 0.2.0 took it
  await engine.sql`alter table etl.variables disable trigger refuse_secrets`;
  await engine
    .sql`insert into etl.variables (name, value) values ('etl_improved__source', ${
    JSON.stringify(source)
  }::text::jsonb)`;
  await engine.sql`alter table etl.variables enable trigger refuse_secrets`;
  const { value } = await (await engine.request("/api/variables/etl_improved__source")).json();
  assert.deepEqual(value, { type: "http", url: "https://***@h/x?token=***" });
  const conf = JSON.stringify({ source: value });
  await refused(engine, 422, [
    ["/api/etl/run", json("POST", conf)],
    ["/api/configurations/n", json("PUT", `{"conf":${conf}}`)],
  ]);
});
