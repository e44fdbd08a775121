import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { FencedOut, lockChunk } from "../../store/chunks.ts";
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

Deno.test("an attempt that was replaced can write nothing: no chunk, no plan, no manifest, no counter, no end", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
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
    { chunkNo: 0, events: 5, duplicates: 1, inserts: 1, updates: 1 },
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
