import assert from "node:assert/strict";
import { join } from "node:path";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { Database } from "../../store/database.ts";
import { formatDsn, parseDsn } from "../../store/dsn.ts";
import { connect, quoteIdent } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

const DATABASE = "my etl% db#1";
const ROLE = "the loader";
const PASSWORD = "p@ss#100%/ü?:";

async function run(address: string, conf: object) {
  const answer = await fetch(`${address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });
  return await answer.json();
}

Deno.test("names with spaces, IPv6 literals, unescaped characters and keepalives work in set-up, server, workers and sources", async () => {
  await using cluster = await ownCluster({ settings: { listen_addresses: "127.0.0.1,::1" } });
  await withClient(cluster.dsn, async (client) => {
    await client.query(`create role ${quoteIdent(ROLE)} superuser login password '${PASSWORD}'`);
    await client.query(`create database ${quoteIdent(DATABASE)}`);
  });
  const { port } = parseDsn(cluster.dsn).hosts[0]!;
  const dsn = `postgres://${ROLE}:${PASSWORD}@[::1]:${port}/${DATABASE}` +
    "?keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&connect_timeout=10";
  const pairs = `host=::1 port=${port} user='${ROLE}' password='${PASSWORD}' dbname='${DATABASE}'`;
  await setupDatabase(dsn);
  await using server = await startServer({ dsn, env: { ETL_CONNECTION_SELF: pairs } });
  const first = await run(server.address, { batch_size: 100 });
  assert.equal(first.state, "succeeded", JSON.stringify(first.error));
  const second = await run(server.address, {
    table_name: "copied",
    source: { type: "postgres", connection: "self", table: "public.etl_improved_events" },
  });
  assert.equal(second.state, "succeeded", JSON.stringify(second.error));
  assert.equal(second.total_rows, 100);
});

Deno.test("the style of dates that a role or database has changes no time, in either driver", async (t) => {
  await using database = await testDatabase(t);
  const name = quoteIdent(parseDsn(database.dsn).database!);
  for (const style of ["SQL, DMY", "German"]) {
    await withClient(database.dsn, async (client) => {
      await client.query(`alter database ${name} set datestyle = '${style}'`);
      await client.query(`alter database ${name} set timezone = 'Asia/Kolkata'`);
    });
    const at = new Date("2026-05-11T21:10:00.123Z");
    const db = new Database(database.dsn, { applicationName: "styles" });
    try {
      const [row] = await db
        .sql`select ${at.toISOString()}::text::timestamptz as at, current_setting('datestyle') as style`;
      assert.equal(row!.at.toISOString(), at.toISOString(), row!.style);
    } finally {
      await db.close();
    }
    await withClient(database.dsn, async (client) => {
      const { rows } = await client.query("select $1::text::timestamptz as at", [at.toISOString()]);
      assert.equal(rows[0].at.toISOString(), at.toISOString());
    });
  }
  // the text of a key goes to the database and comes back
  await using engine = await startEngine(t, { database });
  const records = [0, 1, 2].map((hour) => ({ at: `2026-01-02T0${hour}:00:00Z` }));
  const mirror = (some: unknown[]) =>
    engine.succeed({
      layout: "typed",
      table_name: "styles",
      write: "mirror",
      max_delete_ratio: 1,
      source: { type: "inline", name: "test", key: "at", records: some },
    });
  await mirror(records);
  const { counts } = await mirror(records.slice(1));
  assert.deepEqual([counts.deleted, counts.unchanged], [1, 2]);
  const left = await engine.sql<{ at: Date }[]>`select at from public.styles order by at`;
  assert.deepEqual(left.map(({ at }) => at.getUTCHours()), [1, 2]);
});

Deno.test("of several hosts the one that takes writes is used, by both drivers, also after a switch", async () => {
  await using left = await ownCluster({ settings: { wal_level: "replica" } });
  await using right = await ownCluster();
  // a third place where nothing listens
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const dead = (listener.addr as Deno.NetAddr).port;
  listener.close();
  const [first, second] = [left, right].map(({ dsn }) => parseDsn(dsn));
  const setPassword = (on: string, to: string) =>
    withClient(on, (client) => client.query(`alter role ${first!.user} password '${to}'`));
  await setPassword(right.dsn, first!.password!);
  const dsn = formatDsn({
    ...first!,
    hosts: [{ host: "127.0.0.1", port: dead }, first!.hosts[0]!, second!.hosts[0]!],
    parameters: new Map([["target_session_attrs", "read-write"]]),
  });
  await makeStandby(left);
  const database = new Database(dsn, { applicationName: "test", max: 1 });
  const where = async () => {
    const [row] = await database.sql<{ port: number }[]>`select inet_server_port() as port`;
    const client = await connect(dsn);
    const { rows } = await client.query("select inet_server_port() as port");
    await client.end();
    return [row!.port, rows[0].port];
  };
  try {
    assert.deepEqual(await where(), Array(2).fill(second!.hosts[0]!.port));
    await setPassword(dsn, second!.password!);
    await right.crash();
    await withClient(left.dsn, (client) => client.query("select pg_promote()"));
    // the first statement after a crash may meet the lost connection
    await where().catch(() => {});
    assert.deepEqual(await where(), Array(2).fill(first!.hosts[0]!.port));
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});

/** Has a cluster stay in recovery, as a replica does. */
async function makeStandby(cluster: Awaited<ReturnType<typeof ownCluster>>): Promise<void> {
  const dir = await withClient(
    cluster.dsn,
    async (client) => (await client.query("show data_directory")).rows[0].data_directory as string,
  );
  await cluster.crash();
  await Deno.writeTextFile(join(dir, "standby.signal"), "");
  if (Deno.uid() === 0) {
    const { uid, gid } = await Deno.stat(dir);
    await Deno.chown(join(dir, "standby.signal"), uid, gid);
  }
  await cluster.restart();
}
