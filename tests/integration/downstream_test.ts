import assert from "node:assert/strict";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { downstreamExample } from "../../pipeline/consumers/downstream_example.ts";
import { createLog } from "../../telemetry/log.ts";
import { startEngine } from "../helpers/engine.ts";
import { withClient } from "../helpers/query.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("etl_downstream_example writes a report after a run, readable at /api/reports/latest", async (t) => {
  await using engine = await startEngine(t);
  await using _reacting = await startReacting(engine, { consumers: [downstreamExample] });
  assert.equal((await engine.request("/api/reports/latest")).status, 404);
  const run = await engine.succeed({ batch_size: 50 });
  const response = await waitFor(async () => {
    const answer = await engine.request("/api/reports/latest");
    return answer.status === 200 ? answer : null;
  });
  const report = await response.json();
  assert.equal(report.consumer, "etl_downstream_example");
  assert.equal(report.analysis_type, "daily_summary");
  assert.deepEqual(report.run_ids, [run.run_id]);
  assert.equal(report.report.metrics.run_id, run.run_id);
  const [counted] = await engine.sql`
    select count(*)::int as events, event_date::text as day from public.etl_improved_events
    group by event_date order by event_date desc limit 1`;
  assert.equal(report.report.events, counted!.events);
  assert.equal(report.report.day, counted!.day);
  const types = report.report.top_event_types as { events: number }[];
  assert.equal(types.reduce((sum, type) => sum + type.events, 0), counted!.events);
});

Deno.test("POST /api/etl/downstream runs it now, with its parameters checked", async (t) => {
  await using engine = await startEngine(t);
  await using _reacting = await startReacting(engine, { consumers: [downstreamExample] });
  const wrong = await engine.post("/api/etl/downstream", { top_n: 0, topn: 3 });
  assert.equal(wrong.status, 422);
  assert.equal(wrong.headers.get("content-type"), "application/problem+json");
  const fields = ((await wrong.json()).errors as { field: string }[]).map((error) => error.field);
  assert.deepEqual(fields.sort(), ["top_n", "topn"]);
  const form = await engine.request("/api/etl/downstream", { method: "POST", body: "top_n=3" });
  assert.equal(form.status, 415);

  const asked = await engine.post("/api/etl/downstream", { top_n: 2 });
  assert.deepEqual([asked.status, (await asked.json()).state], [202, "pending"]);
  assert.match(asked.headers.get("location")!, /^\/api\/deliveries\/\d+$/);
  await engine.succeed({ batch_size: 20 });
  const first = await (await engine.post("/api/etl/downstream?wait=true", { top_n: 2 })).json();
  assert.equal(first.state, "done");
  const answer = await engine.post("/api/etl/downstream?wait=true", { top_n: 2, cleanup: true });
  assert.equal(answer.status, 200);
  const delivery = await answer.json();
  assert.equal(delivery.state, "done");
  assert.deepEqual(delivery.result.removed, { tables: 0 });
  const reports = await engine.sql`select report_id::int as id, report from etl.reports order by 1`;
  assert.equal(reports.at(-1)!.id, delivery.result.report_id);
  assert.ok(reports.some(({ id }) => id === first.result.report_id), "older reports stay");
  assert.equal(reports.at(-1)!.report.top_event_types.length, 2);
  const of = async (consumer: string) =>
    (await engine.request(`/api/reports/latest?consumer=${consumer}`)).status;
  assert.deepEqual([await of("etl_downstream_example"), await of("another")], [200, 404]);
  const shown = await engine.request(answer.headers.get("location")!);
  assert.equal((await shown.json()).state, "done");
});

Deno.test("a report is of the newest day, by type, or of days unlike the others; another name is a consumer's", async (t) => {
  await using engine = await startEngine(t);
  const own = defineConsumer({
    name: "my_analysis",
    datasets: [],
    params: z.object({ depth: z.number().default(1) }),
    run: async ({ params }) => await Promise.resolve({ depth: params.depth }),
  });
  await using _reacting = await startReacting(engine, { consumers: [downstreamExample, own] });
  const day = (n: number) => `2026-01-${String(n).padStart(2, "0")}`;
  const records = Array.from({ length: 20 }, (_, n) => n + 1).flatMap((n) =>
    Array.from(
      { length: n === 20 ? 30 : 2 },
      (_, i) => ({ id: `${n}-${i}`, ts: day(n), kind: i % 2 ? "odd" : "even" }),
    )
  );
  await engine.succeed({
    source: {
      type: "inline",
      key: "id",
      occurred_at: "ts",
      event_type: { field: "kind" },
      records,
    },
  });
  const made = async (body: object) =>
    await (await engine.post("/api/etl/downstream?wait=true", body)).json();
  const latest = async (type: string) =>
    (await (await engine.request(`/api/reports/latest?analysis_type=${type}`)).json()).report;
  assert.equal((await made({ analysis_type: "by_type", top_n: 1 })).state, "done");
  const types = await latest("by_type");
  assert.equal(types.events, 68);
  assert.deepEqual(
    types.types.map(({ event_type, events }: Record<string, unknown>) => [event_type, events]),
    [["even", 34]],
  );
  assert.equal((await made({ analysis_type: "anomalies" })).state, "done");
  const { anomalies, days } = await latest("anomalies");
  assert.equal(days, 20);
  assert.deepEqual(anomalies.map(({ day, events }: Record<string, unknown>) => [day, events]), [[
    "2026-01-20",
    30,
  ]]);
  assert.equal((await made({ analysis_type: "daily_summary", top_n: 3 })).state, "done");
  const summary = await latest("daily_summary");
  assert.deepEqual(
    [summary.day, summary.events, summary.first_at, summary.last_at],
    [day(20), 30, `${day(20)}T00:00:00.000Z`, `${day(20)}T00:00:00.000Z`],
  );
  assert.deepEqual(summary.top_event_types, [
    { event_type: "even", events: 15 },
    { event_type: "odd", events: 15 },
  ]);
  assert.deepEqual(summary.days, [
    { day: day(20), events: 30 },
    { day: day(19), events: 2 },
    { day: day(18), events: 2 },
  ]);
  await engine.sql`truncate public.etl_improved_events`;
  assert.equal((await made({})).state, "done");
  const { day: none, events, days: noDays } = await latest("daily_summary");
  assert.deepEqual([none, events, noDays], [null, 0, []]);
  const mine = await made({ analysis_type: "my_analysis", depth: 3 });
  assert.deepEqual([mine.consumer, mine.result], ["my_analysis", { depth: 3 }]);
  const wrong = await engine.post("/api/etl/downstream", { analysis_type: "weekly" });
  assert.equal(wrong.status, 422);
  assert.match(
    (await wrong.json()).detail,
    /daily_summary, by_type, anomalies, or a consumer: .*my_analysis/,
  );
});

Deno.test("several runs that ended while a report was made share the next one", async (t) => {
  await using engine = await startEngine(t);
  {
    await using _registered = await startReacting(engine, { consumers: [downstreamExample] });
  }
  for (const batch of [5, 10, 15]) await engine.succeed({ batch_size: batch });
  await using _reacting = await startReacting(engine, { consumers: [downstreamExample] });
  await waitFor(
    async () => (await engine.sql`select from etl.deliveries where state = 'pending'`).length === 0,
  );
  const reports = await engine.sql`select run_ids, report from etl.reports`;
  assert.equal(reports.length, 1);
  assert.equal(reports[0]!.run_ids.length, 3);
  assert.deepEqual(reports[0]!.report.loaded, {
    runs: 3,
    inserted: 15,
    updated: 0,
    unchanged: 15,
    deleted: 0,
    marked: 0,
  });
});

Deno.test("a report counts what its dataset holds, the most and the oddest first, and says who loaded it", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const log = createLog({ level: "error", format: "text", write: () => {} });
  const event = {
    event_no: 1,
    dataset: "public.etl_improved_events",
    run_id: crypto.randomUUID(),
    emitted_by: "etl_improved",
    counts: { inserted: 5, updated: 4, unchanged: 3, deleted: 2, marked: 1 } as Record<
      string,
      number
    >,
    schema: null,
    schema_changed: false,
    created_at: "2026-01-01T00:00:00.000Z",
  };
  await withClient(engine.db.dsn, async (db) => {
    const made = async (given: object, events = [event]) => {
      const params = downstreamExample.parseParams(given);
      const emit = () => Promise.resolve();
      const { signal } = new AbortController();
      const result = await downstreamExample.run({ events, params, db, emit, log, signal });
      const [{ report, run_ids } = {} as never] = await sql<
        { report: Record<string, unknown>; run_ids: string[] }[]
      >`select report, run_ids from etl.reports order by report_id desc limit 1`;
      return { report, run_ids, result: result as { removed?: object } };
    };
    const insert = (day: string, n: number, type = "view", source = "web") =>
      sql`insert into public.etl_improved_events (event_id, event_type, source, occurred_at, event_date, payload, run_id)
        select gen_random_uuid(), ${type}, ${source}, ${day}::timestamptz, ${day}::date, '{}', gen_random_uuid()
        from generate_series(1, ${n})`;
    const days = (of: Record<number, number>) =>
      Promise.all(
        Array.from({ length: 20 }, (_, i) => {
          const day = `2026-01-${String(i + 1).padStart(2, "0")}`;
          return insert(`${day}T00:00:00Z`, of[i + 1] ?? 4);
        }),
      );
    await days({});
    assert.deepEqual((await made({ analysis_type: "anomalies" })).report.anomalies, []);
    await sql`truncate public.etl_improved_events`;
    // the 10th is more than one deviation away, and less than two
    await days({ 3: 15, 10: 11, 18: 20 });
    const anomalies = [
      { day: "2026-01-18", events: 20, deviations: 3.25 },
      { day: "2026-01-03", events: 15, deviations: 2.11 },
    ];
    const odd = await made({ analysis_type: "anomalies" });
    assert.deepEqual(odd.report.anomalies, anomalies);
    assert.deepEqual([odd.report.mean, odd.report.deviation], [5.7, 4.4]);
    const first = await made({ analysis_type: "anomalies", top_n: 1 });
    assert.deepEqual(first.report.anomalies, anomalies.slice(0, 1));

    await sql`truncate public.etl_improved_events`;
    await insert("2026-02-01T01:00:00Z", 5, "click", "web");
    await insert("2026-02-01T02:00:00Z", 3, "click", "app");
    await insert("2026-02-01T03:00:00Z", 2, "view", "web");
    await insert("2026-02-01T04:00:00Z", 2, "view", "web");
    const { report: byType } = await made({ analysis_type: "by_type", top_n: 2 });
    const types = byType.types as Record<string, unknown>[];
    assert.deepEqual(types.map((each) => Object.values(each).length), [6, 6]);
    assert.deepEqual(
      types.map(({ event_type, source, events, first_at, last_at }) =>
        [event_type, source, events, first_at, last_at].join(" ")
      ),
      [
        "click web 5 2026-02-01T01:00:00.000Z 2026-02-01T01:00:00.000Z",
        "view web 4 2026-02-01T03:00:00.000Z 2026-02-01T04:00:00.000Z",
      ],
    );
    assert.equal(byType.events, 12);
    const { report: daily } = await made({ top_n: 1 });
    assert.deepEqual([daily.top_event_types, daily.top_sources], [
      [{ event_type: "click", events: 8 }],
      [{ source: "web", events: 9 }],
    ]);
    for (let i = 0; i < 12; i++) await insert("2026-02-01T05:00:00Z", 1, `type ${i}`);
    const { report: listed, result } = await made({}, []);
    assert.equal((listed.top_event_types as unknown[]).length, 10);
    assert.equal("removed" in result, false, "nothing is cleaned up unasked");

    await db.query("create temporary table left_over (n int)");
    const emitted = { ...event, run_id: null, counts: { inserted: 10 } };
    const last = await made({ cleanup: true }, [event, emitted as never]);
    assert.deepEqual(last.result.removed, { tables: 1 });
    assert.deepEqual(last.run_ids, [event.run_id]);
    const loaded = { runs: 2, inserted: 15, updated: 4, unchanged: 3, deleted: 2, marked: 1 };
    assert.deepEqual(last.report.loaded, loaded);
    await assert.rejects(
      made({}, [{ ...event, dataset: "public.nowhere" }]),
      /^error: analyze_events: relation "public\.nowhere" does not exist/,
    );
  });
  // one report for all events that came meanwhile, and at most one a second
  assert.deepEqual([downstreamExample.mode, downstreamExample.pauseMs], ["batch", 1_000]);
});
