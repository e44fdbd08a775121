import assert from "node:assert/strict";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { downstreamExample } from "../../pipeline/consumers/downstream_example.ts";
import { startEngine } from "../helpers/engine.ts";
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
