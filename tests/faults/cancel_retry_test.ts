import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { LONELY_KEY } from "./data.ts";
import { holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed, holdAll, LONG, measured, places, roomFor } from "./matrix.ts";
import { World } from "./world.ts";
import { lacks } from "../helpers/needs.ts";

const AGAIN = ["finished", "finished", "requested"];

Deno.test("a run cancelled in any stage ends while that still hangs, without half a chunk, and a retry loads only the rest", async (t) => {
  // finalize is one transaction: a run ends there or has been cancelled before
  const at = places("transform", "publish").filter((place) => place !== "finalize");
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: roomFor(at) });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  const took: Record<string, number> = {};
  for (const { runId, place } of held) {
    const { status } = await world.post(server, `/api/etl/runs/${runId}/cancel`);
    assert.equal(status, 202);
    const { error } = await world.ended(runId, ["cancelled"]);
    const published = place === "publish" ? 9 : 0;
    assert.equal(
      /\((\d+) of 10 chunks are in the table\)/.exec(error!.detail)?.[1] ?? "0",
      `${published}`,
    );
    const [row] = await world.query<{ ms: number; counted: string; written: string }>(
      `select extract(epoch from ended_at - cancel_requested_at)::float8 * 1000 as ms,
        (select coalesce(sum(inserted + updated), 0) from etl.chunks where run_id = r.run_id) as counted,
        (select count(*) from fault_writes where name = $2) as written
      from etl.runs as r where run_id = $1`,
      [runId, `f_${place}`],
    );
    took[place] = Math.round(row!.ms);
    assert.equal(row!.written, row!.counted, `what is in the table after a cancel at ${place}`);
  }
  measured("cancelled", took);
  for (const run of held) await run.release();
  await nothingIsLeft(world, { servers: [server] });

  for (const { runId } of held) {
    assert.equal((await world.post(server, `/api/etl/runs/${runId}/retry`)).status, 202);
  }
  const attempts = { min: 2, max: 2 };
  await endUndisturbed(world, held, { expected, servers: [server], audit: AGAIN, attempts });
});

Deno.test("a run that failed while publishing is retried with the rest of its chunks only", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  await world.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused on purpose'; end $$`,
  );
  const held = await holdRun(world, server, "chunk");
  await world.query(
    `create trigger refuse before insert on f_chunk for each row when (new.event_id = '${LONELY_KEY}')
      execute function refuse()`,
  );
  await held.release();
  const failed = await world.ended(held.runId, ["failed"]);
  assert.match(failed.error!.detail, /refused on purpose.*\(\d+ of 10 chunks are in the table\)/s);
  await nothingIsLeft(world, { servers: [server] });
  await world.query("drop trigger refuse on f_chunk");
  assert.equal((await world.post(server, `/api/etl/runs/${held.runId}/retry`)).status, 202);
  await endUndisturbed(world, [held], { expected, servers: [server], audit: AGAIN });
});

Deno.test({
  name: "a run that is retried while its last attempt is cleaned up loses nothing",
  ignore: lacks(LONG, "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await testDatabase(t);
    await using world = await World.create({ dsn: db.dsn });
    const server = await world.start({ name: "a" });
    const expected = await undisturbed(world, server);
    const held = await holdRun(world, server, "publish");
    const audit = ["finished", "requested"];
    for (let round = 0; round < 3; round++) {
      assert.equal((await world.post(server, `/api/etl/runs/${held.runId}/cancel`)).status, 202);
      await world.ended(held.runId, ["cancelled"]);
      assert.equal((await world.post(server, `/api/etl/runs/${held.runId}/retry`)).status, 202);
      audit.unshift("finished");
    }
    await held.release();
    await endUndisturbed(world, [held], { expected, servers: [server], audit });
  },
});
