import assert from "node:assert/strict";
import pg from "pg";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";

async function query<Row extends pg.QueryResultRow>(dsn: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

Deno.test("testDatabase() gives each test a database of its own", async (t) => {
  await using first = await testDatabase(t);
  await using second = await testDatabase(t);
  await query(first.dsn, "create table only_here ()");
  const [row] = await query<{ found: string | null }>(
    second.dsn,
    "select to_regclass('only_here')::text as found",
  );
  assert.equal(row?.found, null);
});

Deno.test("testDatabase() drops a database that is still connected to", async (t) => {
  let name: string;
  let dsn: string;
  const lingering = await (async () => {
    await using db = await testDatabase(t);
    ({ name, dsn } = db);
    const client = new pg.Client({ connectionString: db.dsn });
    const ended = new Promise((resolve) => client.once("end", resolve));
    client.on("error", () => {});
    await client.connect();
    return ended;
  })();
  await lingering;
  await assert.rejects(query(dsn!, "select 1"), new RegExp(`database "${name!}" does not exist`));
});

Deno.test("ownCluster() keeps committed rows through a crash when durable", async () => {
  await using cluster = await ownCluster({ durable: true });
  await query(cluster.dsn, "create table kept as select 1 as n");
  await cluster.crash();
  await assert.rejects(query(cluster.dsn, "select 1"));
  await cluster.restart();
  assert.deepEqual(await query(cluster.dsn, "select n from kept"), [{ n: 1 }]);
});
