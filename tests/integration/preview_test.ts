import assert from "node:assert/strict";
import type { Preview } from "../../pipeline/preview.ts";
import { PROBLEM_TYPES } from "../../vocabulary/problem_types.ts";
import { previewInWorker } from "../../pipeline/workers/aside.ts";
import { paramsSchema } from "../../pipeline/params.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

async function previewOf(engine: Engine, conf: unknown): Promise<Preview> {
  const response = await engine.post("/api/etl/preview", conf);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

const inline = (records: unknown[], source: object = {}) => ({
  source: { type: "inline", name: "test", records, ...source },
});

Deno.test("preview and run read batch_size records where the request or its configuration gives it", async (t) => {
  const lines = Array.from({ length: 30 }, (_, i) => `{"id":"k${i}"}`).join("\n");
  await using engine = await startEngine(t, { files: { "many.ndjson": lines } });
  const source = { type: "file", path: "many.ndjson", key: "id" };
  const put = await engine.request("/api/configurations/few", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ conf: { batch_size: 4 } }),
  });
  assert.ok(put.ok, await put.text());
  for (
    const [conf, expected] of [
      [{ source, batch_size: 3 }, 3],
      [{ source, configuration: "few" }, 4],
      [{ source }, 30],
      [inline(Array.from({ length: 9 }, (_, id) => ({ id }))), 9],
      [{ ...inline(Array.from({ length: 9 }, (_, id) => ({ id }))), batch_size: 2 }, 2],
    ] as [object, number][]
  ) {
    assert.equal((await previewOf(engine, conf)).sampled, expected, JSON.stringify(conf));
    const run = await engine.runToEnd({ ...conf, run_label: `few ${expected}` });
    assert.equal(run.counts.records_read, expected);
  }
});

Deno.test("preview shows the events that a run stores", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "quakes.ndjson": Array.from(
        { length: 30 },
        (_, i) =>
          JSON.stringify({
            id: `q${i}`,
            at: 1_700_000_000_000 + i,
            kind: "quake",
            mag: i / 3,
            v: i,
          }),
      ).join("\n"),
    },
  });
  const conf = {
    source: {
      type: "file",
      path: "quakes.ndjson",
      name: "usgs",
      key: "id",
      event_type: { field: "kind" },
      occurred_at: { field: "at", format: "epoch_ms" },
      version: "v",
    },
  };
  const preview = await previewOf(engine, conf);
  assert.equal(preview.sampled, 30);
  assert.equal(preview.events.length, 20);
  assert.deepEqual(preview.counts, { events: 30, rejected: 0, filtered: 0, extra: 0 });

  await engine.succeed(conf);
  const stored = await engine.sql`
    select event_id, event_type, occurred_at, source, version::text, payload,
      encode(fingerprint, 'hex') as fingerprint, event_date::text, event_hour
    from public.etl_improved_events as e order by e.version limit 20`;
  assert.deepEqual(
    preview.events.map(({ position: _position, occurred_at, ...event }) => ({
      ...event,
      occurred_at: new Date(occurred_at!),
    })),
    stored.map((row) => ({ ...row })),
  );
});

Deno.test("preview makes no run, creates no table and leaves nothing on disk", async (t) => {
  await using engine = await startEngine(t);
  await previewOf(engine, { table_name: "never_made", ...inline([{ id: 1 }]) });
  const [found] = await engine.sql`
    select (select count(*)::int from etl.runs) as runs, to_regclass('public.never_made') as made`;
  assert.deepEqual({ ...found }, { runs: 0, made: null });
  assert.deepEqual([...Deno.readDirSync(engine.config.spoolDir)], []);
});

Deno.test("preview shows rejected records with their rules", async (t) => {
  await using engine = await startEngine(t);
  const preview = await previewOf(
    engine,
    inline([{ id: "a" }, { no: 1 }, "text", { id: "" }], { key: "id" }),
  );
  assert.deepEqual(
    preview.rejected.map(({ position, rule, field }) => ({ position, rule, field })),
    [
      { position: 1, rule: "key_missing", field: "id" },
      { position: 2, rule: preview.rejected[1]!.rule, field: null },
      { position: 3, rule: "key_missing", field: "id" },
    ],
  );
  assert.equal(preview.rejected[0]!.raw, '{"no":1}');
  assert.equal(preview.rules.key_missing, 2);
  assert.equal(preview.counts.rejected, 3);
});

Deno.test("preview tells whether the key is unique beyond the events that it shows", async (t) => {
  await using engine = await startEngine(t);
  const records = Array.from({ length: 100 }, (_, i) => ({ id: i === 99 ? 50 : i }));
  const { key } = await previewOf(engine, inline(records, { key: "id" }));
  assert.deepEqual(key, {
    fields: ["id"],
    distinct: 99,
    unique: false,
    repeated: [{ event_id: "50", positions: [50, 99] }],
  });
  const unique = await previewOf(engine, inline(records.slice(0, 50), { key: "id" }));
  assert.equal(unique.key.unique, true);
  const keyless = await previewOf(engine, inline(records));
  assert.equal(keyless.key.fields, null);
});

Deno.test("preview keeps every digit of large integers", async (t) => {
  await using engine = await startEngine(t, {
    files: { "big.ndjson": '{"id":12345678901234567890}\n' },
  });
  for (
    const source of [
      '{"type": "file", "path": "big.ndjson", "key": "id"}',
      '{"type": "inline", "records": [{"id": 12345678901234567890}], "key": "id"}',
    ]
  ) {
    const response = await engine.post("/api/etl/preview", `{"source": ${source}}`);
    const text = await response.text();
    assert.match(text, /"payload":\{"id":12345678901234567890\}/);
    assert.equal(JSON.parse(text).events[0].event_id, "12345678901234567890");
  }
});

Deno.test("preview runs the transform module as it is now", async (t) => {
  await using engine = await startEngine(t, {
    transforms: {
      mine: "export const transform = (r) => r.drop ? null : [r, {...r, id: r.id + 100}];",
    },
  });
  const conf = { transform: "mine", ...inline([{ id: 1 }, { id: 2, drop: true }], { key: "id" }) };
  const first = await previewOf(engine, conf);
  assert.deepEqual(first.events.map(({ event_id }) => event_id), ["1", "101"]);
  assert.deepEqual(first.counts, { events: 2, rejected: 0, filtered: 1, extra: 1 });

  await Deno.writeTextFile(
    `${engine.config.transformsDir}/mine.ts`,
    'export const transform = () => { throw new Error("not today"); };',
  );
  const second = await previewOf(engine, conf);
  assert.deepEqual(second.rules, { transform_error: 2 });
});

Deno.test("a run uses the transform module as it is when it begins", async (t) => {
  await using engine = await startEngine(t, { workers: 1, transforms: {} });
  const load = async (n: number) => {
    const path = `${engine.config.transformsDir}/mine.ts`;
    await Deno.writeTextFile(path, `export const transform = (r) => ({ ...r, n: ${n} });`);
    // two changes within the clock's resolution must differ all the same
    await Deno.utime(path, n, n);
    const run = await engine.load([{ id: "a" }], { transform: "mine" });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    return await engine.payloads();
  };
  assert.deepEqual(await load(1), { a: { id: "a", n: 1 } });
  assert.deepEqual(await load(2), { a: { id: "a", n: 2 } });
});

Deno.test("preview shows the example that the documentation shows", async (t) => {
  await using engine = await startEngine(t, {
    transforms: {
      example: (await Deno.readTextFile("pipeline/transforms/example.ts"))
        .replace(/^import type .*$/m, "type TransformFunction = (record: any) => any;"),
    },
  });
  const { counts, key } = await previewOf(engine, { transform: "example" });
  assert.equal(counts.rejected, 0);
  assert.ok(counts.filtered > 0 && counts.extra > 0, JSON.stringify(counts));
  assert.equal(counts.events, 200 - counts.filtered + counts.extra);
  assert.ok(key.unique);
});

Deno.test("preview ends a transform that does not end", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { endless: "export const transform = () => { for (;;); };" },
  });
  const context = {
    params: paramsSchema.parse({ transform: "endless", batch_size: 1 }),
    privacy: null,
    mostRecords: 1,
    suite: null,
    transformsDir: engine.config.transformsDir,
    sourcesDir: engine.config.sourcesDir,
    source: {
      spoolDir: engine.config.spoolDir,
      dataDir: engine.config.dataDir,
      connections: {},
      pageSize: 1000,
      limits: { maxSpoolBytes: 1e6, maxRecordBytes: 1e6, allowPrivateHosts: [] },
    },
  };
  await assert.rejects(previewInWorker(context, { timeoutMs: 1500 }), {
    name: "Problem",
    message: /was not ready after 1.5 s/,
  });
});

Deno.test("preview takes parameters from where a run takes them", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`insert into etl.variables (name, value)
    values ('etl_improved__source', '{"type": "inline", "name": "saved", "records": [{"a": 1}]}')`;
  const { events } = await previewOf(engine, {});
  assert.deepEqual(events.map(({ source, payload }) => ({ source, payload })), [
    { source: "saved", payload: { a: 1 } },
  ]);
});

Deno.test("preview fills in {{slot}} and its like, wherever they are from, with the next slot of a schedule or now", async (t) => {
  await using engine = await startEngine(t);
  const name = "{{slot}} {{slot_previous}} {{today}}";
  const source = { type: "inline", name, records: [{ a: "{{slot}}" }] };
  await engine.sql`insert into etl.variables (name, value)
    values ('etl_improved__source', ${JSON.stringify(source)}::text::jsonb)`;
  const query = new URLSearchParams({ cron: "30 2 * * *", time_zone: "Asia/Tokyo" });
  const ask = async (conf: unknown, query = "") => {
    const response = await engine.post(`/api/etl/preview?${query}`, conf);
    const { slot, events: [event] }: Preview = await response.json();
    // data stays as it is
    assert.deepEqual(event!.payload, { a: "{{slot}}" });
    return { slot, source: event!.source };
  };
  const upcoming = await engine.post("/api/schedules/preview", Object.fromEntries(query));
  const [{ slot, local }] = (await upcoming.json()).slots;
  const next = new Date(slot);
  const text = (time: Date) => `${time.toISOString().slice(0, 19)}Z`;
  // Tokyo changes no clocks
  const previous = new Date(next.getTime() - 86_400_000);
  const filled = `${text(next)} ${text(previous)} ${local.slice(0, 10)}`;
  for (const conf of [{}, { source }]) {
    assert.deepEqual(await ask(conf, `${query}`), { slot: text(next), source: filled });
    const now = await ask(conf);
    assert.equal(now.source, `${now.slot} ${now.slot} ${now.slot!.slice(0, 10)}`);
  }
  assert.equal((await previewOf(engine, inline([{ a: 1 }]))).slot, null);
});

Deno.test("preview refuses what a run would refuse, naming every field", async (t) => {
  await using engine = await startEngine(t);
  const response = await engine.post("/api/etl/preview", {
    batch_sise: 1,
    source: { type: "file", pth: "a.csv" },
  });
  assert.equal(response.status, 422);
  const { type, errors } = await response.json();
  assert.equal(type, "/api/problems/invalid-conf");
  assert.deepEqual(errors.map(({ field }: { field: string }) => field).sort(), [
    "batch_sise",
    "source.path",
    "source.pth",
  ]);
  const missing = await engine.post("/api/etl/preview", {
    source: { type: "file", path: "nope.csv" },
  });
  assert.equal(missing.status, 422);
  assert.match((await missing.json()).detail, /nope\.csv/);
});

Deno.test("preview takes data with the mapping in its query, as a run does, and nothing else", async (t) => {
  await using engine = await startEngine(t);
  const csv = { "content-type": "text/csv" };
  const seen = await engine.post("/api/etl/preview?key=a&delimiter=%3B", "a;b\n1;x\n2;y\n", csv);
  assert.equal(seen.status, 200);
  const { events } = await seen.json();
  assert.deepEqual(
    events.map((
      { event_id, payload }: { event_id: string; payload: unknown },
    ) => [event_id, payload]),
    [["1", { a: 1, b: "x" }], ["2", { a: 2, b: "y" }]],
  );
  const wrong = await engine.post("/api/etl/preview?keys=a", "a,b\n1,2\n", csv);
  assert.equal(wrong.status, 422);
  await wrong.body?.cancel();
  const empty = await engine.post("/api/etl/preview?key=a", "", csv);
  assert.equal(empty.status, 400);
  await empty.body?.cancel();
  const other = await engine.post("/api/etl/preview", "a,b", { "content-type": "text/plain" });
  assert.equal(other.status, 415);
  await other.body?.cancel();
  const broken = await engine.post("/api/etl/preview", "{");
  assert.equal(broken.status, 400);
  await broken.body?.cancel();
});

Deno.test("four previews are made at once, and two trials or profiles of suites; more are refused with 429", async (t) => {
  const released = Promise.withResolvers<void>();
  let asked = 0;
  await using slow = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async () => {
    asked++;
    await released.promise;
    return new Response("");
  });
  const host = `127.0.0.1:${slow.addr.port}`;
  await using engine = await startEngine(t, {
    workers: 0,
    env: { ETL_HTTP_SOURCES: host, ETL_HTTP_PRIVATE_HOSTS: host },
  });
  const conf = { source: { type: "http", url: `http://${host}/a.ndjson`, key: "id" } };
  const trial = { suite: { name: "s", expectations: [] }, conf };
  for (
    const [most, paths] of [
      [4, ["/api/etl/preview"]],
      [2, ["/api/suites/try", "/api/suites/profile"]],
    ] as const
  ) {
    asked = 0;
    let refused = 0;
    const ending = new AbortController();
    // none ends by itself, as each waits for its source's server
    const all = Array.from({ length: most + 1 }, async (_, i) => {
      const path = paths[i % paths.length]!;
      const { status } = await engine.request(path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(path.endsWith("try") ? trial : conf),
        signal: ending.signal,
      });
      if (status === 429) refused++;
    });
    try {
      await waitFor(() => refused > 0 || asked > most, { what: `one more than ${most}` });
      assert.equal(refused, 1);
    } catch (error) {
      released.resolve();
      throw error;
    } finally {
      ending.abort();
      await Promise.allSettled(all);
    }
  }
  released.resolve();
});

Deno.test("/api/docs shows every address of openapi.json, and nothing in it may run", async (t) => {
  await using engine = await startEngine(t);
  const { paths } = await (await engine.request("/api/openapi.json")).json();
  const response = await engine.request("/api/docs");
  assert.equal(response.status, 200);
  assert.match(
    response.headers.get("content-security-policy")!,
    /^default-src 'none'; style-src 'self'/,
  );
  const page = await response.text();
  assert.ok(!/<script|style=|onclick|<style/i.test(page));
  assert.ok(Object.keys(paths).includes("/api/etl/preview"));
  for (const path of Object.keys(paths)) assert.ok(page.includes(`${path}</code></h3>`), path);
  const anchors = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id!);
  for (const id of anchors) assert.ok(page.includes(`id="${id}"`), `nothing has the id ${id}`);
  assert.equal((await (await engine.request("/api/docs/style.css")).text()).includes("body"), true);
});

Deno.test("/api/problems explains every kind of problem, for people and for programs", async (t) => {
  await using engine = await startEngine(t);
  for (const type of Object.keys(PROBLEM_TYPES)) {
    const asked = await engine.request(`/api/problems/${type}`);
    const { title, meaning, remedies } = await asked.json();
    assert.ok(title && meaning && remedies.length > 0, type);
  }
  const page = await engine.request("/api/problems/low-ratio", {
    headers: { accept: "text/html" },
  });
  assert.match(await page.text(), /<h1>The acceptance ratio is too low<\/h1>/);
  const unknown = await engine.request("/api/problems/nope");
  assert.equal(unknown.status, 404);
  await unknown.body?.cancel();
});
