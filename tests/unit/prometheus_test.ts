import assert from "node:assert/strict";
import type { Scrape } from "../../store/metrics.ts";
import { ServerMetrics } from "../../telemetry/integrations/prometheus.ts";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";

const SCRAPE: Scrape = {
  latest: {
    ...{ total_rows: 95, expected_rows: 100, ratio: 0.95, num_chunks: 4, dry_run: true },
    age_seconds: 12.5,
  },
  daily: [
    { day: "2026-01-30", runs: 3, total_rows: 285, ratio_avg: 0.9, low_ratio_count: 1 },
    { day: "2026-01-31", runs: 1, total_rows: null, ratio_avg: 1, low_ratio_count: 0 },
  ],
  alerts: { low_ratio: 2, of_an_older_version: 1 },
  totals: { runs: 40, low_ratio_runs: 6, ratio_avg: null },
  pools: [{ pool: "night", slots: 8, active: 5, waiting: 3 }],
  runnable_runs: 7,
  last_success: 1769900000,
  pending: { run_ends: 1, notifications: 2, deliveries: 3, exports: 4 },
  views_refreshed: 1769900001.5,
};

/** The samples of a scrape by their series, without those of a histogram's buckets. */
async function samples(
  metrics: ServerMetrics,
  scrape: Scrape | null = null,
): Promise<Record<string, string>> {
  const text = await metrics.text(scrape, { workers: 4, workersBusy: 3 });
  return Object.fromEntries(
    text.split("\n").filter((line) =>
      line !== "" && !line.startsWith("#") && !/_bucket\{/.test(line)
    )
      .map((line) => /^(.*) (\S+)$/.exec(line)!.slice(1) as [string, string]),
  );
}

const of = (found: Record<string, string>, pattern: RegExp) =>
  Object.fromEntries(Object.entries(found).filter(([name]) => pattern.test(name)));

Deno.test("a server that has done nothing yet shows each counter as 0, so that rates hold from the first time on", async () => {
  const found = await samples(new ServerMetrics());
  const started = Number(found.process_start_time_seconds);
  assert.ok(Math.abs(started - (Date.now() - performance.now()) / 1000) <= 1, String(started));
  assert.ok(Number(found.process_resident_memory_bytes) > 1e6);
  assert.deepEqual(of(found, /^etl_/), {
    etl_database_up: "0",
    etl_workers: "4",
    etl_workers_busy: "3",
    ...{ etl_retries_total: "0", etl_run_attempts_total: "0" },
    etl_queue_wait_seconds_sum: "0",
    etl_queue_wait_seconds_count: "0",
    ...Object.fromEntries(
      ["succeeded", "failed", "cancelled"].map((
        state,
      ) => [`etl_runs_total{state="${state}"}`, "0"]),
    ),
    ...Object.fromEntries(
      ["inserted", "updated", "unchanged", "rejected", "deleted", "marked"]
        .map((outcome) => [`etl_rows_total{outcome="${outcome}"}`, "0"]),
    ),
    ...Object.fromEntries(
      ["missing", "token", "session", "sign_in", "role", "origin", "limited"].map((
        reason,
      ) => [`etl_auth_failures_total{reason="${reason}"}`, "0"]),
    ),
  });
});

Deno.test("what a server counts: runs, rows, waits, stages, chunks, retries, refusals and requests, in seconds", async () => {
  const metrics = new ServerMetrics();
  const at = (second: number) => `2026-01-31T10:00:${String(second).padStart(2, "0")}.000Z`;
  const run = (attempt: number, started: string | null) =>
    ({
      attempt,
      requested_at: new Date(at(0)),
      started_at: started === null ? null : new Date(started),
    }) as never;
  metrics.attemptStarted(run(1, at(3)));
  metrics.attemptStarted(run(1, null));
  // a clock that went back
  metrics.attemptStarted(run(1, "2026-01-31T09:59:59.000Z"));
  metrics.attemptStarted(run(2, at(9)));
  const task = { startedAt: new Date(), elapsedMs: 1500, ok: true };
  metrics.taskDone(run(1, null), { ...task, kind: "prepare", chunkNo: 0 } as never);
  metrics.taskDone(run(1, null), { ...task, kind: "plan", chunkNo: null } as never);
  metrics.retried();
  metrics.retried();
  const stage = (name: string, from: string | null, to: string | null) => ({
    ...{ stage: name, started_at: from, ended_at: to },
  });
  const ended = { requested_at: at(0), started_at: at(3), ended_at: at(8), dry_run: false };
  metrics.runEnded({
    run: { ...ended, state: "succeeded", counts: { inserted: 5, rejected: 2 } },
    stages: [
      stage("extract", at(3), at(5)),
      stage("load", at(5), null),
      stage("chunk", null, null),
    ],
  } as never);
  metrics.runEnded({
    run: { ...ended, state: "succeeded", dry_run: true, counts: { inserted: 100 } },
    stages: [],
  } as never);
  metrics.runEnded({ run: { ...ended, state: "failed", counts: null }, stages: [] } as never);
  // a clock that went back
  const earlier = { ...ended, ended_at: "2026-01-31T09:59:00.000Z", counts: null };
  metrics.runEnded({ run: { ...earlier, state: "cancelled" }, stages: [] } as never);
  metrics.refused("token");
  metrics.httpAnswered({ method: "GET", route: "/api/etl/runs/:id", status: 404, ms: 250 });
  const found = await samples(metrics);
  const counted = Object.fromEntries(
    Object.entries(of(found, /^etl_/)).filter(([name, value]) =>
      value !== "0" && !name.startsWith("etl_workers")
    ),
  );
  const http = '{method="GET",route="/api/etl/runs/:id",status="404"}';
  assert.deepEqual(counted, {
    etl_run_attempts_total: "4",
    etl_queue_wait_seconds_sum: "3",
    etl_queue_wait_seconds_count: "2",
    'etl_chunk_duration_seconds_sum{task="prepare"}': "1.5",
    'etl_chunk_duration_seconds_count{task="prepare"}': "1",
    etl_retries_total: "2",
    'etl_runs_total{state="succeeded"}': "2",
    'etl_runs_total{state="failed"}': "1",
    'etl_runs_total{state="cancelled"}': "1",
    'etl_run_duration_seconds_count{state="cancelled"}': "1",
    'etl_rows_total{outcome="inserted"}': "5",
    'etl_rows_total{outcome="rejected"}': "2",
    'etl_run_duration_seconds_sum{state="succeeded"}': "16",
    'etl_run_duration_seconds_count{state="succeeded"}': "2",
    'etl_run_duration_seconds_sum{state="failed"}': "8",
    'etl_run_duration_seconds_count{state="failed"}': "1",
    'etl_stage_duration_seconds_sum{stage="extract"}': "2",
    'etl_stage_duration_seconds_count{stage="extract"}': "1",
    'etl_auth_failures_total{reason="token"}': "1",
    [`etl_http_request_duration_seconds_sum${http}`]: "0.25",
    [`etl_http_request_duration_seconds_count${http}`]: "1",
  });
});

Deno.test("what the database says is shown as it says it: the newest run, days, alerts, pools, pending work", async () => {
  const own = Object.keys(await samples(new ServerMetrics()));
  const found = await samples(new ServerMetrics(), SCRAPE);
  assert.equal(found.etl_database_up, "1");
  const alerts = of(found, /^etl_alerts_24h_count/);
  assert.deepEqual(
    Object.keys(alerts).length,
    Object.keys(ALERT_KINDS).length + 1,
    "every kind is there before it happened",
  );
  assert.deepEqual(Object.entries(alerts).filter(([, value]) => value !== "0"), [
    ['etl_alerts_24h_count{kind="low_ratio"}', "2"],
    ['etl_alerts_24h_count{kind="of_an_older_version"}', "1"],
  ]);
  const others = Object.fromEntries(
    Object.entries(found).filter(([name]) => !own.includes(name) && !(name in alerts)),
  );
  assert.deepEqual(others, {
    etl_latest_total_rows: "95",
    etl_latest_expected_rows: "100",
    etl_latest_ratio: "0.95",
    etl_latest_num_chunks: "4",
    etl_latest_run_age_seconds: "12.5",
    etl_latest_dry_run: "1",
    'etl_daily_runs{day="2026-01-30"}': "3",
    'etl_daily_runs{day="2026-01-31"}': "1",
    'etl_daily_total_rows{day="2026-01-30"}': "285",
    'etl_daily_total_rows{day="2026-01-31"}': "0",
    'etl_daily_ratio_avg{day="2026-01-30"}': "0.9",
    'etl_daily_ratio_avg{day="2026-01-31"}': "1",
    'etl_daily_low_ratio_count{day="2026-01-30"}': "1",
    'etl_daily_low_ratio_count{day="2026-01-31"}': "0",
    etl_total_runs_all_time: "40",
    etl_low_ratio_runs_all_time: "6",
    // there is none
    etl_avg_ratio_all_time: "Nan",
    'etl_pool_slots{pool="night"}': "8",
    'etl_pool_active_runs{pool="night"}': "5",
    'etl_queued_runs{pool="night"}': "3",
    etl_runnable_runs: "7",
    'etl_pending_reactions{kind="run_ends"}': "1",
    'etl_pending_reactions{kind="notifications"}': "2",
    'etl_pending_reactions{kind="deliveries"}': "3",
    'etl_pending_reactions{kind="exports"}': "4",
    etl_last_success_timestamp_seconds: "1769900000",
    etl_views_refreshed_timestamp_seconds: "1769900001.5",
  });
  const empty = await samples(new ServerMetrics(), {
    ...SCRAPE,
    ...{ latest: null, daily: [], last_success: null, views_refreshed: null },
  });
  assert.deepEqual(of(empty, /^etl_(latest|daily|last|views)/), {}, "nothing is made up");
  const latest = { ...SCRAPE.latest!, expected_rows: null };
  const partly = await samples(new ServerMetrics(), { ...SCRAPE, latest });
  assert.equal(partly.etl_latest_expected_rows, undefined);
});
