import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { nothingIsLeft, onDisk, undisturbed } from "./invariants.ts";
import { endUndisturbed, holdAll, measured, places, roomFor, takeovers } from "./matrix.ts";
import { World } from "./world.ts";

Deno.test("a server killed in any stage: another takes the runs up within 30 s, nothing is lost or doubled", async (t) => {
  const at = places("publish");
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: roomFor(at) });
  const first = await world.start({ name: "a" });
  const expected = await undisturbed(world, first);
  const held = await holdAll(world, first, { at });
  const second = await world.start({ name: "b" });
  first.kill("SIGKILL");
  await first.ended;
  const since = performance.now();
  for (const run of held) await run.release();
  measured("taken up after SIGKILL of the server", await takeovers(world, held, { since }));
  await endUndisturbed(world, held, { expected, servers: [second], attempts: { min: 2, max: 2 } });

  // what the dead server has left on its disk goes when it starts again
  assert.notDeepEqual(onDisk(first), []);
  const again = await world.start({ name: "a" });
  await nothingIsLeft(world, { servers: [second, again] });
});

Deno.test("a server that is stopped in any stage ends within 15 s, and its runs go on elsewhere", async (t) => {
  const at = places("ge_validate");
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: roomFor(at) });
  const first = await world.start({ name: "a" });
  const expected = await undisturbed(world, first);
  const held = await holdAll(world, first, { at });
  const second = await world.start({ name: "b" });
  const since = performance.now();
  first.kill("SIGTERM");
  const status = await first.ended;
  const stopped = performance.now() - since;
  measured("ended after SIGTERM", { all: Math.round(stopped) });
  assert.ok(stopped < 15_500, `ended after ${stopped} ms`);
  assert.equal(status.code, 0, world.logs());
  for (const run of held) await run.release();
  const taken = await takeovers(world, held, { since: performance.now() });
  measured("taken up after the end of the stopped server", taken);
  await endUndisturbed(world, held, { expected, servers: [second], attempts: { min: 2, max: 3 } });
});

Deno.test("a server that was frozen and replaced in any stage writes nothing when it wakes", async (t) => {
  // finalize is one statement, which goes on without its server
  const at = places("transform").filter((place) => place !== "finalize");
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: roomFor(at) });
  const first = await world.start({ name: "a" });
  const expected = await undisturbed(world, first);
  const held = await holdAll(world, first, { at });
  const second = await world.start({ name: "b" });
  const since = performance.now();
  first.kill("SIGSTOP");
  try {
    measured("taken up after SIGSTOP of the server", await takeovers(world, held, { since }));
    // half of them end while the other server sleeps, the others while both are awake
    const half = held.slice(0, Math.floor(held.length / 2));
    for (const run of half) await run.release();
    for (const run of half) await world.ended(run.runId);
  } finally {
    first.kill("SIGCONT");
  }
  for (const run of held) await run.release();
  await endUndisturbed(world, held, {
    expected,
    servers: [first, second],
    // on a busy machine one may wait too long for what another still holds, and be given back
    attempts: { min: 2 },
  });
  await waitFor(() => first.logs.some((line) => line.includes("another attempt has taken over")), {
    what: "the frozen server to see that it was replaced",
  });
});
