import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { FencedOut, lockChunk } from "../../store/chunks.ts";
import type { Sql } from "../../store/database.ts";
import { connect } from "../../store/pg.ts";
import {
  finishRun,
  giveBackRun,
  planChunks,
  reportProgress,
  startRun,
  storeDryRunCounts,
} from "../../store/runs.ts";
import { createManifest, dropManifests } from "../../store/event_keys.ts";
import {
  advance,
  claimChunk,
  type Holder,
  joinRun,
  leaveRun,
  releaseHelpers,
  reportHelp,
  sharedProgress,
  sharedWork,
  shareRun,
  storePrepared,
} from "../../store/sharing.ts";

/** Nobody is taken for dead in the first seconds of a PostgreSQL. */
const untilDeathsCount = (sql: Sql) =>
  waitFor(
    async () =>
      (await sql<{ old: boolean }[]>`
        select pg_postmaster_start_time() < clock_timestamp() - interval '6 seconds' as old`)[0]!
        .old,
    { what: "PostgreSQL to be there for 6 s" },
  );

Deno.test("an attempt that was replaced can write nothing: no chunk, no plan, no manifest, no counter, no end", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await untilDeathsCount(sql);
  const { run_id: runId } = await engine.submit({ batch_size: 10 });
  const stale = (await startRun(sql, runId, { serverId: "stale", maxAttempts: 5 }))!;
  const plan = { pin: { size: 1 }, slices: [{ from: 0 }, { from: 5 }], warnings: [] };
  assert.equal((await planChunks(sql, stale, plan)).length, 2);
  await sql`update etl.runs set seen_at = now() - interval '1 minute' where run_id = ${runId}`;
  const current = (await startRun(sql, runId, { serverId: "current", maxAttempts: 5 }))!;
  assert.equal(current.attempt, 2);
  const manifest = `manifest_${runId.replaceAll("-", "")}`;
  assert.equal(await createManifest(sql, current), true);

  const everything = async () =>
    await sql`select r.*, (select jsonb_agg(c order by chunk_no) from etl.chunks as c where c.run_id = r.run_id) as chunks,
        (select jsonb_agg(s order by stage) from etl.stages as s where s.run_id = r.run_id) as stages,
        (select array_agg(relname::text order by relname) from pg_class where starts_with(relname, ${manifest})) as manifests
      from etl.runs as r where run_id = ${runId}`;
  const before = await everything();
  assert.deepEqual(before[0]!.manifests, [`${manifest}_2`]);

  assert.equal((await planChunks(sql, stale, { ...plan, slices: [{ from: 9 }] })).length, 0);
  assert.equal(await createManifest(sql, stale), false);
  await dropManifests(sql, stale);
  await storeDryRunCounts(sql, stale, [
    {
      chunkNo: 0,
      events: 5,
      duplicates: 1,
      inserts: 1,
      updates: 1,
      deletions: 0,
      deleted: 0,
      marked: 0,
    },
  ]);
  assert.deepEqual({ ...await reportProgress(sql, stale, []) }, {
    is_current: false,
    cancel_requested: false,
  });
  assert.equal(await giveBackRun(sql, stale, { detail: "late" }), false);
  assert.equal(await finishRun(sql, stale, { state: "failed", error: {}, stages: [] }), null);
  const client = await connect(engine.db.dsn);
  try {
    await assert.rejects(lockChunk(client, { runId, attempt: 1 }, 0), FencedOut);
    assert.equal((await lockChunk(client, { runId, attempt: 2 }, 0)).state, "planned");
  } finally {
    await client.end();
  }
  assert.deepEqual(await everything(), before);
});

Deno.test("of a run on several servers only its holder writes a chunk, and one that became another is resolved anew", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await untilDeathsCount(sql);
  const { run_id: runId } = await engine.submit({ batch_size: 10 });
  const run = (await startRun(sql, runId, { serverId: "one", maxAttempts: 5 }))!;
  const plan = { pin: { size: 1 }, slices: [{ from: 0 }, { from: 3 }, { from: 6 }], warnings: [] };
  await planChunks(sql, run, plan);
  const holder = (): Holder => ({ runId, attempt: run.attempt, holder: crypto.randomUUID() });
  const [one, two, again] = [holder(), holder(), holder()];
  const client = await connect(engine.db.dsn);
  const take = async (of: Holder, serverId: string, inHand: number[] = []) => {
    const chunk = await claimChunk(sql, of, { serverId, inHand });
    return chunk === null ? null : `${chunk.step} ${chunk.chunk_no}`;
  };
  const store = async (of: Holder, chunkNo: number, digest: string) => {
    await client.query("begin");
    try {
      await lockChunk(client, of, chunkNo);
      const chunk = { chunkNo, meta: { chunkNo }, reused: false, digest, spills: [] };
      await storePrepared(client, of, chunk);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  };
  try {
    assert.equal(await shareRun(sql, { ...one, attempt: 7 }, {}), false, "another attempt");
    assert.equal(await shareRun(sql, one, { program: "x" }), true);
    assert.equal(await take(two, "two"), null, "one that has not joined");
    assert.deepEqual([...await sharedWork(sql, "one")], [], "the coordinator is no helper");
    assert.equal((await sharedWork(sql, "two"))[0]!.same.program, "x");
    assert.equal(await joinRun(sql, two, "two"), true);
    assert.equal(await take(one, "one"), "prepare 0");
    assert.equal(await take(two, "two"), "prepare 1");
    await store(two, 1, "b");
    assert.equal(await take(two, "two"), "prepare 2");
    assert.equal(await take(one, "one", [0]), null);
    await assert.rejects(store(two, 0, "a"), FencedOut, "a chunk of another");
    await store(one, 0, "a");
    assert.equal(await advance(sql, one, "resolve"), false, "chunk 2 is not prepared");

    // an answer that was lost: the chunk is open again
    assert.equal(await take(two, "two"), "prepare 2");
    // two is silent for too long
    await sql`update etl.run_helpers set seen_at = now() - interval '7 seconds'`;
    assert.equal(await releaseHelpers(sql, one), 1);
    await assert.rejects(store(two, 2, "c"), FencedOut, "one that was taken for dead");
    assert.deepEqual({ ...await reportHelp(sql, two) }, {
      is_current: false,
      cancel_requested: false,
    });
    assert.equal(await take(two, "two"), null);
    assert.equal(await joinRun(sql, again, "two"), true);
    assert.equal(await take(again, "two"), "prepare 1");
    assert.equal(
      await take(again, "two", [1]),
      null,
      "what a server died with takes no other with it",
    );
    await store(again, 1, "b");
    assert.equal(await take(one, "one"), "prepare 2");
    await store(one, 2, "c");
    assert.equal(await advance(sql, one, "resolve"), true);
    assert.equal(await take(one, "one"), null, "nothing is claimed while it is resolved");
    assert.equal(await advance(sql, one, "publish"), false, "nothing is decided");
    await sql`update etl.shared_chunks set decision = '{}'`;
    assert.equal(await advance(sql, one, "publish"), true);
    assert.equal(await take(one, "one"), "publish 0", "each its own");

    // the other goes: its chunk is prepared again, by the one that is left
    await leaveRun(sql, again.holder);
    await sql`update etl.chunks set state = 'published' where chunk_no = 2`;
    const progress = () => sharedProgress(sql, one, { prepared: [], published: [] });
    assert.equal(await take(one, "one", [0]), "prepare 1");
    await store(one, 1, "b");
    assert.equal((await progress())!.stale, false);
    assert.equal(await take(one, "one", [0]), "publish 1");
    // and once more, with another content
    await sql`update etl.shared_chunks set state = 'open', holder = null where chunk_no = 1`;
    assert.equal(await take(one, "one", [0]), "prepare 1");
    await store(one, 1, "c");
    assert.equal((await progress())!.stale, true);
    assert.equal(await take(one, "one", [0]), null, "what was decided is of another content");

    // the next attempt's chunks are its own
    await sql`update etl.runs set seen_at = now() - interval '1 minute' where run_id = ${runId}`;
    await startRun(sql, runId, { serverId: "three", maxAttempts: 5 });
    assert.equal(await take(one, "one"), null);
    await assert.rejects(store(one, 0, "a"), FencedOut);
    assert.equal(await shareRun(sql, one, {}), false);
  } finally {
    await client.end();
  }
});
