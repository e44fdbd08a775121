import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

Deno.test("setting up again ends well while runs go on, and with a long reader servers go on answering", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  let going = true;
  let runs = 0;
  const busy = async (label: string) => {
    while (going) {
      const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ batch_size: 10, run_label: label }),
      });
      const { state, detail } = await answer.json();
      assert.equal(state, "succeeded", detail);
      runs++;
    }
  };
  const loads = Promise.all([busy("a"), busy("b")]);
  try {
    for (let i = 0; i < 3; i++) await setupDatabase(db.dsn);
  } finally {
    going = false;
  }
  await loads;
  assert.ok(runs > 0);

  await withClient(db.dsn, async (reader) => {
    await reader.query("begin; select count(*) from etl.runs");
    const setUp = setupDatabase(db.dsn, { patienceMs: 1_000 }).then(() => null, (error) => error);
    const started = performance.now();
    const answer = await fetch(`${server.address}/api/etl/runs`);
    await answer.body?.cancel();
    assert.equal(answer.status, 200);
    assert.ok(performance.now() - started < 5_000, "nobody waits for as long as the reader takes");
    const error = await setUp;
    assert.match(error.message, /in use .*pid \d+ .*Set up again/);
    const again = setupDatabase(db.dsn);
    await reader.query("commit");
    assert.deepEqual(await again, []);
  });
});
