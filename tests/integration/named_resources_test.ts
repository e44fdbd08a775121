import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";

const send = (engine: Engine, method: string, path: string, body?: unknown) =>
  engine.request(`/api/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

Deno.test("configurations are created, changed and removed; one that no run would take is refused", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const put = (body: unknown) => send(engine, "PUT", "configurations/nightly", body);
  '{"conf":{"source":{"type":"synthetic","seed":12345678901234567}},"description":"d"}';
  assert.equal((await put({ conf: { batch_size: 5 } })).status, 201);
  assert.equal((await put({ conf: { batch_size: 6 }, description: "six" })).status, 200);
  const shown = await (await send(engine, "GET", "configurations/nightly")).json();
  assert.deepEqual([shown.name, shown.conf, shown.description], [
    "nightly",
    { batch_size: 6 },
    "six",
  ]);
  const { items } = await (await send(engine, "GET", "configurations")).json();
  assert.deepEqual(items.map(({ name }: { name: string }) => name), ["nightly"]);
  const wrong = await problemOf(await put({ conf: { batchsize: 5 } }));
  assert.deepEqual([wrong.status, wrong.errors![0]!.field], [422, "batchsize"]);
  const nested = await problemOf(await put({ conf: { configuration: "other" } }));
  assert.deepEqual([nested.status, nested.errors![0]!.field], [422, "conf.configuration"]);
  assert.equal((await problemOf(await put({ conf: {}, more: 1 }))).status, 400);
  assert.equal((await send(engine, "DELETE", "configurations/nightly")).status, 204);
  for (const method of ["GET", "DELETE"]) {
    const gone = await problemOf(await send(engine, method, "configurations/nightly"));
    assert.equal(gone.status, 404);
    assert.match(gone.detail, /There is no configuration nightly/);
  }
});

Deno.test("a PUT that may only create changes nothing that has the name already, whatever it is", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const expectation = (column: string) => ({
    expectations: [{ type: "expect_column_values_to_not_be_null", kwargs: { column } }],
  });
  for (
    const [kind, first, second] of [
      ["configurations", { conf: { batch_size: 5 } }, { conf: { batch_size: 6 } }],
      ["variables", { value: 5 }, { value: 6 }],
      ["pools", { slots: 5 }, { slots: 6 }],
      ["suites", expectation("a"), expectation("b")],
      ["schedules", { cron: "0 5 * * *", conf: {} }, { cron: "0 6 * * *", conf: {} }],
    ] as const
  ) {
    const put = (body: unknown) =>
      engine.request(`/api/${kind}/mine`, {
        method: "PUT",
        headers: { "content-type": "application/json", "if-none-match": "*" },
        body: JSON.stringify(body),
      });
    const shown = async () => await (await send(engine, "GET", `${kind}/mine`)).text();
    const [made, later] = await Promise.all([put(first), put(first)]);
    assert.deepEqual([made.status, later.status].sort(), [201, 412], kind);
    const [before, audited] = [
      await shown(),
      await engine.sql`select from etl_improved_audit where event = ${`${kind}_put`}`,
    ];
    const taken = await problemOf(await put(second));
    assert.deepEqual([taken.status, taken.type], [412, "/api/problems/conflict"], kind);
    assert.match(taken.detail, /one of the name mine already/);
    assert.equal(await shown(), before, kind);
    assert.equal(
      (await engine.sql`select from etl_improved_audit where event = ${`${kind}_put`}`).length,
      audited.length,
    );
    assert.equal((await send(engine, "PUT", `${kind}/mine`, second)).status, 200, kind);
    assert.notEqual(await shown(), before, kind);
  }
});

Deno.test("a variable holds any value but none; one of a parameter, a retention or a job's schedule only what is taken", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const put = (name: string, value: unknown) => send(engine, "PUT", `variables/${name}`, { value });
  const refused = async (name: string, value: unknown) => {
    const problem = await problemOf(await put(name, value));
    assert.equal(problem.status, 422, name);
    const [{ field, message }] = problem.errors as [{ field: string; message: string }];
    return [field, message];
  };
  for (const value of [false, 0, "", [], { a: 1 }]) {
    assert.ok((await put("mine", value)).ok, JSON.stringify(value));
    const shown = await (await send(engine, "GET", "variables/mine")).json();
    assert.deepEqual(shown.value, value);
  }
  for (const body of [{ value: null }, {}]) {
    const problem = await problemOf(await send(engine, "PUT", "variables/mine", body));
    assert.deepEqual([problem.status, problem.errors![0]!.field], [400, "value"]);
  }
  for (const days of [7, 1095, -1]) {
    assert.ok((await put("etl_maintenance__retention_days_events", days)).ok, `${days}`);
  }
  for (const days of [6, 1096, 0]) {
    const [field] = await refused("etl_maintenance__retention_days_events", days);
    assert.equal(field, "retention_days_events");
  }
  assert.ok((await put("etl_improved__batch_size", 5)).ok);
  assert.equal((await refused("etl_improved__batch_size", -5))[0], "batch_size");
  assert.ok((await put("etl_consumer__trend_window", 5)).ok);
  assert.equal((await refused("etl_consumer__trend_window", "many"))[0], "trend_window");
  assert.match((await refused("etl_consumer__trend_windw", 5))[1]!, /did you mean trend_window/);
  assert.ok((await put("etl_job__etl_maintenance", "30 3 * * 0")).ok);
  assert.deepEqual(await refused("etl_job__etl_maintenance", "weekly"), [
    "value",
    "is no schedule",
  ]);
  const unknown = await problemOf(await put("etl_job__etl_maintenence", "30 3 * * 0"));
  assert.equal(unknown.status, 422);
  assert.match(unknown.detail, /etl_job__etl_maintenence[\s\S]*etl_job__etl_maintenance/);
});

Deno.test("a pool's slots may be none; the default one stays, and so does one that is used; more slots admit at once", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const put = (name: string, body: unknown) => send(engine, "PUT", `pools/${name}`, body);
  assert.equal((await put("small", { slots: 0 })).status, 201);
  assert.equal((await problemOf(await put("small", { slots: 1001 }))).status, 400);
  const kept = await problemOf(await send(engine, "DELETE", "pools/default_pool"));
  assert.equal(kept.status, 409);
  assert.match(kept.detail, /default_pool/);
  const { run_id } = await engine.submit({ pool: "small", batch_size: 5 });
  const used = await problemOf(await send(engine, "DELETE", "pools/small"));
  assert.equal(used.status, 409);
  assert.match(used.detail, /small/);
  const shown = await (await put("small", { slots: 1, per_server: true })).json();
  assert.deepEqual([shown.slots, shown.per_server], [1, true]);
  const [admitted] = await engine.sql<{ at: string | null }[]>`
    select admitted_at as at from etl.runs where run_id = ${run_id}`;
  assert.notEqual(admitted!.at, null, "nobody but the change has looked whether it may begin");
  const back = await (await put("small", { slots: 2 })).json();
  assert.equal(back.per_server, false);
});
