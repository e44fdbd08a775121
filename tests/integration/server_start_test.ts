import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";

Deno.test("main.ts reads its environment and serves with the permissions of production", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_IMPROVED__BATCH_SIZE: "7", ETL_CONNECTION_SHOP: db.dsn },
  });
  const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const run = await answer.json();
  assert.equal(run.state, "succeeded");
  assert.equal(run.total_rows, 7);
});
