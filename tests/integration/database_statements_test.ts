import assert from "node:assert/strict";
import { Database } from "../../store/database.ts";
import { connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("a statement does not wait behind one that waits for a lock", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const holder = await connect(db.dsn);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 2 });
  const { sql } = database;
  try {
    await holder.query("create table held ()");
    const select = () => sql`select from held`.then(() => "done");
    // prepared on its connection, so that the next time others could be sent after it
    await select();
    await holder.query("begin; lock table held in access exclusive mode");
    const waiting = select();
    await waitFor(
      async () =>
        (await sql`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`)
          .length === 1,
      { what: "the first statement to wait" },
    );
    // both at once: one of them would be sent after the waiting one
    await Promise.all([sql`select 1`, sql`select 2`, sql`select 3`]);
    await holder.query("rollback");
    assert.equal(await waiting, "done");
  } finally {
    await holder.end();
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("statements that come one after the other share the plans of one connection, those that come at once do not wait", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const holder = await connect(db.dsn);
  const database = new Database(db.dsn, { applicationName: "etl test" });
  const { sql } = database;
  const backend = async () =>
    (await sql<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]!.pid;
  try {
    const at = (count: number) => Promise.all(Array.from({ length: count }, backend));
    assert.equal(new Set(await at(6)).size, 6);
    const pids = new Set<number>();
    for (let i = 0; i < 6; i++) pids.add(await backend());
    assert.equal(pids.size, 1);

    await holder.query("create table held ()");
    await holder.query("begin; lock table held in access exclusive mode");
    const waiting = sql`select from held`.then(() => "done");
    await sql`select`;
    assert.ok(!pids.has(await backend()));
    await holder.query("rollback");
    assert.equal(await waiting, "done");
    assert.ok(pids.has(await backend()));
  } finally {
    await holder.end();
    await database.close({ timeoutSeconds: 1 });
  }
});
