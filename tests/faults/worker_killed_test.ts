import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { PLAIN_TRANSFORM } from "./data.ts";
import { exists, holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed, places } from "./matrix.ts";
import { World } from "./world.ts";

Deno.test("a worker that crashes in any stage is replaced: the run goes on, nothing is lost or doubled", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: { ETL_WORKERS: "1" } });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  // what is held at extract is a download, in a worker that loads no module that could crash it
  for (const place of places("validate").filter((each) => each !== "extract")) {
    const crashFlag = `${server.spool}/crash_${place}`;
    const held = await holdRun(world, server, place, { crashFlag, published: 5 });
    await Deno.writeTextFile(crashFlag, "");
    const crashed = () => waitFor(() => !exists(crashFlag), { what: "the worker to crash" });
    const blocked = ["transform", "validate", "ge_validate", "chunk"].includes(place);
    // a worker that a transform blocks crashes as soon as it turns to something else
    if (blocked) await held.release();
    await crashed();
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
  const server = await world.start({ name: "a" });
  await Deno.writeTextFile(
    `${world.root}/transforms/crash.ts`,
    `${PLAIN_TRANSFORM}\nsetTimeout(() => { throw new Error("crash on purpose"); }, 0);\n`,
  );
  await world.addPool("crash");
  const runId = await world.request(server, world.conf("crash", { transform: "crash" }));
  const run = await world.ended(runId, ["failed"]);
  assert.equal(run.error?.type, "/api/problems/attempts-exhausted");
  assert.match(run.error!.detail, /started 2 times.*worker .* died.*crash on purpose/);
  await nothingIsLeft(world, { servers: [server] });

  // the pool is free again, and with another transform the same run succeeds
  await Deno.writeTextFile(`${world.root}/transforms/crash.ts`, PLAIN_TRANSFORM);
  const { status } = await world.post(server, `/api/etl/runs/${runId}/retry`);
  assert.equal(status, 202);
  await world.ended(runId);
});
