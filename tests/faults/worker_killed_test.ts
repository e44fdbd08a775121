import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { exists, holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed, places } from "./matrix.ts";
import { World } from "./world.ts";

/** The server, whose workers crash when a file crash_* appears in its spool directory. */
const CRASHING = new URL("../fixtures/crashing_server.ts", import.meta.url).pathname;

Deno.test("a worker that crashes in any stage is replaced: the run goes on, nothing is lost or doubled", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: { ETL_WORKERS: "1" } });
  const server = await world.start({ name: "a", entry: CRASHING });
  const expected = await undisturbed(world, server);
  // what is held at extract is a download, in a worker of its own
  for (const place of places("validate").filter((each) => each !== "extract")) {
    const crashFlag = `${server.spool}/crash_${place}`;
    const held = await holdRun(world, server, place, { published: 5 });
    await Deno.writeTextFile(crashFlag, "");
    await waitFor(() => !exists(crashFlag), { what: "the worker to crash" });
    const since = { what: "the crash of their worker", at: Date.now() };
    await held.release();
    const attempts = { min: 2, max: 2 };
    await endUndisturbed(world, [held], { expected, servers: [server], attempts, since });
  }
});

Deno.test("a run whose worker crashes again and again fails when its attempts are used up, and says why", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({
    dsn: db.dsn,
    env: { ETL_WORKERS: "1", ETL_RUN_MAX_ATTEMPTS: "2" },
  });
  const server = await world.start({ name: "a", entry: CRASHING });
  const flag = `${server.spool}/crash_always`;
  await Deno.writeTextFile(flag, "");
  await world.addPool("crash");
  const runId = await world.request(server, world.conf("crash"));
  const run = await world.ended(runId, ["failed"]);
  assert.equal(run.error?.type, "/api/problems/attempts-exhausted");
  assert.match(run.error!.detail, /started 2 times.*worker .* died.*crash on purpose/);
  await nothingIsLeft(world, { servers: [server] });

  // the pool is free again, and with workers that live the same run succeeds
  await Deno.remove(flag);
  const { status } = await world.post(server, `/api/etl/runs/${runId}/retry`);
  assert.equal(status, 202);
  await world.ended(runId);
});
