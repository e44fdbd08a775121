import assert from "node:assert/strict";
import Papa from "papaparse";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { tcpProxy } from "../helpers/tcp_proxy.ts";

interface Row {
  run_id: string;
  run_label: string;
  created_at: string;
  dry_run: boolean;
  total_rows: number;
}

const page = async (engine: Engine, query: string) => {
  const response = await engine.request(`/api/metrics/history?${query}`);
  assert.equal(response.status, 200, await response.clone().text());
  const { data, next } = await response.json() as { data: Row[]; next: string | null };
  return { items: data, next };
};

const ORIGINAL = "run_label,total_rows,expected_rows,ratio,num_chunks,dry_run,at".split(",");

/** Rows in two schemas; every third at the same moment as the one before. */
async function fill(engine: Engine, count: number) {
  await engine
    .sql`select etl.ensure_destination('other', 'etl_improved_events', 'etl_improved_audit')`;
  for (const [schema, parity] of [["public", 0], ["other", 1]] as const) {
    await engine.sql`
      insert into ${
      engine.sql(schema)
    }.etl_improved_metrics (run_id, run_label, total_rows, expected_rows, ratio, dry_run, created_at)
      select gen_random_uuid(), 'label_' || i % 4, i, i, 1, i % 5 = 0,
        '2025-01-01T00:00:00Z'::timestamptz + (i - (i % 3 = 2)::int) * interval '1 hour'
      from generate_series(0, ${count - 1}::int) as i where i % 2 = ${parity}`;
  }
}

Deno.test("history pages over all schemas without losing or repeating a row", async (t) => {
  await using engine = await startEngine(t);
  await fill(engine, 40);
  const seen: Row[] = [];
  let query = "limit=7";
  for (;;) {
    const { items, next } = await page(engine, query);
    seen.push(...items);
    if (next === null) break;
    query = `limit=7&cursor=${next}`;
  }
  assert.equal(new Set(seen.map((row) => row.run_id)).size, 40);
  assert.equal(seen.length, 40);
  const times = seen.map((row) => row.created_at);
  assert.deepEqual(times, [...times].sort().reverse());
  assert.equal((await page(engine, "")).items.length, 30, "30 by default");
});

Deno.test("history filters by time, label, dry run and status, alone and together", async (t) => {
  await using engine = await startEngine(t);
  await fill(engine, 40);
  const all = (await page(engine, "limit=100")).items;
  const check = async (query: string, keep: (row: Row) => boolean) => {
    const expected = all.filter(keep).map((row) => row.run_id);
    const { items } = await page(engine, `limit=100&${query}`);
    assert.deepEqual(items.map((row) => row.run_id), expected, query);
    assert.ok(expected.length > 0, query);
  };
  await check("start=2025-01-01T10:00:00Z", (row) => row.created_at >= "2025-01-01T10:00:00.000Z");
  await check("end=2025-01-01T10:00:00Z", (row) => row.created_at <= "2025-01-01T10:00:00.000Z");
  await check("end=2025-01-01", (row) => row.created_at < "2025-01-02T00:00:00.000Z");
  await check(
    "start=&end=2025-01-01&run_label=&dry_run=&status=&cursor=",
    (row) => row.created_at < "2025-01-02T00:00:00.000Z",
  );
  await check("start=2025-01-02", (row) => row.created_at >= "2025-01-02T00:00:00.000Z");
  await check(
    "start=2025-01-01T12:00:00%2B02:00",
    (row) => row.created_at >= "2025-01-01T10:00:00.000Z",
  );
  await check("run_label=label_1", (row) => row.run_label === "label_1");
  await check("dry_run=true", (row) => row.dry_run);
  await check("dry_run=false", (row) => !row.dry_run);
  await check(
    "status=succeeded&dry_run=true&run_label=label_0&end=2025-01-01T23:00",
    (row) =>
      row.dry_run && row.run_label === "label_0" && row.created_at <= "2025-01-01T23:00:00.000Z",
  );
  assert.equal((await page(engine, "status=failed")).items.length, 0);
  // a time without a zone is UTC, wherever the server is
  const zone = Deno.env.get("TZ");
  Deno.env.set("TZ", "Pacific/Auckland");
  try {
    await check("start=2025-01-01T10:00", (row) => row.created_at >= "2025-01-01T10:00:00.000Z");
  } finally {
    if (zone === undefined) Deno.env.delete("TZ");
    else Deno.env.set("TZ", zone);
  }
});

Deno.test("history refuses what it cannot read, naming it", async (t) => {
  await using engine = await startEngine(t);
  for (
    const query of [
      "limit=0",
      "limit=10001",
      "start=yesterday",
      "end=2025-13-45",
      "dry_run=maybe",
      "format=xml",
      "cursor=abc",
      `cursor=${btoa(JSON.stringify(["x", "y"]))}`,
      `cursor=${btoa(JSON.stringify(["2025-01-01", "'; drop table"]))}`,
    ]
  ) {
    const response = await engine.request(`/api/metrics/history?${query}`);
    assert.equal(response.status, 400, query);
    const problem = await response.json();
    assert.ok(problem.detail.length > 0);
    assert.equal(problem.errors?.[0]?.field ?? "cursor", query.split("=")[0]);
  }
});

Deno.test("history as CSV is a download of RFC 4180 that no spreadsheet takes for a formula", async (t) => {
  await using engine = await startEngine(t);
  const labels = [
    '=HYPERLINK("http://evil","x")',
    "+1",
    "-1",
    "@sum",
    "a,b",
    'say "hi"',
    "ñandú 🚀",
  ];
  for (const label of labels) {
    await engine.sql`insert into public.etl_improved_metrics (run_id, run_label, total_rows, ratio)
      values (gen_random_uuid(), ${label}, 5, 0.5)`;
  }
  const response = await engine.request("/api/metrics/history?format=csv&limit=5");
  assert.match(response.headers.get("content-type")!, /^text\/csv; charset=utf-8/);
  assert.match(response.headers.get("content-disposition")!, /^attachment; filename="[^"]+\.csv"$/);
  const next = /<([^>]+)>; rel="next"/.exec(response.headers.get("link")!)![1]!;
  const texts = [await response.text(), await (await engine.request(next)).text()];
  const runs = await engine.request("/etl/runs.csv");
  for (const text of [...texts, await runs.text()]) {
    assert.deepEqual(text.split("\r\n")[0]!.split(",").slice(0, 7), ORIGINAL);
  }
  for (const text of texts) assert.ok(text.endsWith("\r\n") && !/[^\r]\n/.test(text));
  const rows = texts.flatMap((text) =>
    Papa.parse<Record<string, string>>(text.trimEnd(), { header: true }).data
  );
  assert.deepEqual(
    rows.map((row) => row.run_label).sort(),
    labels.map((label) => /^[=+\-@]/.test(label) ? `'${label}` : label).sort(),
  );
  assert.ok(rows.every((row) => row.total_rows === "5" && row.ratio === "0.5"));
});

Deno.test("latest is the newest run with a ratio, a dry run too, in whatever schema", async (t) => {
  await using engine = await startEngine(t);
  const answer = async () => await (await engine.request("/api/metrics/latest")).json();
  const latest = async () => (await answer()).data;
  assert.deepEqual(await answer(), { data: null });
  await engine.succeed({ batch_size: 5 });
  const elsewhere = await engine.succeed({ batch_size: 6, schema_name: "elsewhere" });
  assert.equal((await latest()).run_id, elsewhere.run_id);
  const dry = await engine.succeed({ batch_size: 7, dry_run: true });
  assert.equal((await latest()).run_id, dry.run_id);
  assert.deepEqual(Object.keys(await latest()).slice(0, 7), ORIGINAL);
  await engine.runToEnd({ source: { type: "file", path: "missing.csv", key: "id" } });
  assert.equal((await latest()).run_id, dry.run_id, "a run without a ratio is not the latest");
});

Deno.test("the log of a run can be read, a page at a time, and keeps its last lines", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`update etl.reaction_settings set log_lines = 10`;
  const { run_id } = await engine.submit({});
  const line = (i: number) => ({
    run_id,
    logged_at: new Date(1_700_000_000_000 + i).toISOString(),
    level: "info",
    message: `line ${i}`,
    fields: { i },
  });
  const stranger = { ...line(0), run_id: crypto.randomUUID() };
  for (
    const lines of [
      [stranger, ...[1, 2, 3].map(line)],
      Array.from({ length: 12 }, (_, i) => line(i + 4)),
    ]
  ) {
    await engine.sql`select etl.append_logs(${JSON.stringify(lines)}::text::jsonb)`;
  }
  const read = async (query: string) =>
    await (await engine.request(`/api/etl/runs/${run_id}/logs?${query}`)).json();
  const first = await read("limit=6");
  const second = await read(`limit=6&cursor=${first.next}`);
  const seen = [...first.items, ...second.items].map((item: { message: string }) => item.message);
  assert.deepEqual(seen, Array.from({ length: 10 }, (_, i) => `line ${i + 6}`));
  assert.equal(second.next, null);
  assert.equal((await engine.request(`/api/etl/runs/${crypto.randomUUID()}/logs`)).status, 404);
  // and so are chunks
  await engine.sql`insert into etl.chunks (run_id, chunk_no, slice)
    select ${run_id}::uuid, i, '{}' from generate_series(0, 4) as i`;
  const chunks: number[] = [];
  for (let next: string | null = ""; next !== null;) {
    const cursor: string = next === "" ? "" : `&cursor=${next}`;
    const answer = await engine.request(`/api/etl/runs/${run_id}/chunks?limit=2${cursor}`);
    const page: { items: { chunk_no: number }[]; next: string | null } = await answer.json();
    chunks.push(...page.items.map(({ chunk_no }) => chunk_no));
    next = page.next;
  }
  assert.deepEqual(chunks, [0, 1, 2, 3, 4]);
});

Deno.test("health answers while a set-up makes its views anew", async (t) => {
  await using engine = await startEngine(t);
  // the view fails once, as where it was dropped between two statements
  await engine.sql.unsafe(`create sequence public.looks;
    create function public.fails_once() returns boolean language plpgsql as $$
      begin if nextval('public.looks') = 1 then raise undefined_table; end if; return true; end $$;
    alter view public.v_etl_latest_metrics rename to latest_as_it_was;
    create view public.v_etl_latest_metrics as select * from public.latest_as_it_was where (select public.fails_once())`);
  const response = await engine.request("/api/etl/health");
  assert.equal(response.status, 200, await response.text());
  const [looks] = await engine.sql`select last_value::integer as n from public.looks`;
  assert.equal(looks!.n, 2);
});

Deno.test("health says in words what is wrong; livez asks nobody", async (t) => {
  await using engine = await startEngine(t);
  const health = async () => {
    const response = await engine.request("/api/etl/health");
    return { ...await response.json(), status: response.status };
  };
  await engine.sql`drop table etl.leases`;
  const unset = await health();
  assert.equal(unset.status, 503);
  assert.match(unset.problems[0], /missing: etl\.leases; run `deno task setup-db`/);
  await setupDatabase(engine.db.dsn);
  const run = await engine.succeed({ batch_size: 5 });
  const good = await health();
  assert.equal(good.status, 200);
  assert.deepEqual(good.problems, []);
  assert.equal(good.healthy, true);
  assert.ok(Math.abs(Date.parse(good.timestamp) - Date.now()) < 60_000);
  assert.equal(good.checks.db_connectivity.status, "ok");
  assert.deepEqual(good.checks.tables.etl_improved_alerts, { status: "ok", exists: true });
  assert.equal(good.checks.materialized_views.exists, true);
  const { at, age_minutes, ...latestRun } = good.checks.latest_run;
  assert.deepEqual(latestRun, {
    status: "ok",
    run_label: "etl_improved",
    ratio: 1,
    total_rows: 5,
    expected_rows: 5,
  });
  assert.ok(age_minutes <= 1 && Date.parse(at) > 0);
  await engine
    .sql`update public.etl_improved_metrics set created_at = now() - interval '1441 minutes'`;
  assert.match((await health()).checks.latest_run.warning, /1441 minutes old/);
  assert.equal(good.last_run.run_id, run.run_id);
  assert.ok(good.last_run.age_seconds >= 0);
  assert.equal(good.scheduler.in_use, "servers");

  await engine.sql`update etl.run_ends set ended_at = now() - interval '5 minutes'`;
  const { run_id } = await engine.submit({});
  await engine
    .sql`update etl.runs set admitted_at = now() - interval '2 minutes' where run_id = ${run_id}`;
  await engine
    .sql`insert into etl.notification_channels (channel, failing_since, failures, last_error)
    values ('slack', now(), 3, 'answered 500')`;
  const bad = await health();
  assert.equal(bad.status, 503);
  assert.match(bad.problems.join("\n"), /no server has started it/);
  assert.match(bad.problems.join("\n"), /etl_consumer is .* behind/);
  assert.match(bad.warnings.join("\n"), /slack has accepted no message since .* answered 500/);
  assert.equal((await engine.request("/readyz")).status, 200, "this server can work all the same");
  const { now } = Date;
  try {
    for (const [wrongMs, is] of [[60_000, "ahead of"], [-60_000, "behind"]] as const) {
      Date.now = () => now() + wrongMs;
      const { warnings } = await health();
      assert.match(warnings.join("\n"), new RegExp(`clock is \\d+ s ${is} the database's`));
    }
  } finally {
    Date.now = now;
  }

  await engine.sql`drop view public.v_etl_recent_alerts`;
  assert.match((await health()).problems[0], /missing: public\.v_etl_recent_alerts/);
  assert.equal((await engine.request("/livez")).status, 200);
});

// the driver of a stalled connection leaves timers behind
const unsanitized = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "health and the scrape answer within seconds when the database does not",
  unsanitized,
  async (t) => {
    let proxy: ReturnType<typeof tcpProxy> | undefined;
    await using engine = await startEngine(t, {
      dsn: (dsn) => (proxy = tcpProxy({ port: Number(new URL(dsn).port) })).through(dsn),
      workers: 1,
    });
    try {
      await engine.sql`drop table etl.leases`;
      assert.equal((await engine.request("/readyz")).status, 503, "a table is missing");
      proxy!.stall();
      const started = performance.now();
      const [ready, scraped] = await Promise.all([
        engine.request("/readyz"),
        engine.request("/api/etl/metrics"),
      ]);
      assert.equal(ready.status, 503);
      assert.match((await ready.json()).problems[0], /cannot be reached/);
      assert.equal(scraped.status, 200);
      assert.match(await scraped.text(), /^etl_database_up 0$/m);
      assert.ok(performance.now() - started < 12_000);
    } finally {
      proxy!.resume();
    }
    await proxy![Symbol.asyncDispose]();
  },
);
