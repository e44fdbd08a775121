import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A schedule of every minute, decided on the next tick. */
const FIRES = { timeoutMs: 150_000, intervalMs: 250 };

/** Makes a schedule over HTTP and waits until its slots are stored. */
async function schedule(address: string, dsn: string): Promise<void> {
  const made = await fetch(`${address}/api/schedules/each_minute`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ cron: "* * * * *", conf: { batch_size: 5, run_label: "by_the_clock" } }),
  });
  assert.equal(made.status, 201, await made.text());
  await waitFor(async () => (await query(dsn, "select from etl.slots limit 1")).length > 0);
}

const runsOf = (dsn: string) =>
  query<{ run_id: string; state: string; slot: Date; requested_at: Date }>(
    dsn,
    "select run_id, state, slot, requested_at from etl.runs where schedule = 'each_minute' order by requested_at",
  );

Deno.test("a schedule becomes a run without pg_cron, through the servers", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn);
  await using one = await startServer({ dsn: db.dsn });
  await using _two = await startServer({ dsn: db.dsn });
  await schedule(one.address, db.dsn);
  await waitFor(
    async () => (await runsOf(db.dsn)).some(({ state }) => state === "succeeded"),
    FIRES,
  );
  const slots = (await runsOf(db.dsn)).map(({ slot }) => slot.toISOString());
  assert.equal(new Set(slots).size, slots.length, "one run a slot");
});
