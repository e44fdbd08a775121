import assert from "node:assert/strict";
import { startPeer } from "../helpers/peer.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  attributes: { key: string; value: Record<string, unknown> }[];
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status?: { code?: number };
}

/** What OTLP calls the status of a span that failed. */
const ERROR = 2;

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const FAILED_TRACE = "5bf92f3577b34da6a3ce929d0e0e4736";

/** The spans of a run of two chunks, and how many there are of each. */
const SPANS: [name: string, count: number][] = [
  ["etl.run", 1],
  ...["extract", "transform", "chunk", "validate", "ge_validate", "load", "finalize"].map(
    (stage): [string, number] => [`etl.stage.${stage}`, 1],
  ),
  ["etl.plan", 1],
  ["etl.prepare", 2],
  ["etl.resolve", 1],
  ["etl.publish", 2],
];

Deno.test("a trigger's trace goes through the queue into stages and the workers' chunks", async (t) => {
  await using db = await testDatabase(t);
  await using collector = startPeer(() => Response.json({}));
  await using server = await startServer({
    dsn: db.dsn,
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.address,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_SERVICE_NAME: "etl-improved",
      OTEL_BSP_SCHEDULE_DELAY: "200",
    },
  });
  const response = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
    },
    body: JSON.stringify({ batch_size: 20, chunk_size: 10 }),
  });
  const run = await response.json();
  assert.equal(run.state, "succeeded");
  const failed = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      traceparent: `00-${FAILED_TRACE}-00f067aa0ba902b7-01`,
    },
    body: JSON.stringify({ source: { type: "file", path: "nowhere.csv" } }),
  });
  assert.equal((await failed.json()).state, "failed");

  const spans = (): Span[] =>
    collector.requests.filter((request) => request.path === "/v1/traces").flatMap((request) =>
      JSON.parse(request.body).resourceSpans.flatMap((
        resource: { scopeSpans: { spans: Span[] }[] },
      ) => resource.scopeSpans.flatMap((scope) => scope.spans))
    );
  const named = (name: string) =>
    spans().filter((span) => span.name === name && span.traceId === TRACE);
  // each thread exports its spans by itself, and the request's ends with its answer
  const http = () => spans().find((span) => span.spanId === named("etl.run")[0]?.parentSpanId);
  await waitFor(() => SPANS.every(([name, count]) => named(name).length >= count) && http(), {
    what: `the spans; there are ${spans().map((span) => span.name)}`,
  });
  const [root] = named("etl.run");
  assert.equal(http()?.traceId, TRACE, "the run is below the request");
  assert.equal(http()?.parentSpanId, "00f067aa0ba902b7", "and the request below its caller");
  const attributes = Object.fromEntries(
    root!.attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
  );
  assert.equal(attributes["etl.run_id"], run.run_id);
  assert.equal(attributes["etl.state"], "succeeded");
  for (const [name, count] of SPANS) {
    const found = named(name);
    assert.equal(found.length, count, name);
    assert.ok(found.every(({ status }) => status?.code !== ERROR), name);
    if (name === "etl.run") continue;
    const chunks = found.flatMap(({ attributes }) =>
      attributes.filter(({ key }) => key === "etl.chunk_no").map(({ value }) =>
        `${Object.values(value)[0]}`
      )
    );
    const each = ["etl.prepare", "etl.publish"].includes(name) ? ["0", "1"] : [];
    assert.deepEqual(chunks.sort(), each, name);
    assert.ok(found.every((span) => span.parentSpanId === root!.spanId), name);
    assert.ok(
      found.every((span) => BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano)),
      name,
    );
  }
  // a run that failed, and the stage and task that it failed in, have the status that a backend looks for
  const ofFailed = ["etl.run", "etl.stage.extract", "etl.plan"];
  const failures = () =>
    spans().filter(({ traceId, name }) => traceId === FAILED_TRACE && ofFailed.includes(name));
  await waitFor(() => failures().length >= ofFailed.length, {
    what: `the spans of the run that failed; there are ${failures().map(({ name }) => name)}`,
  });
  assert.deepEqual(
    failures().map(({ name, status }) => [name, status?.code]).sort(),
    ofFailed.map((name) => [name, ERROR]).sort(),
  );
});

Deno.test("a collector that is down keeps no run", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({
    dsn: db.dsn,
    env: { OTEL_DENO: "true", OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:2" },
  });
  const response = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  assert.equal((await response.json()).state, "succeeded");
});
