import assert from "node:assert/strict";
import { join } from "node:path";
import { runCli } from "../helpers/cli.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { problemOf } from "../helpers/problems.ts";

const COLUMNS = "/api/datasets/public.sales/columns";

const put = (engine: Engine, body: unknown, path = COLUMNS) =>
  engine.request(path, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

Deno.test("typed views over HTTP: propose, declare, look, remove", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.load([{ id: "a", amount: 5, user: { country: "ES" } }], { table_name: "sales" });
  const get = async (path: string) => await (await engine.request(path)).json();
  assert.deepEqual((await get(COLUMNS)).columns, []);
  const proposal = await get(`${COLUMNS}/proposal?sample=10`);
  assert.deepEqual(proposal, {
    columns: [
      { name: "amount", path: "amount", type: "integer" },
      { name: "id", path: "id", type: "text" },
      { name: "user_country", path: "user.country", type: "text" },
    ],
    rows: 1,
    left_out: 0,
  });
  const made = await put(engine, { columns: proposal.columns });
  assert.equal(made.status, 200);
  const view = await made.json();
  assert.deepEqual(
    [view.dataset, view.view, view.exists, view.columns],
    ["public.sales", "public.sales_typed", true, proposal.columns],
  );
  assert.deepEqual(view.fixed.slice(0, 3), ["event_id", "event_type", "occurred_at"]);
  assert.deepEqual(await get("/api/datasets/postgres%3A%2F%2Fetl_improved%2Fsales/columns"), view);
  const { items } = await get("/api/datasets");
  assert.equal(
    items.find(({ dataset }: { dataset: string }) => dataset === "public.sales").view,
    "public.sales_typed",
  );
  assert.deepEqual(
    [...await engine.sql`select amount, user_country from public.sales_typed`],
    [{ amount: "5", user_country: "ES" }],
  );
  const [audit] = await engine.sql`
    select actor, details ->> 'dataset' as dataset from public.etl_improved_audit where event = 'dataset_columns_put'`;
  assert.deepEqual(audit, { actor: "http", dataset: "public.sales" });
  const removed = await engine.request(COLUMNS, { method: "DELETE" });
  assert.equal(removed.status, 204);
  const again = await problemOf(await engine.request(COLUMNS, { method: "DELETE" }));
  assert.equal(again.status, 404);
  await engine.load([{ id: "b" }, { id: "c" }], { table_name: "sales" });
  assert.equal((await get(`${COLUMNS}/proposal`)).rows, 3);
  assert.equal((await get(`${COLUMNS}/proposal?sample=2`)).rows, 2);
});

Deno.test("typed views over HTTP: what cannot be is refused with the field that is wrong", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.load([{ id: "a" }], { table_name: "sales" });
  const column = { name: "a", type: "text" };
  for (
    const [body, status, field] of [
      [{}, 400, "columns"],
      [{ columns: "a" }, 400, "columns"],
      [{ columns: [column], viwe: "x" }, 400, undefined],
      [{ columns: [column], view: "" }, 400, "view"],
      [{ columns: [] }, 422, "columns"],
      [{ columns: [{ ...column, type: "varchar" }] }, 422, "columns[0].type"],
      [{ columns: [{ ...column, name: "a\0b" }] }, 400, undefined],
      [{ columns: [column], view: "é".repeat(40) }, 422, "view"],
      [{ columns: [column], view: "etl_improved_events" }, 409, "view"],
    ] as const
  ) {
    const problem = await problemOf(await put(engine, body));
    assert.equal(problem.status, status, JSON.stringify(body));
    if (field !== undefined) assert.equal(problem.errors![0]!.field, field);
  }
  for (const [method, path] of [["GET", ""], ["DELETE", ""], ["GET", "/proposal"]] as const) {
    const response = await engine.request(`/api/datasets/public.none/columns${path}`, { method });
    assert.equal((await problemOf(response)).status, 404);
  }
  assert.equal(
    (await problemOf(await put(engine, { columns: [column] }, "/api/datasets/x/columns"))).status,
    404,
  );
  for (const sample of ["0", "1e9", "x"]) {
    const response = await engine.request(`${COLUMNS}/proposal?sample=${sample}`);
    assert.equal((await problemOf(response)).errors![0]!.field, "sample");
  }
});

Deno.test("etl dataset lists, proposes, declares and drops", async (t) => {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  try {
    const env = {
      KPIS_PG_DSN: db.dsn,
      ETL_SPOOL_DIR: join(dir, "spool"),
      ETL_WORKERS: "1",
      INIT_CWD: dir,
    };
    const etl = (args: string[], input?: string) =>
      runCli(["dataset", ...args], { env, ...(input === undefined ? {} : { input }) });
    const records = '[{"id": "a", "amount": 5, "at": "2024-01-31"}]';
    const conf = `{"source": {"type": "inline", "key": "id", "records": ${records}}}`;
    assert.equal((await runCli(["run", "--conf", conf], { env })).code, 0);
    const proposed = await etl(["propose", "public.etl_improved_events"]);
    assert.equal(proposed.code, 0, proposed.err);
    assert.deepEqual(JSON.parse(proposed.out).map((c: { name: string }) => c.name), [
      "amount",
      "at",
      "id",
    ]);
    assert.match(proposed.err, /3 columns fit 1 row/);
    const declared = await etl([
      "columns",
      "public.etl_improved_events",
      "-",
      "--view",
      "etl_improved_events",
    ], proposed.out);
    assert.equal(declared.code, 2);
    assert.match(declared.err, /not the table's/);
    assert.equal((await etl(["columns", "public.etl_improved_events", "-"], proposed.out)).code, 0);
    const shown = await etl(["show", "public.etl_improved_events"]);
    assert.match(shown.out, /public\.etl_improved_events_typed/);
    assert.match(shown.out, /amount +integer +amount/);
    const listed = await etl(["list"]);
    assert.match(listed.out, /public\.etl_improved_events +public\.etl_improved_events_typed/);
    const one = await etl(["show", "public.etl_improved_events", "--json"]);
    assert.equal(JSON.parse(one.out).columns.length, 3);
    const dropped = await etl(["drop", "public.etl_improved_events"]);
    assert.match(dropped.out, /public\.etl_improved_events_typed is removed/);
    const wrong = await etl(["shwo", "public.etl_improved_events"]);
    assert.match(wrong.err, /did you mean show/);
    assert.equal((await etl(["show"])).code, 2);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
