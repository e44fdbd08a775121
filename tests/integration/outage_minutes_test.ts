import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { sweepConditions } from "../../store/reactions.ts";
import { admitRuns, giveBackRun } from "../../store/runs.ts";
import { startEngine } from "../helpers/engine.ts";

Deno.test("an outage is waited for by time, in pauses that grow, and uses no attempt up", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 5 });
  const error = {
    type: "/api/problems/database-unavailable",
    status: 503,
    detail: "no space is left on the database's disk.",
  };
  const giveBack = async (minutes: number | null) => {
    const [row] = await sql<{ attempt: number }[]>`
      update etl.runs set state = 'running', attempt = attempt + 1,
        admitted_at = coalesce(admitted_at, clock_timestamp()) where run_id = ${run_id} returning attempt`;
    const given = minutes === null ? error : { ...error, outage_minutes: minutes };
    assert.equal(await giveBackRun(sql, { run_id, attempt: row!.attempt }, given), true);
    const [run] = await sql<
      {
        used: number;
        pause: number;
        state: string;
        error: { detail: string; outage_minutes?: number };
      }[]
    >`
      select attempt - attempt_base as used, state, error,
        extract(epoch from next_attempt_at - clock_timestamp())::double precision as pause
      from etl.runs where run_id = ${run_id}`;
    return run!;
  };
  const used = 0;
  const first = await giveBack(30);
  assert.equal(first.used, used);
  assert.ok(first.pause > 0 && first.pause <= 1, `${first.pause}`);
  assert.equal(first.error.outage_minutes, undefined);
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '20 seconds' where run_id = ${run_id}`;
  const later = await giveBack(30);
  assert.ok(later.pause > 8 && later.pause < 11, `${later.pause}`);
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '29 minutes' where run_id = ${run_id}`;
  const long = await giveBack(30);
  assert.ok(long.pause > 55 && long.pause <= 60, `${long.pause}`);
  assert.equal(long.used, used);
  assert.equal((await giveBack(null)).used, used + 1, "what the run causes counts");
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '31 minutes',
    next_attempt_at = clock_timestamp() - interval '6 minutes' where run_id = ${run_id}`;
  const anew = await giveBack(30);
  assert.equal(anew.state, "queued", "an attempt that worked for five minutes had what it needs");
  assert.ok(anew.pause > 0 && anew.pause <= 1, `${anew.pause}`);
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '31 minutes',
    next_attempt_at = clock_timestamp() where run_id = ${run_id}`;
  const over = await giveBack(30);
  assert.equal(over.state, "failed");
  assert.match(over.error.detail, /no space .*waited for since .*30 minutes of ETL_OUTAGE_MINUTES/);
  await sql`update etl.runs set next_attempt_at = clock_timestamp() + interval '1 minute' where run_id = ${run_id}`;
  await sql`select etl.retry_run(${run_id})`;
  const [again] = await sql`select next_attempt_at < clock_timestamp() as due from etl.runs`;
  assert.equal(again!.due, true, "a retry waits for no pause");
  await sql`update etl.runs set attempt_base = attempt - 5 where run_id = ${run_id}`;
  const tired = await giveBack(null);
  assert.ok(tired.pause > 9 && tired.pause <= 10, `${tired.pause}`);
});

Deno.test("a run in an outage gives its place in the pool back, and keeps its label and its order", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.pools set slots = 1`;
  const unversioned = (run_label: string, name: string, priority = 0) =>
    engine.submit({
      run_label,
      priority,
      source: { type: "inline", name, key: "id", records: [{ id: 1 }] },
    });
  const resting = await unversioned("v", "shop");
  await admitRuns(sql);
  await sql`update etl.runs set state = 'running', attempt = 1 where run_id = ${resting.run_id}`;
  const error = { type: "t", status: 503, detail: "away.", outage_minutes: 30 };
  assert.equal(await giveBackRun(sql, { run_id: resting.run_id, attempt: 1 }, error), true);
  await unversioned("v", "other");
  // a priority comes first among those that wait, but not before what its label is at
  await unversioned("v", "another", 10);
  await unversioned("x", "shop");
  const other = await unversioned("w", "third");
  const admitted = async () =>
    (await sql<{ run_id: string }[]>`
      select run_id from etl.runs where admitted_at is not null and ended_at is null`)
      .map(({ run_id }) => run_id);
  await sql`update etl.pools set slots = 5`;
  await sql`update etl.runs set next_attempt_at = clock_timestamp() + interval '1 minute' where run_id = ${resting.run_id}`;
  await admitRuns(sql);
  assert.deepEqual(await admitted(), [other.run_id], "others go on, none of its label or order");
  await sql`update etl.runs set next_attempt_at = '-infinity' where run_id = ${resting.run_id}`;
  await admitRuns(sql);
  assert.deepEqual((await admitted()).toSorted(), [resting.run_id, other.run_id].toSorted());
});

Deno.test("a run ends although a client keeps sums and incidents locked", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await engine.succeed({ batch_size: 5 });
  await sql`select etl.raise_alert('stale', 'public.etl_improved_events', 'm')`;
  const client = await connect(engine.db.dsn);
  let waited = false;
  const tooLate = setTimeout(() => {
    waited = true;
    void client.end();
  }, 20_000);
  try {
    await client.query(`begin; update etl.metrics_totals set runs = runs;
      select from etl.alert_states for update`);
    await engine.succeed({ batch_size: 6, run_label: "b" });
    assert.equal(waited, false, "until the client is gone");
    const [sum] = await sql`select sum(runs)::int as n from etl.metrics_totals`;
    assert.equal(sum!.n, 2);
  } finally {
    clearTimeout(tooLate);
    await client.end();
  }
  const open = () => sql`select from etl.alert_states where resolved_at is null`;
  assert.equal((await open()).length, 1);
  await sql`update etl.reaction_settings set stale_after_seconds = 3600`;
  await sweepConditions(sql);
  assert.equal((await open()).length, 0, "the next sweep ends what was passed over");
});
