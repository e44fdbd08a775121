import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Each ends a quoted name, a text or a comment, and goes on with what must not be done. */
const INJECTIONS = [
  `x'; drop table canary; --`,
  `x"; drop table canary; --`,
  `x') ; drop table canary; --`,
  `x\\'; drop table canary; --`,
  `$$; drop table canary; $$`,
  `x'); select pg_terminate_backend(pid) from pg_stat_activity; --`,
  `{{slot}}'; drop table canary`,
  `%s%I%L'; drop table canary; --`,
  `x/*`,
];

async function intact(engine: Engine, what: string): Promise<void> {
  const [row] = await engine.sql`select to_regclass('public.canary') is not null as there,
    (select count(*)::integer from public.canary) as rows`;
  assert.deepEqual({ ...row }, { there: true, rows: 1 }, what);
}

Deno.test("hostile names: no identifier and no value of a request becomes SQL", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    env: { ETL_CONNECTION_SELF: "postgres://nobody@127.0.0.1:1/x" },
  });
  await engine.sql.unsafe("create table public.canary as select 1 as n");
  const { run_id: id } = await engine.submit({ batch_size: 1 });
  for (const text of INJECTIONS) {
    const inUrl = encodeURIComponent(text);
    const send = async (method: string, path: string, body?: unknown) => {
      const response = await engine.request(path, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      await response.body?.cancel();
      assert.ok(response.status < 500, `${method} ${path}: ${response.status}`);
      await intact(engine, `${method} ${path} ${JSON.stringify(body)}`);
      return response.status;
    };
    for (const name of ["schema_name", "table_name", "audit_table_name", "pool", "suite"]) {
      assert.equal(await send("POST", "/api/etl/run", { [name]: text }), 422, name);
    }
    assert.equal(await send("POST", "/api/etl/run", { configuration: text }), 422);
    assert.equal(await send("POST", "/api/etl/run", { transform: text }), 422);
    await send("POST", "/api/etl/run", { run_label: text, mlflow_experiment: text });
    for (const filter of ["run_label", "state", "cursor", "limit", "start", "end", "status"]) {
      await send("GET", `/api/etl/runs?${filter}=${inUrl}`);
      await send("GET", `/api/metrics/history?${filter}=${inUrl}`);
      await send("GET", `/etl/runs?${filter}=${inUrl}`);
    }
    for (const query of ["sort", "order", "after", "before", "dry_run"]) {
      await send("GET", `/etl/runs?${query}=${inUrl}`);
    }
    for (const path of ["/api/datasets/events?dataset=", "/api/reports/latest?consumer="]) {
      await send("GET", path + inUrl);
    }
    await send("GET", `/api/reports/latest?analysis_type=${inUrl}`);
    await send("GET", `/api/etl/runs/${id}/quarantine?rule=${inUrl}`);
    await send("POST", `/api/etl/runs/${id}/quarantine/replay?rule=${inUrl}`);
    await send("GET", `/etl/alerts?kind=${inUrl}&state=${inUrl}`);
    for (const kind of ["configurations", "variables", "pools", "suites", "schedules"]) {
      assert.ok([400, 404].includes(await send("GET", `/api/${kind}/${inUrl}`)), kind);
      await send("DELETE", `/api/${kind}/${inUrl}`);
    }
    await send("PUT", "/api/pools/p", { slots: 1, description: text });
    await send("PUT", "/api/variables/etl_improved__run_label", { value: text });
    await send("PUT", "/api/configurations/c", { conf: { run_label: text }, description: text });
    await send("PUT", "/api/schedules/s", {
      cron: "@yearly",
      description: text,
      conf: { run_label: text },
    });
    await send("PUT", "/api/schedules/s", { cron: text, time_zone: text, conf: {} });
    await send("POST", "/api/etl/run", { configuration: "c" });
  }
});

Deno.test("hostile names: whatever a source's names and records are, they are data", async (t) => {
  await using db = await testDatabase(t);
  await using engine = await startEngine(t, { workers: 1, database: db });
  await engine.sql.unsafe("create table public.canary as select 1 as n");
  await engine.sql`insert into etl.suites (name, suite, row_wise, origin)
    values ('hostile', ${
    JSON.stringify({
      name: "hostile",
      expectations: INJECTIONS.map((column) => ({
        type: "expect_column_values_to_not_be_null",
        kwargs: { column: column.replaceAll(".", "\\.") },
      })),
      meta: {},
    })
  }::text::jsonb, true, 'api')`;
  for (const [i, text] of INJECTIONS.entries()) {
    const run = await engine.load([{ id: text, [text]: text, v: i }], {
      run_label: text,
      suite: "hostile",
      source: { name: text.slice(0, 200), key: ["id", "v"], event_type: text, version: "v" },
    });
    assert.equal(run.state, "succeeded", `${text}: ${JSON.stringify(run.error)}`);
    await intact(engine, text);
  }
  const rows = await engine.rows();
  const slot = rows.map(({ event_type }) => /^20.*Z/.exec(event_type)?.[0]).find(Boolean);
  assert.deepEqual(
    rows.map(({ event_type }) => event_type).toSorted(),
    // a slot is a slot, wherever it stands
    INJECTIONS.map((text) => text.replace("{{slot}}", slot!)).toSorted(),
  );
});

Deno.test("hostile names: tables of a postgres source and its columns are names", async (t) => {
  await using db = await testDatabase(t);
  await using engine = await startEngine(t, {
    workers: 1,
    database: db,
    env: { ETL_CONNECTION_SELF: db.dsn },
  });
  await engine.sql.unsafe("create table public.canary as select 1 as n");
  for (const text of INJECTIONS) {
    const source = { type: "postgres", connection: "self" };
    for (
      const conf of [
        { ...source, table: text.slice(0, 200) },
        { ...source, table: "canary", page_key: [text.slice(0, 63)] },
        { ...source, table: "canary", page_key: ["n"], cursor: text.slice(0, 63) },
        { ...source, query: text, page_key: ["n"] },
      ]
    ) {
      const run = await engine.runToEnd({ source: conf });
      assert.equal(run.state, "failed", JSON.stringify(conf));
      assert.notEqual(run.error?.type, "/api/problems/internal", JSON.stringify(run.error));
      await intact(engine, JSON.stringify(conf));
    }
  }
});

Deno.test("hostile names: a label cannot add a metric, a tag or a line to StatsD", async (t) => {
  await using db = await testDatabase(t);
  const socket = createSocket("udp4");
  const lines: string[] = [];
  socket.on("message", (bytes) => {
    lines.push(...bytes.toString().split("\n").filter((line) => line !== ""));
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  try {
    await using server = await startServer({
      dsn: db.dsn,
      env: {
        STATSD_HOST: "127.0.0.1",
        STATSD_PORT: String(socket.address().port),
        STATSD_TAGS: "true",
      },
    });
    const run = async (label: string) => {
      const response = await fetch(`${server.address}/api/etl/run?wait=true`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ batch_size: 1, run_label: label }),
      });
      await response.body?.cancel();
      return response.status;
    };
    const label = "a|c|#admin:true,b:1@0.1 evil:1|c";
    assert.equal(await run(label), 200);
    for (const bad of ["a\nevil:1|c", "a\r\nX-Evil: 1", "a\0", "a\u2028evil:1|c"]) {
      assert.equal(await run(bad), 422, bad);
    }
    await waitFor(() => lines.some((line) => line.includes("dagrun.duration.success")), {
      what: "the run told",
    });
    for (const line of lines) {
      const form = /^airflow\.[A-Za-z0-9_.-]+:[-\d.e]+\|(c|ms|g)(\|#[^|]*)?$/;
      assert.match(line, form);
      const tags = line.split("|#")[1]?.split(",") ?? [];
      for (const tag of tags) assert.match(tag, /^(dag_id|task_id|run_label|pool):[^|,#@]*$/);
    }
  } finally {
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
});
