import { testDatabase } from "../helpers/postgres.ts";
import { tcpProxy } from "../helpers/tcp_proxy.ts";
import { undisturbed } from "./invariants.ts";
import { endUndisturbed, holdAll, places, roomFor } from "./matrix.ts";
import { OWN_NAME, World } from "./world.ts";

Deno.test("every backend terminated in any stage: the runs go on, nothing is lost or doubled", async (t) => {
  const at = places("resolve");
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn, env: roomFor(at) });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  const since = { what: "the end of all backends", at: Date.now() };
  await world.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name <> $1`,
    [OWN_NAME],
  );
  for (const run of held) await run.release();
  await endUndisturbed(world, held, { expected, servers: [server], since });
});

Deno.test("every connection cut in any stage: the runs go on, nothing is lost or doubled", async (t) => {
  const at = places("extract");
  await using db = await testDatabase(t);
  await using proxy = tcpProxy({ port: Number(new URL(db.dsn).port) });
  await using world = await World.create({
    dsn: db.dsn,
    serverDsn: proxy.through(db.dsn),
    env: roomFor(at),
  });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  const since = { what: "all connections were cut", at: Date.now() };
  proxy.breakAll();
  for (const run of held) await run.release();
  await endUndisturbed(world, held, { expected, servers: [server], since });
});

Deno.test("half-open connections in any stage are noticed: the runs go on, nothing is lost or doubled", async (t) => {
  const at = places("prepared");
  await using db = await testDatabase(t);
  await using proxy = tcpProxy({ port: Number(new URL(db.dsn).port) });
  await using world = await World.create({
    dsn: db.dsn,
    serverDsn: proxy.through(db.dsn),
    env: { ...roomFor(at), ETL_DB_PROBE_SECONDS: "1" },
  });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const held = await holdAll(world, server, { at });
  const since = { what: "all connections were half-open, probed every second", at: Date.now() };
  // from now on nothing comes through what is open, and nobody is told
  proxy.stall({ existing: true });
  for (const run of held) await run.release();
  await endUndisturbed(world, held, { expected, servers: [server], since });
});
