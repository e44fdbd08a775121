import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { connect } from "../../store/pg.ts";

const record = (id: string, version: number) => ({ id, version });
const source = { type: "inline", name: "test", key: "id", version: "version" };

Deno.test("a deadlock with somebody else's transaction is tried again, and the rows arrive once", async (t) => {
  await using engine = await startEngine(t);
  await engine.load([record("a", 1), record("b", 1)], { source, chunk_size: 10 });
  const other = await connect(engine.db.dsn);
  try {
    // on a busy machine this side could look for the circle first, and be the victim
    await other.query("set deadlock_timeout = '1h'");
    await other.query("begin");
    await other.query(
      "update public.etl_improved_events set updated_at = now() where event_id = 'b'",
    );
    const loading = engine.load([record("a", 2), record("b", 2)], { source, chunk_size: 10 });
    await waitForLock(engine.sql);
    // the run holds a and waits for b
    await other.query(
      "update public.etl_improved_events set updated_at = now() where event_id = 'a'",
    );
    await other.query("commit");
    const run = await loading;
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.deepEqual([run.attempt, run.counts.updated], [1, 2]);
    assert.ok(engine.log.some((line) => /tried again.*deadlock/.test(line)), engine.log.join("\n"));
  } finally {
    await other.end();
  }
});

Deno.test("a serialization failure is tried again, and the rows arrive once", async (t) => {
  await using db = await testDatabase(t);
  const other = await connect(db.dsn);
  try {
    await other.query(
      `alter database "${db.name}" set default_transaction_isolation to 'repeatable read'`,
    );
    await using engine = await startEngine(t, { database: db });
    await engine.load([record("a", 1)], { source });
    await other.query("begin");
    await other.query(
      "update public.etl_improved_events set updated_at = now() where event_id = 'a'",
    );
    const loading = engine.load([record("a", 2)], { source });
    await waitForLock(engine.sql);
    await other.query("commit");
    const run = await loading;
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.deepEqual([run.attempt, run.counts.updated], [1, 1]);
    assert.ok(
      engine.log.some((line) => /tried again.*serialize/.test(line)),
      engine.log.join("\n"),
    );
  } finally {
    await other.end();
  }
});

Deno.test("requests that cancel each other's runs over two pools never end in a deadlock for the caller", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`insert into etl.pools (pool, slots) values ('one', 2), ('other', 2)`;
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      engine.post("/api/etl/run", {
        run_label: "same",
        overlap: "cancel",
        pool: i % 2 === 0 ? "one" : "other",
        batch_size: 1,
      })),
  );
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
  const left = await engine.sql`select from etl.runs where state <> 'cancelled'`;
  assert.ok(left.length >= 1, "the last of them stays");
  const [stats] = await engine.sql<{ deadlocks: string }[]>`
    select deadlocks from pg_stat_database where datname = current_database()`;
  assert.equal(stats!.deadlocks, "0");
});

async function waitForLock(sql: Awaited<ReturnType<typeof startEngine>>["sql"]): Promise<void> {
  await waitFor(async () => {
    const found = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and application_name like 'etl-run %'`;
    return found.length > 0;
  }, { what: "the run to wait for a row" });
}
