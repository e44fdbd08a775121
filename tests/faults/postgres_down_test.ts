import { ownCluster } from "../helpers/postgres.ts";
import { isAlive } from "../helpers/processes.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { undisturbed } from "./invariants.ts";
import { endUndisturbed, holdAll, places, roomFor } from "./matrix.ts";
import { World } from "./world.ts";

Deno.test("PostgreSQL crashes in any stage: the runs go on, nothing is lost or doubled", async () => {
  const at = places("resolve");
  await using cluster = await ownCluster({ durable: true });
  await setupDatabase(cluster.dsn);
  await using world = await World.create({ dsn: cluster.dsn, env: roomFor(at) });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  await cluster.crash();
  await cluster.restart();
  const since = { what: "PostgreSQL was back", at: Date.now() };
  for (const run of held) await run.release();
  await endUndisturbed(world, held, { expected, servers: [server], since });
});

Deno.test("PostgreSQL restarts in any stage: the runs go on, nothing is lost or doubled", async () => {
  const at = places("finalize");
  await using cluster = await ownCluster({ durable: true });
  await setupDatabase(cluster.dsn);
  await using world = await World.create({ dsn: cluster.dsn, env: roomFor(at) });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  const [postmaster] = await world.query<{ pid: number }>(
    "select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::integer as pid",
  );
  // fast shutdown: transactions are rolled back, clients are told
  Deno.kill(postmaster!.pid, "SIGINT");
  await waitFor(async () => !await isAlive(postmaster!.pid), {
    timeoutMs: 30_000,
    what: "the shutdown",
  });
  await cluster.restart();
  const since = { what: "PostgreSQL was back", at: Date.now() };
  for (const run of held) await run.release();
  await endUndisturbed(world, held, { expected, servers: [server], since });
});
