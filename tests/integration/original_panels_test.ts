import assert from "node:assert/strict";
import { parse } from "yaml";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { startEngine } from "../helpers/engine.ts";
import { expandSql } from "../helpers/grafana.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { consumeEnds } from "../helpers/reacting.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

/** What users of the original have in Grafana and in their scripts; columns that each has to answer with. */
const PANELS: [title: string, sql: string, columns: string[]][] = [
  ["latest run", "select * from v_etl_latest_metrics", [
    "run_label",
    "total_rows",
    "expected_rows",
    "ratio",
    "num_chunks",
    "dry_run",
    "at",
  ]],
  [
    "age of the latest run",
    "select extract(epoch from now() - at) / 60 as minutes, ratio from v_etl_latest_metrics",
    [
      "minutes",
      "ratio",
    ],
  ],
  [
    "runs a day",
    "select day as time, num_runs, dry_run_count from mv_etl_metrics_daily where $__timeFilter(day) order by day",
    [
      "time",
      "num_runs",
      "dry_run_count",
    ],
  ],
  [
    "rows a day",
    "select day as time, total_rows_sum, total_rows_avg, expected_rows_sum, expected_rows_avg, chunks_sum from mv_etl_metrics_daily where $__timeFilter(day) order by day",
    [
      "time",
      "total_rows_sum",
      "total_rows_avg",
      "expected_rows_sum",
      "expected_rows_avg",
      "chunks_sum",
    ],
  ],
  [
    "ratio a day",
    "select day as time, ratio_avg, ratio_min, ratio_max, low_ratio_count from mv_etl_metrics_daily where $__timeFilter(day) order by day",
    [
      "time",
      "ratio_avg",
      "ratio_min",
      "ratio_max",
      "low_ratio_count",
    ],
  ],
  [
    "alerts a day",
    "select day as time, kind as metric, alert_count, last_alert_at from mv_etl_alerts_daily where $__timeFilter(day) order by 1, 2",
    [
      "time",
      "metric",
      "alert_count",
      "last_alert_at",
    ],
  ],
  ["recent alerts", "select * from v_etl_recent_alerts", [
    "kind",
    "message",
    "run_label",
    "ratio",
    "at",
  ]],
  [
    "ratio of each run",
    "select at as time, run_label as metric, ratio, id from etl_improved_metrics where $__timeFilter(at) order by at",
    [
      "time",
      "metric",
      "ratio",
      "id",
    ],
  ],
  [
    "rows loaded an hour",
    "select date_trunc('hour', at) as time, run_label, sum(num_rows)::bigint as rows, max(id) as id from etl_improved_audit where num_rows is not null and $__timeFilter(at) group by 1, 2",
    [
      "time",
      "run_label",
      "rows",
      "id",
    ],
  ],
  [
    "drops",
    "select at as time, id, kind, message, run_label, ratio, avg_ratio, threshold_pct from etl_improved_alerts where $__timeFilter(at) order by at desc",
    [
      "time",
      "id",
      "kind",
      "message",
      "run_label",
      "ratio",
      "avg_ratio",
      "threshold_pct",
    ],
  ],
];

/** All panels on an original installation that was taken over, as a role that only reads. */
async function panelsOf(dsn: string) {
  const role = `reader_${crypto.randomUUID().slice(0, 8)}`;
  await withClient(dsn, async (client) => {
    await client.query(await read("tests/fixtures/original_installation.sql"));
    await client.query("update public.etl_improved_alerts set at = now() where id = 40");
    const counted = await client.query(
      "select (select max(id) from etl_improved_metrics) as runs, (select sum(num_rows)::bigint from etl_improved_audit) as loaded",
    );
    await client.query(`create role ${role} login password 'p'`);
    await setupDatabase(dsn, { reader: role });
    const url = new URL(dsn);
    [url.username, url.password] = [role, "p"];
    const seen = new Map<string, Record<string, unknown>[]>();
    try {
      await withClient(url.href, async (reader) => {
        for (const [title, sql, columns] of PANELS) {
          const context = {
            from: new Date("2024-01-01Z"),
            to: new Date(Date.now() + 86_400_000),
            intervalSeconds: 60,
            variables: {},
          };
          const { rows, fields } = await reader.query(expandSql(sql, context));
          assert.deepEqual(fields.map(({ name }) => name).slice(0, columns.length), columns, title);
          assert.ok(rows.length > 0, `${title} shows nothing`);
          for (const row of rows) {
            for (const column of columns) assert.notEqual(row[column], null, `${title}: ${column}`);
          }
          seen.set(title, rows);
        }
      });
    } finally {
      await client.query(`drop owned by ${role}; drop role ${role}`);
    }
    const rows = (title: string) => seen.get(title)!;
    const sum = (title: string, column: string) =>
      rows(title).reduce((total, row) => total + Number(row[column]), 0);
    assert.equal(sum("runs a day", "num_runs"), 300);
    assert.equal(sum("rows a day", "total_rows_sum"), 270 * 500 + 30 * 450);
    assert.equal(sum("ratio a day", "low_ratio_count"), 30);
    assert.equal(sum("alerts a day", "alert_count"), 40);
    assert.equal(sum("rows loaded an hour", "rows"), Number(counted.rows[0].loaded));
    // ids stay what they were
    assert.equal(Number(rows("ratio of each run").at(-1)!.id), Number(counted.rows[0].runs));
    assert.equal(Number(rows("drops")[0]!.id), 40);
    const { avg_ratio, threshold_pct, ratio } = rows("drops")[0]!;
    assert.deepEqual({ avg_ratio, threshold_pct, ratio }, {
      avg_ratio: 0.9,
      threshold_pct: 20,
      ratio: 0.7,
    });
    assert.equal(rows("recent alerts").length, 1, "the last 24 hours");
  });
}

Deno.test("panels and scripts of the original's users go on after the take-over", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await panelsOf(db.dsn);
});

Deno.test({
  name: "panels and scripts of the original's users go on after the take-over, on PostgreSQL 15",
  ignore: !(await debian15IsInstalled()),
  fn: async () => {
    await using cluster = await ownCluster({ kind: "debian15" });
    await panelsOf(cluster.dsn);
  },
});

Deno.test("runs of ours have the original's names in every schema; its ServiceMonitor's path answers", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await engine.succeed({ batch_size: 7 });
  await engine.succeed({ batch_size: 5, schema_name: "sales" });
  await engine.succeed({ batch_size: 9, dry_run: true });
  await engine.runToEnd({
    batch_size: 4,
    source: { type: "inline", key: "id", records: [{ id: 1 }] },
  });
  await consumeEnds(sql);
  const runs = await sql`
    select id::int, at = created_at as same, total_rows::int from public.etl_improved_metrics order by at`;
  assert.deepEqual(
    runs.map((row) => ({ ...row })),
    [7, 5, 9, 1].map((total_rows, i) => ({
      id: i + 1,
      same: true,
      total_rows,
    })),
  );
  const loaded = await sql`
    select num_rows::int, id = audit_id as same from public.etl_improved_audit where num_rows is not null order by at`;
  assert.deepEqual(
    loaded.map((row) => ({ ...row })),
    [7, 5, 1].map((num_rows) => ({
      num_rows,
      same: true,
    })),
  );
  const [alert] = await sql`select kind, ratio, run_label from public.v_etl_recent_alerts`;
  assert.deepEqual({ ...alert }, { kind: "low_ratio", ratio: 0.25, run_label: "etl_improved" });
  const monitor = parse(await read("deploy/observability/servicemonitors/etl-metrics.yaml"));
  const response = await engine.request(monitor.spec.endpoints[0].path);
  assert.equal(monitor.spec.endpoints[0].path, "/api/etl/metrics");
  assert.match(await response.text(), /^etl_latest_total_rows 1$/m);
});
