import assert from "node:assert/strict";
import { parse } from "yaml";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { consumeEnds } from "../helpers/reacting.ts";
import { startEngine } from "../helpers/engine.ts";
import { dashboards, expandPromql, expandSql, type Panel } from "../helpers/grafana.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { prometheusIsInstalled, promtool, startPrometheus } from "../helpers/prometheus.ts";
import { withClient } from "../helpers/query.ts";
import { asOwner } from "../helpers/server_role.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const DEPLOY = new URL("../../deploy/", import.meta.url).pathname;
const isChart = ({ type }: Panel) => type === "timeseries";

const queriesOf = (file: string) =>
  dashboards().get(file)!.panels.flatMap((panel) =>
    (panel.targets ?? []).map((target) => ({ panel, target }))
  );

Deno.test("dashboards have ids of their own, panels that do not overlap, and data sources that are provisioned", async () => {
  const { datasources } = parse(
    await Deno.readTextFile(`${DEPLOY}grafana/provisioning/datasources/etl.yaml`),
  );
  const types = new Set(datasources.map((each: { type: string }) => each.type));
  const uids = new Set<string>();
  for (const [file, { uid, panels, templating }] of dashboards()) {
    assert.ok(!uids.has(uid), file);
    uids.add(uid);
    assert.equal(new Set(panels.map((panel) => panel.id)).size, panels.length, file);
    const taken = new Set<string>();
    for (const { title, type, gridPos: { x, y, w, h }, targets } of panels) {
      assert.ok(x + w <= 24, title);
      for (let i = x; i < x + w; i++) {
        for (let j = y; j < y + h; j++) {
          assert.ok(!taken.has(`${i},${j}`), `${file}: ${title} overlaps`);
          taken.add(`${i},${j}`);
        }
      }
      if (type === "row") continue;
      assert.ok(targets !== undefined && targets.length > 0, title);
      for (const { datasource } of targets) {
        assert.ok(types.has(datasource.type), `${title}: ${datasource.type}`);
        assert.equal(datasource.uid, "${datasource}");
      }
    }
    const source = templating.list.find((each) => each.name === "datasource")!;
    assert.ok(types.has(source.query), file);
  }
  assert.equal(uids.size, 2);
});

Deno.test("every panel on PostgreSQL shows something of some runs, to a role that only reads", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  for (const run_label of ["daily", "it's hourly"]) {
    await engine.succeed({ run_label, batch_size: 20 });
    await consumeEnds(sql);
  }
  const low = await engine.runToEnd({
    run_label: "daily",
    source: {
      type: "inline",
      key: "id",
      records: [{ id: 1 }, { id: 2 }, { id: 3, ts: "no time" }],
      occurred_at: "ts",
    },
  });
  assert.equal(low.state, "failed");
  await consumeEnds(sql);
  await sql`select public.refresh_etl_mvs()`;
  const role = `reader_${crypto.randomUUID().slice(0, 8)}`;
  await sql.unsafe(
    `create role ${role} login password 'p';
    alter role ${role} set default_transaction_read_only = on`,
  );
  await setupDatabase(asOwner(engine.db.dsn), { reader: role });
  try {
    const dsn = new URL(engine.db.dsn);
    [dsn.username, dsn.password] = [role, "p"];
    await withClient(dsn.href, async (client) => {
      const variable = dashboards().get("runs.json")!.templating.list
        .find(({ name }) => name === "run_label")!;
      const { rows: labels } = await client.query(variable.query as string);
      const run_label = labels.map((row) => String(row.run_label));
      assert.deepEqual(run_label, ["daily", "it's hourly"]);
      const now = Date.now();
      const context = {
        from: new Date(now - 7 * 86_400_000),
        to: new Date(now + 86_400_000),
        intervalSeconds: 600,
        variables: { run_label },
      };
      const queries = queriesOf("runs.json");
      assert.ok(queries.length > 15);
      for (const { panel, target } of queries) {
        const text = expandSql(target.rawSql!, context);
        assert.ok(!text.includes("$"), text);
        const { rows, fields } = await client.query(text);
        assert.ok(rows.length > 0, `${panel.title} shows nothing: ${text}`);
        assert.ok(fields.every(({ name }) => name !== "?column?"), panel.title);
        assert.equal(target.format, isChart(panel) ? "time_series" : "table", panel.title);
        if (!isChart(panel)) continue;
        assert.ok(fields.some(({ name }) => name === "time"), panel.title);
        assert.ok(rows.every((row) => row.time !== null), panel.title);
        const values = fields.filter(({ name }) => name !== "time" && name !== "metric");
        for (const { name } of values) {
          assert.ok(rows.every((row) => Number.isFinite(Number(row[name]))), panel.title);
        }
      }
    });
  } finally {
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  }
});

Deno.test({
  name: "every panel and rule on Prometheus gives samples over a real scrape of a server",
  ignore: !prometheusIsInstalled(),
  async fn(t) {
    await using db = await testDatabase(t);
    await using server = await startServer({ dsn: db.dsn });
    const target = new URL(server.address).host;
    await using prometheus = await startPrometheus({
      target,
      rules: [`${DEPLOY}observability/prometheus/etl-alerts.yaml`],
    });
    const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ batch_size: 33 }),
    });
    assert.equal((await answer.json()).state, "succeeded");
    await waitFor(async () => (await prometheus.query("etl_daily_runs")).length > 0, {
      timeoutMs: 30_000,
    });
    // rates need two samples of everything
    await waitFor(
      async () => {
        const [first] = await prometheus.query(
          'min(count_over_time({__name__=~"etl_daily_runs|etl_runs_total"}[10s]))',
        );
        return Number(first?.value) >= 2;
      },
      { timeoutMs: 30_000 },
    );
    const queries = queriesOf("servers.json");
    assert.ok(queries.length > 25);
    for (const { panel, target: { expr } } of queries) {
      const text = expandPromql(expr!);
      assert.ok(!text.includes("$"), text);
      assert.ok((await prometheus.query(text)).length > 0, `${panel.title} shows nothing: ${text}`);
    }
    const { data } = await (await fetch(`${prometheus.address}/api/v1/rules`)).json();
    const rules = data.groups.flatMap((group: { rules: unknown[] }) => group.rules) as {
      name: string;
      type: string;
      query: string;
      health: string;
      state?: string;
    }[];
    const scraped = await (await fetch(`${server.address}/api/etl/metrics`)).text();
    const known = new Set(scraped.match(/^[a-z_0-9]+(?=[{ ])/gm));
    for (const rule of rules) {
      assert.equal(rule.health, "ok", rule.name);
      assert.notEqual(rule.state, "firing", rule.name);
      const names = rule.query.match(/\b(etl|process)_[a-z0-9_]+/g) ?? [];
      for (const name of names) assert.ok(known.has(name), `${rule.name}: ${name}`);
    }
    assert.equal(rules.filter(({ type }) => type === "alerting").length, 14);
  },
});

Deno.test({
  name: "promtool accepts the scrape example and the rules, and the rules do what their tests say",
  ignore: !prometheusIsInstalled(),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "etl-rules-" });
    const from = `${DEPLOY}observability/prometheus`;
    for await (const { name } of Deno.readDir(from)) {
      const text = await Deno.readTextFile(`${from}/${name}`);
      await Deno.writeTextFile(
        `${dir}/${name}`,
        text.replace("/run/secrets/metrics_token", `${dir}/token`),
      );
    }
    await Deno.writeTextFile(`${dir}/token`, "x");
    await promtool(["check", "config", "etl-scrape-example.yaml"], dir);
    await promtool(["check", "rules", "etl-alerts.yaml"], dir);
    await promtool(["test", "rules", "etl-alerts.test.yaml"], dir);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test("the rules of the Prometheus Operator are those of Prometheus", async () => {
  const read = async (path: string) => parse(await Deno.readTextFile(`${DEPLOY}${path}`));
  const plain = await read("observability/prometheus/etl-alerts.yaml");
  const operator = await read("observability/servicemonitors/etl-alerts.yaml");
  assert.deepEqual(operator.spec.groups, plain.groups);
});
