import assert from "node:assert/strict";
import { claimRun, type RunRow } from "../../store/runs.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

const MAX_ATTEMPTS = 3;
/** No conf has these: nobody reads what the runs would load. */
const conf = (name: string) => ({
  run_label: name,
  source: { type: "file", path: `${name}.csv`, key: "id" },
});

const claim = async (engine: Engine, serverId: string) =>
  (await claimRun(engine.sql, { serverId, maxAttempts: MAX_ATTEMPTS }))?.run ?? null;

async function claimed(engine: Engine, serverId: string): Promise<RunRow[]> {
  const runs: RunRow[] = [];
  for (let run = await claim(engine, serverId); run !== null; run = await claim(engine, serverId)) {
    runs.push(run);
  }
  return runs;
}

/** As if a server had died some time ago: what it ran gives no sign of life any more. */
const dies = (engine: Engine, serverId: string) =>
  engine
    .sql`update etl.runs set seen_at = seen_at - interval '30 seconds', attempt_started_at = attempt_started_at - interval '30 seconds'
    where server_id = ${serverId} and state = 'running'`;

const labels = (runs: RunRow[]) => runs.map(({ run_label }) => run_label).sort();

async function stateOf(engine: Engine, label: string) {
  const [run] = await engine.sql<
    { state: string; counted: number; deaths: number; detail: string | null }[]
  >`select state, attempt - attempt_base as counted, deaths, error ->> 'detail' as detail
    from etl.runs where run_label = ${label}`;
  return run!;
}

async function requested(engine: Engine, names: string[]): Promise<void> {
  // while PostgreSQL was away nobody could give a sign of life
  await waitFor(async () =>
    (await engine.sql<{ up: boolean }[]>`
      select pg_postmaster_start_time() < now() - interval '7 seconds' as up`)[0]!.up
  );
  for (const name of names) {
    await engine.sql`select etl.submit_run(${
      JSON.stringify(conf(name))
    }::text::jsonb, '{"immediate": true}')`;
  }
  await engine.sql`select etl.admit_runs()`;
}

Deno.test("runs that die with their server are no attempts of theirs until one of them is alone with it; then it is that one's, and it ends", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await requested(engine, ["bad", "good"]);
  assert.deepEqual(labels(await claimed(engine, "s1")), ["bad", "good"]);
  await dies(engine, "s1");
  assert.deepEqual(labels(await claimed(engine, "s2")), ["bad", "good"]);
  for (const label of ["bad", "good"]) {
    const { counted, detail } = await stateOf(engine, label);
    assert.equal(counted, 1, "the first attempt does not count");
    assert.match(
      detail!,
      /server s1 stopped without a word at .* in stage \S+, with 0 of an unknown number of chunks prepared.* 1 other runs were on it.*out of memory/,
    );
  }
  await dies(engine, "s2");
  // two servers have died with them: each gets one for itself
  const [first, ...others] = await claimed(engine, "s3");
  assert.deepEqual(others, [], "two suspects are not together");
  const [second] = await claimed(engine, "s4");
  assert.deepEqual(labels([first!, second!]), ["bad", "good"]);
  await requested(engine, ["later"]);
  assert.equal(await claim(engine, "s3"), null, "nothing joins a suspect, also what is none");
  assert.deepEqual(labels(await claimed(engine, "s0")), ["later"]);
  // the innocent one gets on
  const good = [first!, second!].find(({ run_label }) => run_label === "good")!;
  await engine
    .sql`insert into etl.chunks (run_id, chunk_no, slice, prepared_at) values (${good.run_id}, 0, '{}', now())`;
  const bad = [first!, second!].find(({ run_label }) => run_label === "bad")!;
  await dies(engine, bad.server_id!);
  assert.equal(await claim(engine, good.server_id!), null, "a suspect joins nobody");
  assert.equal((await stateOf(engine, "bad")).state, "running");
  // alone with its server: all of its attempts count, and they are used up
  await claimed(engine, "s5");
  const ended = await stateOf(engine, "bad");
  assert.equal(ended.state, "failed");
  assert.match(ended.detail!, /started 3 times.*No other run was on it/);
  assert.equal((await stateOf(engine, "good")).state, "running");
  // what has got on is no suspect any more, nor what somebody has taken up again
  const [{ run_id }] = await engine.sql<[{ run_id: string }]>`
    select run_id from etl.runs where run_label = 'bad'`;
  await engine.sql`select etl.retry_run(${run_id})`;
  await engine.sql`select etl.admit_runs()`;
  assert.deepEqual(labels(await claimed(engine, good.server_id!)), ["bad"]);
});

Deno.test("a run that had got on when its server died has used no attempt up; one that waits for a server of its own waits a minute at most", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await requested(engine, ["steady"]);
  for (let n = 1; n <= MAX_ATTEMPTS + 1; n++) {
    const [run] = await claimed(engine, `s${n}`);
    assert.equal(run!.run_label, "steady");
    await engine.sql`insert into etl.chunks (run_id, chunk_no, slice, prepared_at) values (${
      run!.run_id
    }, ${n}, '{}', now())`;
    await dies(engine, `s${n}`);
  }
  const [run] = await claimed(engine, "t1");
  assert.equal(run!.attempt, MAX_ATTEMPTS + 2);
  assert.match((await stateOf(engine, "steady")).detail!, /had got on since its last attempt/);
  await requested(engine, ["beside"]);
  assert.equal((await claim(engine, "t1"))?.run_label, "beside", "it is no suspect");
  const ids = await engine.sql<{ run_id: string; attempt: number }[]>`
    select run_id, attempt from etl.runs where run_label = 'beside'`;
  await engine.sql`select etl.finish_run(${ids[0]!.run_id}, ${
    ids[0]!.attempt
  }, '{"state": "failed"}')`;
  // now it does not get on
  await dies(engine, "t1");
  await requested(engine, ["long"]);
  await engine
    .sql`update etl.runs set admitted_at = now() - interval '1 hour' where run_label = 'long'`;
  const [long] = await claimed(engine, "busy");
  assert.deepEqual([long!.run_label, await claim(engine, "busy")], ["long", null]);
  await engine
    .sql`update etl.runs set seen_at = now() - interval '61 seconds' where run_label = 'steady'`;
  assert.equal((await claim(engine, "busy"))!.run_label, "steady");
  const { counted, detail } = await stateOf(engine, "steady");
  assert.equal(counted, 3, "a death without progress counts, as does the one before it");
  assert.match(detail!, /No other run was on it/);
  await requested(engine, ["patient"]);
  assert.equal(await claim(engine, "busy"), null, "nothing joins a suspect");
  await engine
    .sql`update etl.runs set attempt_started_at = attempt_started_at - interval '21 seconds'
    where run_label = 'steady'`;
  assert.equal((await claim(engine, "busy"))?.run_label, "patient", "until it has worked for 20 s");
});

Deno.test("what a run was spared counts once: not again with a later death, nor after a retry; who died there long before was no companion", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  const takes = async (serverId: string, ...expected: string[]) => {
    const taken: string[] = [];
    for (let n = 0; n < expected.length; n++) {
      const found = await claimRun(sql, { serverId, maxAttempts: 9 });
      taken.push(found?.run.run_label ?? "none");
    }
    assert.deepEqual(taken.sort(), expected.toSorted(), serverId);
  };
  const ends = (label: string) =>
    sql`select etl.finish_run(run_id, attempt, '{"state": "failed", "error": {"detail": "x"}}')
      from etl.runs where run_label = ${label}`;
  const counted = async (label: string) => (await stateOf(engine, label)).counted;

  await requested(engine, ["bad", "beside"]);
  await takes("s1", "bad", "beside");
  await dies(engine, "s1");
  await takes("s2", "bad", "beside");
  await ends("beside");
  for (const [n, expected] of [3, 4, 5].entries()) {
    await dies(engine, `s${n + 2}`);
    await takes(`s${n + 3}`, "bad");
    assert.equal(await counted("bad"), expected, "each attempt once");
  }
  await ends("bad");

  await requested(engine, ["again", "other"]);
  await takes("t1", "again", "other");
  await dies(engine, "t1");
  await takes("t2", "again", "other");
  await ends("other");
  await ends("again");
  await sql`select etl.retry_run(run_id) from etl.runs where run_label = 'again'`;
  await requested(engine, ["more"]);
  await takes("t3", "again", "more");
  await dies(engine, "t3");
  await takes("t4", "again", "more");
  assert.equal(await counted("again"), 1, "spared");
  await ends("more");
  await dies(engine, "t4");
  await takes("t5", "again");
  assert.equal(await counted("again"), 3, "the attempts since the retry");
  await ends("again");

  await requested(engine, ["late"]);
  await takes("u1", "late");
  await sql`update etl.runs set died_on = 'u1', died_at = now() - interval '1 hour' where run_label = 'bad'`;
  await dies(engine, "u1");
  await takes("u2", "late");
  assert.equal(await counted("late"), 2);
  assert.match((await stateOf(engine, "late")).detail!, /No other run was on it/);
});
