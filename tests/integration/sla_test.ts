import { retryRun } from "../../store/runs.ts";
import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { sweepDeadlines } from "../../store/reactions.ts";
import { consumeEnds } from "../helpers/reacting.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

const misses = (engine: Engine) =>
  engine.sql<{ run_id: string; scope: string; state: string; late_ms: number }[]>`
    select a.run_id, a.details ->> 'scope' as scope, a.details ->> 'state' as state,
      (extract(epoch from a.created_at - d.deadline_at) * 1000)::int as late_ms
    from public.etl_improved_alerts as a
    join etl.deadlines as d on d.run_id = a.run_id and d.scope = a.details ->> 'scope'
    where a.kind = 'sla_miss' order by a.alert_id`;

/** Moves the deadlines of a run into the past. */
const overdue = (engine: Engine, runId: string) =>
  engine
    .sql`update etl.deadlines set deadline_at = now() - interval '1 second' where run_id = ${runId}`;

Deno.test("a run that is late is told of within 5 s, while it still waits, once", async (t) => {
  await using engine = await startEngine(t);
  await using _one = await startReacting(engine);
  await using _two = await startReacting(engine);
  await engine.sql`update etl.pools set slots = 0`;
  const { run_id } = await engine.submit({ sla_seconds: 1 });
  const [found] = await waitFor(async () => {
    const rows = await misses(engine);
    return rows.length > 0 ? rows : null;
  });
  assert.equal(found!.run_id, run_id);
  assert.equal(found!.state, "queued");
  assert.ok(found!.late_ms <= 5_000, `${found!.late_ms} ms late`);
  await sweepDeadlines(engine.sql);
  assert.equal((await misses(engine)).length, 1);
});

Deno.test("many servers that sweep at once raise one alert for each deadline", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`update etl.pools set slots = 0`;
  const ids: string[] = [];
  for (let i = 0; i < 10; i++) {
    const { run_id } = await engine.submit({
      run_label: `l${i}`,
      sla_seconds: { run: 60, stages: { load: 30 } },
    });
    await overdue(engine, run_id);
    ids.push(run_id);
  }
  const [one, other] = [await connect(engine.db.dsn), await connect(engine.db.dsn)];
  try {
    await other.query("set statement_timeout = '5s'");
    await one.query("begin");
    const sweep = "select * from etl.sweep_deadlines()";
    assert.equal((await one.query(sweep)).rowCount, 20);
    // what one server has in hand, another neither waits for nor raises again
    assert.equal((await other.query(sweep)).rowCount, 0);
    await one.query("commit");
    assert.equal((await other.query(sweep)).rowCount, 0);
  } finally {
    await one.end();
    await other.end();
  }
  const pairs = (await misses(engine)).map((miss) => `${miss.run_id} ${miss.scope}`).sort();
  assert.deepEqual(pairs, ids.flatMap((id) => [`${id} load`, `${id} run`]).sort());
});

Deno.test("a deadline that was kept raises nothing and ends the incident of its label", async (t) => {
  await using engine = await startEngine(t);
  const late = await engine.submit({ sla_seconds: 60, batch_size: 5 });
  await overdue(engine, late.run_id);
  await sweepDeadlines(engine.sql);
  await engine.toEnd(late.run_id);
  await consumeEnds(engine.sql);
  const open = async () =>
    (await engine.sql`select from etl.alert_states where kind = 'sla_miss' and resolved_at is null`)
      .length;
  assert.equal(await open(), 1, "a late run recovers nothing");
  const run = await engine.succeed({
    sla_seconds: { run: 600, stages: { load: 600 } },
    batch_size: 5,
  });
  await consumeEnds(engine.sql);
  assert.equal(await open(), 0);
  await overdue(engine, run.run_id);
  await sweepDeadlines(engine.sql);
  assert.equal((await misses(engine)).length, 1);
  const deadlines = await engine
    .sql`select scope from etl.deadlines where run_id = ${run.run_id} and met_at is not null order by 1`;
  assert.deepEqual(deadlines.map((row) => row.scope), ["load", "run"]);
});

Deno.test("of a run that is to go on a stage that ended in time is late for nobody; one that has not ended or did late is, and how late", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.pools set slots = 0`;
  const stages = { extract: 60, transform: 60, load: 60 };
  const { run_id } = await engine.submit({ sla_seconds: { stages } });
  await overdue(engine, run_id);
  await sql`insert into etl.stages (run_id, stage, state, started_at, ended_at)
    select run_id, scope, w.state, deadline_at - interval '9 seconds', deadline_at + w.late * interval '1 second'
    from etl.deadlines join (values ('extract', 'succeeded', -1), ('transform', 'running', null), ('load', 'failed', 0.5))
      as w (scope, state, late) using (scope)
    on conflict (run_id, stage) do update set state = excluded.state, ended_at = excluded.ended_at`;
  await sweepDeadlines(sql);
  assert.deepEqual((await misses(engine)).map(({ scope }) => scope).sort(), ["load", "transform"]);
  const told = await sql<{ message: string }[]>`
    select message from public.etl_improved_alerts order by details ->> 'scope'`;
  assert.match(
    told[0]!.message,
    /^Stage load should have ended by .* and ended 0\.5 s too late/,
  );
  assert.match(told[1]!.message, /^Stage transform should have ended by .* and is still waiting/);
  const [kept] =
    await sql`select d.met_at = s.ended_at as same from etl.deadlines as d join etl.stages as s
    on s.run_id = d.run_id and s.stage = d.scope where d.scope = 'extract'`;
  assert.deepEqual({ ...kept }, { same: true });
});

Deno.test("a run that ended before its deadline is not late when nobody swept in between", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.succeed({ sla_seconds: 600, batch_size: 5 });
  await engine.sql`update etl.deadlines set deadline_at =
    (select ended_at from etl.runs where run_id = ${run.run_id}) + interval '1 millisecond'`;
  await waitFor(async () => {
    await sweepDeadlines(engine.sql);
    return (await engine.sql`select from etl.deadlines where met_at is not null`).length === 1;
  });
  assert.equal((await misses(engine)).length, 0);
});

Deno.test("a run that ended late is told of although nobody swept before its end; a cancelled one is late for nobody", async (t) => {
  await using engine = await startEngine(t);
  const conf = { sla_seconds: { run: 600, stages: { load: 600 } }, batch_size: 5 };
  const after = (runId: string, ms: number) =>
    engine
      .sql`update etl.deadlines as d set deadline_at = r.ended_at + ${ms} * interval '1 millisecond'
      from etl.runs as r where r.run_id = d.run_id and d.run_id = ${runId}`;
  const late = await engine.succeed(conf);
  await after(late.run_id, -1);
  await consumeEnds(engine.sql);
  // a stage that a run never came to is not late when the run ended in time
  const failed = await engine.runToEnd({
    ...conf,
    run_label: "failed",
    source: { type: "file", path: "missing.csv", key: "id" },
  });
  await after(failed.run_id, 1);
  await engine.sql`update etl.pools set slots = 0`;
  const cancelled = await engine.submit({ ...conf, run_label: "cancelled" });
  await engine.post(`/api/etl/runs/${cancelled.run_id}/cancel`);
  await after(cancelled.run_id, -1);
  await waitFor(async () => {
    await sweepDeadlines(engine.sql);
    return (await engine
      .sql`select from etl.deadlines where met_at is null and missed_at is null`).length === 0;
  });
  const [miss, ...others] = (await misses(engine)).filter(({ scope }) => scope === "run");
  assert.deepEqual([miss?.run_id, others], [late.run_id, []]);
  assert.ok((await misses(engine)).every(({ run_id }) => run_id === late.run_id));
});

Deno.test("deadlines count from the request, a retry keeps them, dry runs and replays have none", async (t) => {
  await using engine = await startEngine(t);
  const conf = {
    sla_seconds: { run: 90, stages: { extract: 30 } },
    source: { type: "file", path: "missing.csv", key: "id" },
  };
  const run = await engine.runToEnd(conf);
  const deadlines = () =>
    engine.sql<{ scope: string; seconds: number }[]>`
      select d.scope, extract(epoch from d.deadline_at - r.requested_at)::float as seconds
      from etl.deadlines as d join etl.runs as r using (run_id) order by 1`;
  const before = (await deadlines()).map((row) => ({ ...row }));
  assert.deepEqual(before, [{ scope: "extract", seconds: 30 }, { scope: "run", seconds: 90 }]);
  await retryRun(engine.sql, run.run_id, "test");
  assert.deepEqual((await deadlines()).map((row) => ({ ...row })), before);
  await engine.submit({ ...conf, dry_run: true });
  await engine.submit(conf, { replay_of: run.run_id });
  assert.equal((await deadlines()).length, 2);
});

Deno.test("missed deadlines are in the history of metrics", async (t) => {
  await using engine = await startEngine(t);
  const { run_id } = await engine.submit({
    sla_seconds: { run: 60, stages: { load: 60 } },
    batch_size: 5,
  });
  await overdue(engine, run_id);
  await sweepDeadlines(engine.sql);
  await engine.toEnd(run_id);
  await engine.succeed({ batch_size: 5 });
  const { data: items } = await (await engine.request("/api/metrics/history")).json();
  assert.deepEqual((items as { sla_missed: string[] }[]).map((item) => item.sla_missed.sort()), [
    [],
    ["load", "run"],
  ]);
});
