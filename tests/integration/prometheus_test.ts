import assert from "node:assert/strict";
import { consumeEnds } from "../helpers/reacting.ts";
import { startEngine } from "../helpers/engine.ts";
import { startServer } from "../helpers/server.ts";
import { prometheusIsInstalled, startPrometheus } from "../helpers/prometheus.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

type Engine = Awaited<ReturnType<typeof startEngine>>;

/** Names whose type is another than gauge, of those of the database. */
const COUNTERS = ["etl_total_runs_all_time", "etl_low_ratio_runs_all_time"];

async function samples(engine: Engine): Promise<Map<string, number>> {
  const text = await (await engine.request("/api/etl/metrics")).text();
  for (
    const [, name, type] of text.matchAll(
      /^# TYPE (etl_(?:latest|daily|alerts|total|low|avg)\S+) (\w+)$/gm,
    )
  ) {
    assert.equal(type, COUNTERS.includes(name!) ? "counter" : "gauge", name!);
  }
  return new Map(
    text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

Deno.test("the scrape has every name of the original, with the figures of the runs", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  for (const batch of [10, 20]) {
    await engine.succeed({ batch_size: batch });
    await consumeEnds(sql);
  }
  const [{ succeeded }] = await sql<
    [{ succeeded: Date }]
  >`select max(ended_at) as succeeded from etl.runs`;
  await engine.runToEnd({
    batch_size: 4,
    source: { type: "inline", key: "id", records: [{ id: 1 }, { id: 2 }] },
  });
  await consumeEnds(sql);
  await engine.succeed({ batch_size: 40, dry_run: true });
  await sql`update etl.pools set slots = 1`;
  // a replay counts as a run, and in no other figure
  await sql`insert into public.etl_improved_metrics (run_id, total_rows, ratio, replay_of, created_at)
    select gen_random_uuid(), 1, 0.1, gen_random_uuid(), min(created_at) from public.etl_improved_metrics`;
  // one has the pool's place, two wait
  for (const run_label of ["a", "b", "c"]) await engine.submit({ batch_size: 1, run_label });
  await sql`insert into public.etl_improved_metrics (run_id, total_rows, ratio, created_at) values (gen_random_uuid(), 1, 1, now() - interval '7 days')`;
  await sql`insert into public.etl_improved_alerts (kind, message, created_at) values ('low_ratio', 'm', now() - interval '25 hours')`;
  await sql`select public.refresh_etl_mvs()`;
  // as the original's panels ask
  const [panel] =
    await sql`select num_runs::int, total_rows_sum::int, expected_rows_sum::int, ratio_max, ratio_min,
    low_ratio_count::int, dry_run_count::int, chunks_sum::int, last_run_at is not null as dated
    from public.mv_etl_metrics_daily where day > now() - interval '2 days'`;
  assert.deepEqual({ ...panel }, {
    num_runs: 4,
    total_rows_sum: 32,
    expected_rows_sum: 34,
    ratio_max: 1,
    ratio_min: 0.5,
    low_ratio_count: 1,
    dry_run_count: 1,
    chunks_sum: 3,
    dated: true,
  });
  const [alerts] =
    await sql`select kind, alert_count::int as n from public.mv_etl_alerts_daily order by day desc limit 1`;
  assert.deepEqual({ ...alerts }, { kind: "low_ratio", n: 1 });
  const columns = await sql<{ names: string }[]>`
    select string_agg(attname, ',' order by attnum) as names from pg_attribute
    where attrelid = 'public.mv_etl_metrics_daily'::regclass and attnum > 0`;
  assert.match(
    columns[0]!.names,
    /^day,num_runs,total_rows_sum,total_rows_avg,expected_rows_sum,expected_rows_avg,ratio_avg,ratio_min,ratio_max,low_ratio_count,dry_run_count,chunks_sum,last_run_at,/,
  );
  const values = await samples(engine);
  const day = new Date().toISOString().slice(0, 10);
  const expected: Record<string, number> = {
    etl_latest_total_rows: 40,
    etl_latest_expected_rows: 40,
    etl_latest_ratio: 1,
    etl_latest_num_chunks: 1,
    etl_latest_dry_run: 1,
    [`etl_daily_runs{day="${day}"}`]: 3,
    [`etl_daily_total_rows{day="${day}"}`]: 32,
    [`etl_daily_ratio_avg{day="${day}"}`]: 2.5 / 3,
    [`etl_daily_low_ratio_count{day="${day}"}`]: 1,
    'etl_alerts_24h_count{kind="low_ratio"}': 1,
    'etl_alerts_24h_count{kind="run_failed"}': 0,
    etl_total_runs_all_time: 6,
    etl_low_ratio_runs_all_time: 1,
    etl_avg_ratio_all_time: 3.5 / 4,
    etl_database_up: 1,
    'etl_pool_slots{pool="default_pool"}': 1,
    'etl_pool_active_runs{pool="default_pool"}': 1,
    'etl_queued_runs{pool="default_pool"}': 2,
    // neither a dry run nor one that failed
    etl_last_success_timestamp_seconds: succeeded.getTime() / 1_000,
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(
      Math.abs((values.get(name) ?? NaN) - value) < (name.includes("timestamp") ? 0.002 : 1e-9),
      `${name} is ${values.get(name)}, not ${value}`,
    );
  }
  const past = new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 10);
  assert.ok(![...values.keys()].some((name) => name.includes(past)), "the days of a week only");
  assert.ok(values.get("etl_latest_run_age_seconds")! < 60);
});

Deno.test("all-time figures are those of the rows, whatever is written to them, plus the deleted ones", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`select etl.ensure_destination('other', 'etl_improved_events', 'etl_improved_audit')`;
  const check = async (what: string) => {
    const [got] =
      await sql`select coalesce(sum(runs), 0)::int as runs, coalesce(sum(low_ratio_runs), 0)::int as low,
      coalesce(sum(ratio_runs), 0)::int as ratios, coalesce(round(sum(ratio_sum)::numeric, 6), 0)::float as sum from etl.metrics_totals`;
    const [real] =
      await sql`select count(*)::int as runs, count(*) filter (where low_ratio and counts)::int as low,
      count(*) filter (where counts)::int as ratios, coalesce(round((sum(ratio) filter (where counts))::numeric, 6), 0)::float as sum
      from (select *, not dry_run and replay_of is null and ratio is not null as counts from public.etl_improved_metrics) as m`;
    assert.deepEqual({ ...got }, { ...real }, what);
  };
  const fill = (schema: string, count: number) =>
    sql`insert into ${
      sql(schema)
    }.etl_improved_metrics (run_id, ratio, low_ratio, dry_run, replay_of)
      select gen_random_uuid(), case when i % 7 > 0 then (i % 10) / 10.0 end, i % 3 = 0, i % 5 = 0,
        case when i % 11 = 0 then gen_random_uuid() end from generate_series(1, ${count}::int) as i`;
  await fill("public", 100);
  await check("insert");
  await fill("other", 50);
  await check("insert into a child");
  await sql`update public.etl_improved_metrics set ratio = coalesce(ratio, 0) / 2, low_ratio = not low_ratio, dry_run = run_id::text > '8'`;
  await check("update through the parent");
  await sql`update other.etl_improved_metrics set ratio = null where low_ratio`;
  await check("update of a child");
  await sql`delete from public.etl_improved_metrics where run_id::text < '4'`;
  await check("delete through the parent");
  await sql`truncate other.etl_improved_metrics`;
  await check("truncate of a child");
  await sql`insert into public.etl_improved_metrics (run_id, ratio) select run_id, 1 from public.etl_improved_metrics
    on conflict (run_id) do update set ratio = excluded.ratio`;
  await check("upsert");
  await engine.succeed({ batch_size: 5, schema_name: "third" });
  await check("a run into a new schema");

  const before = (await samples(engine)).get("etl_total_runs_all_time")!;
  await sql`
    with deleted as (delete from public.etl_improved_metrics returning run_id)
    update etl.totals set runs = runs + (select count(*) from deleted)`;
  assert.equal(
    (await samples(engine)).get("etl_total_runs_all_time"),
    before,
    "retention changes nothing",
  );
});

Deno.test("the server counts runs, stages, chunks and requests", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  const post = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ batch_size: 20, chunk_size: 5 }),
  });
  const run = await post.json();
  assert.equal(run.state, "succeeded");
  await (await fetch(`${server.address}/api/etl/runs/${run.run_id}`)).body?.cancel();
  await (await fetch(`${server.address}/nowhere/${crypto.randomUUID()}`)).body?.cancel();
  const text = await waitFor(async () => {
    const answer = await (await fetch(`${server.address}/api/etl/metrics`)).text();
    return answer.includes('etl_runs_total{state="succeeded"} 1') ? answer : null;
  });
  for (
    const line of [
      'etl_rows_total{outcome="inserted"} 20',
      'etl_chunk_duration_seconds_count{task="prepare"} 4',
      'etl_chunk_duration_seconds_count{task="publish"} 4',
      'etl_stage_duration_seconds_count{stage="load"} 1',
      "etl_queue_wait_seconds_count 1",
      "etl_retries_total 0",
      'etl_http_request_duration_seconds_count{method="GET",route="/api/etl/runs/:id",status="200"} 1',
      'etl_http_request_duration_seconds_count{method="GET",route="other",status="404"} 1',
    ]
  ) {
    assert.ok(text.includes(`\n${line}\n`), `${line} in\n${text}`);
  }
  assert.match(text, /^etl_last_success_timestamp_seconds \d+/m);
  assert.ok(!text.includes(run.run_id), "no ids in labels");
});

Deno.test("each scrape asks the database anew; several at once share one answer", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const rows = async () => (await samples(engine)).get("etl_latest_total_rows");
  const add = (total: number) =>
    engine
      .sql`insert into public.etl_improved_metrics (run_id, total_rows, ratio) values (gen_random_uuid(), ${total}, 1)`;
  await add(3);
  assert.deepEqual(await Promise.all([rows(), rows()]), [3, 3]);
  await add(4);
  assert.equal(await rows(), 4);
});

Deno.test({
  name:
    "promtool finds nothing wrong but names of the original: two that end in _count, two counters without _total",
  ignore: !prometheusIsInstalled(),
  fn: async (t) => {
    await using engine = await startEngine(t);
    await engine.succeed({ batch_size: 5 });
    await consumeEnds(engine.sql);
    await engine.sql`select public.refresh_etl_mvs()`;
    const response = await engine.request("/api/etl/metrics");
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    const child = new Deno.Command("/usr/bin/promtool", {
      args: ["check", "metrics"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
    const { stdout, stderr } = await child.output();
    const found = (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr))
      .split("\n").filter((line) => line.trim() !== "").sort();
    assert.deepEqual(found.map((line) => line.split(" ")[0]), [
      "etl_alerts_24h_count",
      "etl_daily_low_ratio_count",
      "etl_low_ratio_runs_all_time",
      "etl_total_runs_all_time",
    ], found.join("\n"));
  },
});

Deno.test({
  name: "a real Prometheus scrapes the server and answers queries over it",
  ignore: !prometheusIsInstalled(),
  fn: async (t) => {
    await using db = await testDatabase(t);
    await using server = await startServer({ dsn: db.dsn });
    const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ batch_size: 33 }),
    });
    assert.equal((await answer.json()).state, "succeeded");
    await using prometheus = await startPrometheus({ target: new URL(server.address).host });
    const value = async (expression: string) => (await prometheus.query(expression))[0]?.value;
    await waitFor(async () => await value("sum(etl_runs_total)") === "1", { timeoutMs: 30_000 });
    assert.equal(await value("etl_latest_total_rows"), "33");
    assert.equal(await value("etl_total_runs_all_time"), "1");
  },
});
