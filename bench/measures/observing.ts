import type { Measure, Row } from "../bench.ts";
import { median, quantile, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const HISTORY_ROWS = 1_000_000;
const REQUESTS = 100;
const MAX_MEDIAN_MS = 20;

export const observing: Measure = {
  name: "observing",
  about: `history, latest and scrape with ${
    HISTORY_ROWS.toLocaleString("en-US")
  } rows in etl_improved_metrics, against select 1`,
  run: measureObserving,
};

const PATHS = {
  "history": "/api/metrics/history",
  "history, one label": "/api/metrics/history?run_label=label_7",
  "history, dry runs of a week":
    "/api/metrics/history?dry_run=true&start=2025-02-01&end=2025-02-08",
  "history, failed runs": "/api/metrics/history?status=failed",
  "latest": "/api/metrics/latest",
  "scrape": "/api/etl/metrics",
};

async function measureObserving(world: World): Promise<Row[]> {
  await fillHistory(world);
  await using server = await world.server();
  const rows: Row[] = [];
  for (const [name, path] of Object.entries(PATHS)) {
    const ask = async () => {
      const response = await fetch(server.address + path);
      if (response.status !== 200) throw new Error(`${path} answered ${response.status}`);
      await response.arrayBuffer();
    };
    const one = () => world.db.query("select 1");
    const ours: number[] = [];
    const baseline: number[] = [];
    for (let i = -10; i < REQUESTS; i++) {
      const [took, least] = [await timed(ask), await timed(one)];
      if (i < 0) continue; // the first ones compile and fill caches
      ours.push(took);
      baseline.push(least);
    }
    const [middle, least] = [median(ours), median(baseline)];
    rows.push({
      measure: `${name}, ${HISTORY_ROWS.toLocaleString("en-US")} rows of history`,
      baseline: rounded(least),
      ours: rounded(middle),
      unit: "ms",
      ratio: rounded(middle / least),
      target: `at most ${MAX_MEDIAN_MS} ms at the median`,
      ok: middle <= MAX_MEDIAN_MS,
      detail: { p95_ms: rounded(quantile(ours, 0.95)) },
    });
  }
  await world.db.query("truncate public.etl_improved_metrics");
  return rows;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** 90 days of runs of 20 labels in public and three other schemas. */
async function fillHistory(world: World): Promise<void> {
  const { db } = world;
  const schemas = ["public", "bench_a", "bench_b", "bench_c"];
  for (const [i, schema] of schemas.entries()) {
    world.log(`filling ${schema}.etl_improved_metrics`);
    await db.query(
      "select etl.ensure_destination($1, 'etl_improved_events', 'etl_improved_audit')",
      [schema],
    );
    await db.query(
      `insert into ${schema}.etl_improved_metrics (run_id, run_label, status, total_rows, expected_rows, ratio, low_ratio,
         num_chunks, dry_run, inserted, schema_name, table_name, duration_ms, requested_at, started_at, created_at, stages)
       select etl.uuid7(), 'label_' || n % 20, case when n % 50 = 0 then 'failed' else 'succeeded' end, 500, 500,
         case when n % 50 = 0 then null else 1 end, n % 97 = 0, 1, n % 211 = 0, 500, $1, 'etl_improved_events', 800,
         at, at, at, '{"load": {"state": "succeeded", "busy_ms": 35.3, "records_in": 500, "records_out": 500}}'
       from generate_series($2::int, $3::int - 1, 4) as n
       cross join lateral (select timestamptz '2025-03-31 UTC' - ($3::int - n) * interval '90 days' / $3::int as at) as t`,
      [schema, i, HISTORY_ROWS],
    );
    await db.query(`vacuum analyze ${schema}.etl_improved_metrics`);
  }
  await db.query("select public.refresh_etl_mvs()");
}
