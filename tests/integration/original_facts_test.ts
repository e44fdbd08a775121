import assert from "node:assert/strict";
import { consumerSchema } from "../../pipeline/consumers/params.ts";
import { exportFacts } from "../../store/exports.ts";
import { mlflowRun } from "../../telemetry/integrations/mlflow.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { consumeEnds } from "../helpers/reacting.ts";
import { namedTest } from "../mutants/mutant.ts";

/*
 * Facts of installations of the original in the field, row by row: each is checked here, or names the test
 * that holds it, or the words of docs/airflow_migration.md that say what is different.
 */
type Check = (engine: Engine) => Promise<void>;
type Fact = [fact: string, held: Check | { tests: string[] } | { differs: string }];

const METRIC = "run_label,total_rows,expected_rows,ratio,num_chunks,dry_run,at";

/** Names and types of a relation's columns; of a materialized view too. */
async function columnsOf(engine: Engine, relation: string): Promise<[string, string][]> {
  const rows = await engine.sql<{ name: string; type: string }[]>`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = ${relation}::regclass and attnum > 0 and not attisdropped order by attnum`;
  return rows.map(({ name, type }) => [name, type]);
}

/** The relation can be read with these columns. */
const hasColumns = (relation: string, names: string): Check => async (engine) => {
  const known = (await columnsOf(engine, relation)).map(([name]) => name);
  for (const name of names.split(",")) assert.ok(known.includes(name), `${relation}.${name}`);
  await engine.sql.unsafe(`select ${names} from ${relation}`);
};

/** The relation begins with these columns, in this order. */
const beginsWith = (relation: string, names: string): Check => async (engine) => {
  const known = (await columnsOf(engine, relation)).map(([name]) => name);
  assert.deepEqual(known.slice(0, names.split(",").length), names.split(","));
};

const uniqueOn = (relation: string, names: string): Check => async (engine) => {
  const rows = await engine.sql<{ names: string }[]>`
    select (select string_agg(a.attname, ',' order by a.attnum) from pg_attribute as a
      where a.attrelid = i.indrelid and a.attnum = any (i.indkey)) as names
    from pg_index as i where i.indrelid = ${relation}::regclass and i.indisunique`;
  assert.ok(rows.some((row) => row.names === names), JSON.stringify(rows));
};

async function json(engine: Engine, path: string) {
  const response = await engine.request(path);
  assert.equal(response.status, 200, path);
  return await response.json();
}

const firstMembers = (value: object, names: string) =>
  assert.deepEqual(Object.keys(value).slice(0, names.split(",").length), names.split(","));

const both = (...checks: Check[]): Check => async (engine) => {
  for (const check of checks) await check(engine);
};

const FACTS: Record<string, Fact[]> = {
  tables: [
    ["etl_improved_events: pk, event_time, attributes, inserted_at, updated_at", {
      tests: [
        "integration/migration_test.ts: an original installation is taken over without losing a row",
        "integration/migration_test.ts: tables of other schemas and names are taken over too",
      ],
    }],
    [
      "etl_improved_audit: id, run_label, num_rows, at; a row for each load",
      hasColumns("public.etl_improved_audit", "id,run_label,num_rows,at"),
    ],
    [
      "etl_improved_metrics: id, run_label, …, dry_run, at",
      hasColumns("public.etl_improved_metrics", `id,${METRIC}`),
    ],
    [
      "etl_improved_alerts: id, kind, message, run_label, ratio, avg_ratio, threshold_pct, at",
      hasColumns(
        "public.etl_improved_alerts",
        "id,kind,message,run_label,ratio,avg_ratio,threshold_pct,at",
      ),
    ],
    ["ratios are double precision, times have a zone", async (engine) => {
      const types = Object.fromEntries(await columnsOf(engine, "public.etl_improved_alerts"));
      for (const name of ["ratio", "avg_ratio", "threshold_pct"]) {
        assert.equal(types[name], "double precision");
      }
      assert.equal(types.at, "timestamp with time zone");
    }],
    ["looking rows up by time, and metrics by label, reads no whole table", async (engine) => {
      const first = async (table: string) =>
        (await engine.sql<{ name: string }[]>`
          select distinct a.attname as name from pg_index as i join pg_attribute as a
            on a.attrelid = i.indrelid and a.attnum = i.indkey[0] where i.indrelid = ${table}::regclass`)
          .map(({ name }) => name);
      for (
        const [table, names] of [["events", "occurred_at"], ["audit", "created_at"], [
          "metrics",
          "created_at,run_label",
        ], ["alerts", "created_at"]]
      ) {
        const known = await first(`public.etl_improved_${table}`);
        for (const name of names!.split(",")) {
          assert.ok(known.includes(name), `${table}.${name} ${known}`);
        }
      }
    }],
    ["old installations lack dry_run, or the table of alerts", {
      tests: [
        "integration/migration_test.ts: an original installation without alerts table",
      ],
    }],
    ["a synthetic record's pk is of the start of the interval and its index", {
      differs: "have other keys than the original's",
    }],
    ["attributes holds the record and a key fingerprint", {
      tests: [
        "integration/migration_test.ts: the first run on the data of an original installation",
      ],
    }],
  ],
  views: [
    [
      "mv_etl_metrics_daily: its columns in their order, unique on day",
      both(
        beginsWith(
          "public.mv_etl_metrics_daily",
          "day,num_runs,total_rows_sum,total_rows_avg,expected_rows_sum,expected_rows_avg,ratio_avg,ratio_min,ratio_max,low_ratio_count,dry_run_count,chunks_sum,last_run_at",
        ),
        uniqueOn("public.mv_etl_metrics_daily", "day"),
      ),
    ],
    ["low is a ratio below 1.0", async (engine) => {
      await engine.sql`select public.refresh_etl_mvs()`;
      const [row] = await engine
        .sql`select num_runs::int, low_ratio_count::int from public.mv_etl_metrics_daily`;
      assert.deepEqual({ ...row }, { num_runs: 3, low_ratio_count: 2 });
    }],
    [
      "mv_etl_alerts_daily: its columns in their order, unique on day and kind",
      both(
        beginsWith("public.mv_etl_alerts_daily", "day,kind,alert_count,last_alert_at"),
        uniqueOn("public.mv_etl_alerts_daily", "day,kind"),
      ),
    ],
    ["v_etl_latest_metrics: its columns, the newest row", async (engine) => {
      await beginsWith("public.v_etl_latest_metrics", METRIC)(engine);
      const rows = await engine.sql`select run_label, ratio from public.v_etl_latest_metrics`;
      assert.deepEqual(rows.map((row) => ({ ...row })), [{ run_label: "accepted", ratio: 0.5 }]);
    }],
    ["v_etl_recent_alerts: its columns, of the last 24 hours, 50 at most", async (engine) => {
      await beginsWith("public.v_etl_recent_alerts", "kind,message,run_label,ratio,at")(engine);
      const { sql } = engine;
      await sql`insert into public.etl_improved_alerts (kind, severity, message, created_at)
        select 'low_ratio', 'warning', 'm', now() - i * interval '20 minutes' from generate_series(1, 100) as i`;
      const [row] =
        await sql`select count(*)::int as n, min(at) > now() - interval '24 hours' as fresh
        from public.v_etl_recent_alerts`;
      assert.deepEqual({ ...row }, { n: 50, fresh: true });
      await sql`delete from public.etl_improved_alerts where message = 'm'`;
    }],
  ],
  "HTTP answers": [
    ["GET /api/metrics/latest: {data: {…}}", async (engine) => {
      firstMembers((await json(engine, "/api/metrics/latest")).data, METRIC);
    }],
    ["GET /api/metrics/latest: {data: null} before the first run", {
      tests: ["integration/original_facts_test.ts: before the first run"],
    }],
    [
      "GET /api/metrics/history: {data: […]}; empty parameters are ignored, start and end inclusive",
      async (engine) => {
        const { data } = await json(
          engine,
          "/api/metrics/history?limit=500&start=&end=&run_label=&dry_run=",
        );
        assert.equal(data.length, 3);
        for (const row of data) firstMembers(row, METRIC);
        const at = encodeURIComponent(data[1].at);
        const one = await json(engine, `/api/metrics/history?start=${at}&end=${at}`);
        assert.deepEqual(one.data.map((row: { at: string }) => row.at), [data[1].at]);
      },
    ],
    ["GET /api/metrics/history: format=csv", async (engine) => {
      const text = await (await engine.request("/api/metrics/history?format=csv")).text();
      assert.ok(text.startsWith(`${METRIC},`), text.slice(0, 100));
    }],
    ["GET /api/alerts/recent: {data: [alerts]}, 50", async (engine) => {
      const { data } = await json(engine, "/api/alerts/recent");
      assert.equal(data.length, 2);
      firstMembers(data[0], "kind,message,run_label,ratio,at");
    }],
    ["GET /api/alerts/recent: the 50 newest, newest first", async (engine) => {
      const { sql } = engine;
      await sql`insert into public.etl_improved_alerts (kind, severity, message, created_at)
        select 'low_ratio', 'warning', 'm ' || i, now() - i * interval '20 hours' from generate_series(1, 60) as i`;
      const { data } = await json(engine, "/api/alerts/recent");
      assert.equal(data.length, 50);
      assert.equal(data[2].message, "m 1");
      const times = data.map(({ at }: { at: string }) => at);
      assert.deepEqual(times, times.toSorted().toReversed());
      await sql`delete from public.etl_improved_alerts where message like 'm %'`;
    }],
    [
      "GET /api/metrics/history: a date alone is the whole day, the newest first, as many as asked for",
      async (engine) => {
        const day = new Date().toISOString().slice(0, 10);
        const { data } = await json(engine, `/api/metrics/history?start=${day}&end=${day}`);
        // what ran before midnight, where the test crosses it
        const [today] = await engine
          .sql`select count(*)::int as n from public.etl_improved_metrics where at >= ${`${day}T00:00:00Z`}::timestamptz`;
        assert.equal(data.length, today!.n);
        const times = (await json(engine, "/api/metrics/history")).data.map((
          { at }: { at: string },
        ) => at);
        assert.deepEqual(times, times.toSorted().toReversed());
        assert.equal((await json(engine, "/api/metrics/history?limit=2")).data.length, 2);
      },
    ],
    ["GET /api/etl/health: {healthy, timestamp, checks}", async (engine) => {
      const health = await json(engine, "/api/etl/health");
      firstMembers(health, "healthy,timestamp,checks");
      assert.equal(health.healthy, true);
      const { checks } = health;
      assert.deepEqual(Object.keys(checks), [
        "db_connectivity",
        "tables",
        "latest_run",
        "materialized_views",
      ]);
      assert.deepEqual(Object.keys(checks.db_connectivity), ["status", "message"]);
      for (const kind of ["events", "audit", "metrics", "alerts"]) {
        assert.deepEqual(checks.tables[`etl_improved_${kind}`], { status: "ok", exists: true });
      }
      firstMembers(
        checks.latest_run,
        "status,at,run_label,ratio,total_rows,expected_rows,age_minutes",
      );
      assert.deepEqual(Object.keys(checks.materialized_views), ["status", "exists", "message"]);
    }],
    ["GET /api/etl/health: a warning when the last run is older than 1,440 minutes", {
      tests: ["integration/original_facts_test.ts: a last run of more than a day ago"],
    }],
    ["Grafana's 9 panels, and the ServiceMonitor's path", {
      tests: [
        "integration/original_panels_test.ts: panels and scripts of the original's users go on after the take-over",
        "integration/original_panels_test.ts: runs of ours have the original's names in every schema; its ServiceMonitor's path answers",
      ],
    }],
    ["GET /api/etl/metrics: its names, two counters, seven days", {
      tests: ["integration/prometheus_test.ts: the scrape has every name of the original"],
    }],
    [
      "GET /api/etl/metrics: the all-time totals are counters, all others gauges",
      async (engine) => {
        const text = await (await engine.request("/api/etl/metrics")).text();
        const typeOf = (name: string) => new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(text)?.[1];
        for (const name of ["etl_total_runs_all_time", "etl_low_ratio_runs_all_time"]) {
          assert.equal(typeOf(name), "counter", name);
        }
        const latest = [
          "total_rows",
          "expected_rows",
          "ratio",
          "num_chunks",
          "run_age_seconds",
          "dry_run",
        ]
          .map((name) => `etl_latest_${name}`);
        const daily = ["runs", "total_rows", "ratio_avg", "low_ratio_count"].map((name) =>
          `etl_daily_${name}`
        );
        for (
          const name of [...latest, ...daily, "etl_alerts_24h_count", "etl_avg_ratio_all_time"]
        ) {
          assert.equal(typeOf(name), "gauge", name);
        }
      },
    ],
  ],
  behaviour: [
    ["daily at midnight UTC, one run at a time; 45 minutes and an SLA of 15 minutes on load", {
      tests: ["integration/original_afternoon_test.ts: the afternoon of docs/airflow_migration.md"],
    }],
    ["a run longer than 45 minutes, and a stage longer than its limit, fail", {
      tests: [
        "integration/run_stages_test.ts: a run, or a stage, that takes longer than timeout_seconds",
      ],
    }],
    ["tasks are tried three times, 3 minutes apart and longer, up to 15", {
      differs: "Transient failures are retried automatically",
    }],
    ["what is tried again", {
      tests: [
        "integration/outages_test.ts: ",
        "integration/source_http_test.ts: ",
        "integration/sla_test.ts: a run that is late is told of within 5 s",
      ],
    }],
    ["expectations: key not null and unique, a fingerprint present", async (engine) => {
      const columns = await engine.sql`select attname as name from pg_attribute as a
        join pg_index as i on i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey)
        where a.attrelid = 'public.etl_improved_events'::regclass and a.attnotnull`;
      assert.deepEqual(columns.map(({ name }) => name), ["event_id"]);
      const [row] = await engine
        .sql`select count(*)::int as n from public.etl_improved_events where fingerprint is null`;
      assert.equal(row!.n, 0);
    }],
    ["etl_consumer: trend_window 7, drop_threshold_pct 20", async () => {
      assert.deepEqual(consumerSchema.parse({}), { trend_window: 7, drop_threshold_pct: 20 });
      await Promise.resolve();
    }],
    ["low_ratio: any run with a ratio below 1.0, whether or not it failed", async (engine) => {
      const rows = await engine
        .sql`select run_label, kind, ratio from public.etl_improved_alerts order by at`;
      assert.deepEqual(rows.map((row) => ({ ...row })), [
        { run_label: "etl_improved", kind: "low_ratio", ratio: 0.25 },
        { run_label: "accepted", kind: "low_ratio", ratio: 0.5 },
      ]);
    }],
    ["trend_drop: stores ratio, avg_ratio, threshold_pct", {
      tests: [
        "integration/alerts_test.ts: volume_drop compares with the runs of the label, trend_drop too",
      ],
    }],
    ["etl_maintenance: retentions from 7 to 1,095 days, others refused; events by their time", {
      tests: [
        "integration/maintenance_test.ts: a retention is 7 to 1,095 days or -1",
        "integration/maintenance_test.ts: events are as old as they occurred",
      ],
    }],
    ["etl_maintenance: a Slack message on success and on failure", {
      tests: [
        "integration/maintenance_test.ts: Slack is told of a maintenance that failed and of one that succeeded",
      ],
    }],
    [
      "etl_downstream_example: read_latest_metrics, analyze_events, generate_report, cleanup_temp_data",
      {
        tests: ["integration/statsd_test.ts: StatsD is told the names that Airflow has"],
      },
    ],
  ],
  "StatsD and MLflow": [
    [
      "etl_improved.<stage>.start, .success, .ms, load.retry, load.dry_run, ge_validate.fail, .skipped, task_failure",
      {
        tests: ["integration/statsd_test.ts: StatsD is told the names that Airflow has"],
      },
    ],
    [
      "etl_consumer.summarize.success, .duration_ms, mv_refresh.success, etl_maintenance.*_deleted, gauges",
      {
        tests: ["integration/statsd_test.ts: StatsD is told the names that Airflow has"],
      },
    ],
    ["tags attempt, rows, task", {
      tests: ["integration/statsd_test.ts: StatsD gets DogStatsD tags"],
    }],
    ["etl_consumer.summarize.failure, mv_refresh.failure", {
      tests: [
        "integration/statsd_test.ts: StatsD is told of an end of a run that could not be judged",
      ],
    }],
    ["MLflow: what a run is told under the original's names", async (engine) => {
      const [run] = await engine.sql`select run_id from etl.runs where run_label = 'accepted'`;
      const facts = await exportFacts(engine.sql, { run_id: run!.run_id, end_no: 0 });
      const { name, params, metrics } = mlflowRun(facts);
      const told = Object.fromEntries(params.map(({ key, value }) => [key, value]));
      const { dag, task, dry_run, num_chunks } = told;
      assert.deepEqual([name, dag, task, dry_run, num_chunks], [
        "accepted",
        "etl_improved",
        "finalize",
        "false",
        "1",
      ]);
      const values = Object.fromEntries(metrics.map(({ key, value }) => [key, value]));
      const { total_rows, expected_rows, ratio } = values;
      assert.deepEqual([total_rows, expected_rows, ratio], [2, 4, 0.5]);
    }],
    [
      "MLflow: params dag, task, dry_run, num_chunks; metrics total_rows, expected_rows, ratio; run name = run_label",
      {
        tests: ["conformance/mlflow_test.ts: a real MLflow holds experiment"],
      },
    ],
  ],
};

const migrationPage = () =>
  Deno.readTextFile(new URL("../../docs/airflow_migration.md", import.meta.url));

Deno.test("every fact of the original's installations is held by a test, or docs/airflow_migration.md says what differs", async (t) => {
  await using engine = await startEngine(t);
  await engine.succeed({ batch_size: 7 });
  await engine.runToEnd({
    batch_size: 4,
    source: { type: "inline", key: "id", records: [{ id: 1 }] },
  });
  await engine.succeed({
    batch_size: 4,
    run_label: "accepted",
    min_acceptance_ratio: 0.5,
    source: { type: "inline", key: "id", records: [{ id: 2 }, { id: 3 }] },
  });
  await consumeEnds(engine.sql);
  const page = (await migrationPage()).replaceAll(/\s+/g, " ");
  for (const [section, facts] of Object.entries(FACTS)) {
    for (const [fact, held] of facts) {
      await t.step(`${section}: ${fact}`, async () => {
        if (typeof held === "function") return await held(engine);
        if ("differs" in held) return assert.ok(page.includes(held.differs), held.differs);
        for (const text of held.tests) {
          const { file, name } = namedTest(text);
          const source = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
          assert.ok(source.replaceAll("\\'", "'").includes(name), text);
        }
      });
    }
  }
});

Deno.test("before the first run latest is {data: null}, and history is empty", async (t) => {
  await using engine = await startEngine(t);
  assert.deepEqual(await json(engine, "/api/metrics/latest"), { data: null });
  assert.deepEqual((await json(engine, "/api/metrics/history")).data, []);
});

Deno.test("a last run of more than a day ago is a warning of health, as in the original", async (t) => {
  await using engine = await startEngine(t);
  await engine.succeed({ batch_size: 3 });
  const latest = async () => (await json(engine, "/api/etl/health")).checks.latest_run;
  const aged = (minutes: number) =>
    engine
      .sql`update public.etl_improved_metrics set created_at = now() - ${minutes} * interval '1 minute'`;
  await aged(1_439);
  assert.equal((await latest()).warning, undefined);
  await aged(1_441);
  const late = await latest();
  assert.match(late.warning, /\d/);
  assert.equal(late.age_minutes, 1_441);
});
