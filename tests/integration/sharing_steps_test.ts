import assert from "node:assert/strict";
import { FencedOut } from "../../store/chunks.ts";
import { Database, type Sql } from "../../store/database.ts";
import { connect } from "../../store/pg.ts";
import {
  advance,
  chunkSpills,
  claimChunk,
  hasOtherServers,
  type Holder,
  joinRun,
  noteNoHelp,
  noteSharing,
  preparedChunks,
  readDecision,
  releaseChunk,
  sharedProgress,
  sharedWork,
  shareRun,
  storeDecision,
  storePrepared,
} from "../../store/sharing.ts";
import { testDatabase } from "../helpers/postgres.ts";

const A = "0190a7a0-0000-7000-8000-00000000000a";
const B = "0190a7a0-0000-7000-8000-00000000000b";

interface World extends AsyncDisposable {
  sql: Sql;
  dsn: string;
  /** The right of the server `first` to a run that goes on in attempt 2, with three planned chunks, and is offered. */
  of: Holder;
}

async function offered(t: { name: string }): Promise<World> {
  const db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 2 });
  const { sql } = database;
  const [{ run_id: runId }] = await sql<[{ run_id: string }]>`
    insert into etl.runs (run_id, run_label, conf, params, origins, schema_name, table_name, audit_table_name, dry_run, pool,
      overlap, state, attempt, server_id, admitted_at, started_at)
    values (gen_random_uuid(), 'x', '{}', '{}', '{}', 'public', 'etl_improved_events', 'etl_improved_audit', false,
      'default_pool', 'queue', 'running', 2, 'first', now(), now()) returning run_id`;
  await sql`insert into etl.chunks (run_id, chunk_no, slice) select ${runId}, n, '{}' from generate_series(0, 2) as n`;
  const of = { runId, attempt: 2, holder: A };
  assert.equal(await shareRun(sql, of, { module: "hash" }), true);
  return {
    sql,
    of,
    dsn: db.dsn,
    async [Symbol.asyncDispose]() {
      await database.close({ timeoutSeconds: 1 });
      await db[Symbol.asyncDispose]();
    },
  };
}

Deno.test("another server can help when it has the same version, and has been heard of lately", async (t) => {
  await using world = await offered(t);
  const { sql } = world;
  const of = { serverId: "first", version: "1" };
  await sql`insert into etl.servers (server_id, version, run_slots, seen_until) values
    ('first', '1', 4, now() + interval '1 minute'), ('other', '2', 4, now() + interval '1 minute'),
    ('gone', '1', 4, now() - interval '1 second')`;
  assert.equal(await hasOtherServers(sql, of), false);
  assert.equal(await hasOtherServers(sql, { ...of, version: "2" }), true);
  await sql`update etl.servers set seen_until = now() + interval '1 minute' where server_id = 'gone'`;
  assert.equal(await hasOtherServers(sql, of), true);
});

Deno.test("what servers say of their help is kept beside what others said, and is the current attempt's", async (t) => {
  await using world = await offered(t);
  const { sql, of } = world;
  const noted = async () =>
    (await sql`select sharing, revision from etl.runs where run_id = ${of.runId}`)[0]!;
  const { revision } = await noted();
  await noteNoHelp(sql, of, { serverId: "second", why: ["data"] });
  await noteNoHelp(sql, of, { serverId: "third", why: ["failed"] });
  const left = { left: { second: ["data"], third: ["failed"] } };
  assert.deepEqual(await noted(), { sharing: left, revision: `${Number(revision) + 2}` });
  const before = { run_id: of.runId, attempt: 1 };
  await noteNoHelp(sql, { ...of, attempt: 1 }, { serverId: "late", why: ["data"] });
  await noteSharing(sql, before, "off");
  assert.deepEqual((await noted()).sharing, left);
  await noteSharing(sql, { ...before, attempt: 2 }, "off");
  assert.deepEqual((await noted()).sharing, { alone: "off" });
  assert.equal(await shareRun(sql, { ...of, attempt: 1 }, {}), false);
});

Deno.test("a chunk's spill is what its holder says, its decision what resolve stored, and progress what is new", async (t) => {
  await using world = await offered(t);
  const { sql, of } = world;
  const helper = { ...of, holder: B };
  assert.equal((await sharedWork(sql, "first")).length, 0, "it is its own run");
  const work = await sharedWork(sql, "second");
  assert.deepEqual(work.map(({ attempt, same }) => [attempt, same]), [[2, { module: "hash" }]]);
  assert.equal(await joinRun(sql, helper, "second"), true);
  const client = await connect(world.dsn);
  try {
    const prepare = async (holder: Holder, serverId: string, inHand: number[] = []) => {
      const claimed = await claimChunk(sql, holder, { serverId, inHand });
      assert.equal(claimed?.step, "prepare");
      return claimed!.chunk_no;
    };
    const store = (holder: Holder, chunkNo: number, spills: Uint8Array[] = []) =>
      storePrepared(client, holder, {
        chunkNo,
        meta: { n: chunkNo },
        reused: chunkNo === 1,
        digest: `d${chunkNo}`,
        spills,
      });
    const [zero, one] = [await prepare(of, "first"), await prepare(helper, "second")];
    await assert.rejects(store(helper, zero), FencedOut);
    const spills = [Uint8Array.of(0, 255), new Uint8Array()];
    await store(helper, one);
    const none = { prepared: [], published: [] };
    assert.deepEqual(await sharedProgress(sql, of, none), {
      stale: false,
      prepared: [one],
      published: [],
    });
    await store(of, zero, spills);
    assert.deepEqual((await chunkSpills(sql, of.runId, zero)).map((each) => [...each]), [
      [0, 255],
      [],
    ]);
    assert.deepEqual((await sharedProgress(sql, of, { ...none, prepared: [one] }))!.prepared, [
      zero,
    ]);
    const spilled = await preparedChunks<{ n: number }>(sql, of.runId, [2, one, zero]);
    assert.deepEqual(spilled.map(({ meta, reused }) => [meta.n, reused]), [[0, false], [1, true]]);
    assert.equal(await advance(sql, of, "resolve"), false, "a chunk is left");
    const two = await prepare(of, "first");
    await releaseChunk(sql, of, { chunkNo: two, failed: false });
    await store(of, await prepare(of, "first"));
    const gone = { ...of, attempt: 1 };
    assert.equal(
      await advance(sql, gone, "resolve"),
      false,
      "an attempt that is the run's no more",
    );
    assert.equal(await advance(sql, of, "resolve"), true);
    const decision = { decision: { inserts: 2 }, inserts: Uint8Array.of(5), updates: null };
    for (const no of [zero, one, two]) await storeDecision(client, of.runId, no, decision);
    const { inserts, updates } = await readDecision(client, of.runId, one);
    assert.deepEqual([[...inserts!], updates], [[5], null]);
    assert.equal(await advance(sql, gone, "publish"), false);
    assert.equal(await advance(sql, of, "publish"), true);
    const publish = await claimChunk(sql, helper, { serverId: "second", inHand: [] });
    assert.ok(publish?.step === "publish");
    assert.deepEqual([publish.chunk_no, publish.decision], [one, { inserts: 2 }]);
    // one that is being published is prepared
    assert.deepEqual((await sharedProgress(sql, of, none))!.prepared, [0, 1, 2]);
    await sql`update etl.chunks set state = 'published', inserted = 3, updated = 4, events = 9, stage_ms = '{"load": 1.5}'
      where run_id = ${of.runId} and chunk_no = ${one}`;
    const { published } = (await sharedProgress(sql, of, none))!;
    assert.deepEqual(published, [{ chunk_no: one, events: 9, written: 7, load_ms: 1.5 }]);
    assert.deepEqual((await sharedProgress(sql, of, { ...none, published: [one] }))!.published, []);
    assert.equal(await sharedProgress(sql, gone, none), null);
    // what a server has published that goes is not prepared again, what it has not is
    await sql`select etl.leave_run(${B})`;
    const third = { ...of, holder: "0190a7a0-0000-7000-8000-00000000000c" };
    assert.equal(await joinRun(sql, third, "third"), true);
    const left = () => claimChunk(sql, third, { serverId: "third", inHand: [] });
    assert.equal(await left(), null);
    await sql`update etl.chunks set state = 'prepared' where run_id = ${of.runId} and chunk_no = ${one}`;
    const again = await left();
    assert.ok(again?.step === "prepare");
    assert.deepEqual([again.chunk_no, again.again, again.fills], [one, true, false]);
  } finally {
    await client.end();
  }
});
