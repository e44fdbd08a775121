import { cancelRun, retryRun } from "../../store/runs.ts";
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import type { Engine } from "../helpers/engine.ts";
import { startEngine } from "../helpers/engine.ts";
import { type Peer, startPeer } from "../helpers/peer.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

const SPEC = new URL("openlineage/", import.meta.url);

interface Facet {
  _producer: string;
  _schemaURL: string;
  [member: string]: unknown;
}
interface Dataset {
  namespace: string;
  name: string;
  facets: Record<string, Facet>;
  inputFacets?: Record<string, Facet>;
  outputFacets?: Record<string, Facet>;
}
interface Event {
  eventType: string;
  eventTime: string;
  run: { runId: string; facets: Record<string, Facet> };
  job: { namespace: string; name: string; facets: Record<string, Facet> };
  inputs: Dataset[];
  outputs: Dataset[];
}

/** Checks an event, and each of its facets, against the schemas that they name. */
function validator(): (event: Event) => void {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  for (const { name } of Deno.readDirSync(SPEC)) {
    if (name.endsWith(".json")) {
      ajv.addSchema(JSON.parse(Deno.readTextFileSync(new URL(name, SPEC))));
    }
  }
  const check = (schema: string, value: unknown) => {
    const validate = ajv.getSchema(schema);
    assert.ok(validate, `${schema} is a published schema`);
    assert.ok(validate(value), `${schema}: ${ajv.errorsText(validate.errors)}`);
  };
  return (event) => {
    check((event as unknown as { schemaURL: string }).schemaURL, event);
    const facets = [
      event.run.facets,
      event.job.facets,
      ...[...event.inputs, ...event.outputs].flatMap((dataset) => [
        dataset.facets,
        dataset.inputFacets ?? {},
        dataset.outputFacets ?? {},
      ]),
    ];
    for (const facet of facets.flatMap((each) => Object.values(each))) {
      check(facet._schemaURL, facet);
    }
  };
}

const eventsOf = (peer: Peer) => peer.requests.map((request): Event => JSON.parse(request.body));

const done = (engine: Engine, count: number) =>
  waitFor(
    async () => (await engine.sql`select from etl.exports where state = 'done'`).length === count,
    { timeoutMs: 20_000, what: `${count} runs told` },
  );

Deno.test("each run is one START and one terminal event that the published schemas accept", async (t) => {
  await using engine = await startEngine(t, { files: { "in.csv": "id,n\n1,1\n2,2\n" } });
  await using peer = startPeer(() => new Response(null, { status: 201 }));
  await using _reacting = await startReacting(engine, {
    env: {
      OPENLINEAGE_URL: peer.address,
      OPENLINEAGE_API_KEY: "k3y",
      OPENLINEAGE_NAMESPACE: "prod",
    },
  });
  const suite = {
    name: "numbers",
    expectations: [{ type: "expect_column_values_to_not_be_null", kwargs: { column: "n" } }],
  };
  await engine.sql`insert into etl.suites (name, suite, row_wise) values ('numbers', ${
    JSON.stringify(suite)
  }::text::jsonb, true)`;
  const source = { type: "file", path: "in.csv", key: "id", name: "csv" };
  const good = await engine.succeed({ source, suite: "numbers", run_label: "daily" });
  const bad = await engine.runToEnd({
    source: { ...source, path: "none.csv" },
    run_label: "daily",
  });
  const dry = await engine.succeed({ batch_size: 5, dry_run: true });
  const waiting = await engine.submit({ batch_size: 5 });
  await cancelRun(engine.sql, waiting.run_id, "test");
  await done(engine, 4);

  const validate = validator();
  const events = eventsOf(peer);
  for (const event of events) validate(event);
  const typesOf = (id: string) =>
    events.filter((event) => event.run.runId === id).map((event) => event.eventType);
  assert.deepEqual(typesOf(good.run_id), ["START", "COMPLETE"]);
  assert.deepEqual(typesOf(bad.run_id), ["START", "FAIL"]);
  assert.deepEqual(typesOf(dry.run_id), ["START", "COMPLETE"]);
  assert.deepEqual(typesOf(waiting.run_id), ["START", "ABORT"]);
  for (const run of [good, bad, dry]) {
    const [start, end] = events.filter((event) => event.run.runId === run.run_id);
    assert.ok(start!.eventTime <= end!.eventTime);
  }

  const complete = events.find((event) =>
    event.run.runId === good.run_id && event.eventType === "COMPLETE"
  )!;
  assert.deepEqual([complete.job.namespace, complete.job.name], ["prod", "daily"]);
  const [input] = complete.inputs;
  assert.deepEqual([input!.namespace, input!.name], ["file", "/data/in.csv"]);
  assert.equal(input!.inputFacets!.inputStatistics!.rowCount, 2);
  assert.deepEqual(input!.inputFacets!.dataQualityAssertions!.assertions, [
    { assertion: "expect_column_values_to_not_be_null", success: true, column: "n" },
  ]);
  const { hostname, port, pathname } = new URL(engine.db.dsn);
  const [output] = complete.outputs;
  assert.equal(output!.namespace, `postgres://${hostname}:${port}`);
  assert.equal(output!.name, `${pathname.slice(1)}.public.etl_improved_events`);
  assert.equal(output!.outputFacets!.outputStatistics!.rowCount, 2);
  const fail = events.find((event) => event.eventType === "FAIL")!;
  assert.match(String(fail.run.facets.errorMessage!.message), /none\.csv/);
  assert.deepEqual(events.find((event) => event.run.runId === dry.run_id)!.outputs, []);
  assert.equal(peer.requests[0]!.path, "/api/v1/lineage");
  assert.equal(peer.requests[0]!.headers.get("authorization"), "Bearer k3y");
});

Deno.test("a retry is a run of its own below the first, as nothing follows a terminal event", async (t) => {
  await using engine = await startEngine(t);
  await using peer = startPeer();
  await using _reacting = await startReacting(engine, { env: { OPENLINEAGE_URL: peer.address } });
  const run = await engine.runToEnd({ source: { type: "file", path: "late.csv", key: "id" } });
  await done(engine, 1);
  await Deno.writeTextFile(`${engine.dataDir}/late.csv`, "id\n1\n");
  await retryRun(engine.sql, run.run_id, "test");
  await engine.toEnd(run.run_id);
  await done(engine, 2);
  const events = eventsOf(peer);
  assert.deepEqual(events.map((event) => event.eventType), ["START", "FAIL", "START", "COMPLETE"]);
  const ids = [...new Set(events.map((event) => event.run.runId))];
  assert.equal(ids.length, 2);
  assert.equal(ids[0], run.run_id);
  assert.deepEqual(events[3]!.run.facets.parent!.run, { runId: run.run_id });
  const validate = validator();
  for (const event of events) validate(event);
});

// a conf takes none in a URL: what follows the path may be one that nobody knows as such
Deno.test("names of inputs hold no secret", async (t) => {
  await using engine = await startEngine(t);
  await using peer = startPeer();
  await using _reacting = await startReacting(engine, {
    env: { OPENLINEAGE_URL: peer.address },
    connections: { shop: "postgres://reader:hunter2@db.example.com/shop?sslmode=require" },
  });
  const sources = [
    { type: "http", url: "https://data.example.com/a/b.csv?reader=hunter2", key: "id" },
    { type: "postgres", connection: "shop", table: "orders", key: "id" },
    { type: "postgres", connection: "shop", query: "select 'hunter2' as id", key: "id" },
  ];
  for (const source of sources) await engine.runToEnd({ source });
  await done(engine, 3);
  const events = eventsOf(peer);
  const names = events.filter((event) => event.eventType === "START")
    .map(({ inputs: [input] }) => `${input!.namespace} ${input!.name}`);
  assert.deepEqual(names.slice(0, 2), [
    "https://data.example.com /a/b.csv",
    "postgres://db.example.com:5432 shop.public.orders",
  ]);
  for (const { inputs, outputs } of events) {
    assert.ok(!JSON.stringify([inputs, outputs]).includes("hunter2"));
  }
  const validate = validator();
  for (const event of events) validate(event);
});

Deno.test("OpenLineage down, slow or talking rubbish keeps no run; everything is told when it is back", async (t) => {
  await using engine = await startEngine(t);
  const answers = [
    () => new Response("no", { status: 503 }),
    () => "reset" as const,
    () => new Response("x".repeat(5 << 20)),
  ];
  await using peer = startPeer(() => answers.shift()?.() ?? new Response("ok"));
  await using _reacting = await startReacting(engine, { env: { OPENLINEAGE_URL: peer.address } });
  const run = await engine.succeed({ batch_size: 5 });
  await waitFor(async () => {
    const [row] = await engine.sql`select state from etl.exports`;
    return row?.state === "done";
  }, { timeoutMs: 60_000 });
  const [shown] =
    (await (await engine.request(`/api/etl/runs/${run.run_id}/exports`)).json()).items;
  assert.deepEqual([shown.target, shown.state, shown.error], ["openlineage", "done", null]);
});

Deno.test("events can go to a file, one a line", async (t) => {
  await using engine = await startEngine(t);
  const file = await Deno.makeTempFile();
  await using _reacting = await startReacting(engine, {
    env: { OPENLINEAGE_URL: `file://${file}` },
  });
  await engine.succeed({ batch_size: 5 });
  await done(engine, 1);
  const lines = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assert.deepEqual(lines.map((line) => line.eventType), ["START", "COMPLETE"]);
  const validate = validator();
  for (const line of lines) validate(line);
  await Deno.remove(file);
});
