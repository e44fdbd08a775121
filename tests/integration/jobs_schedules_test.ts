import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
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

Deno.test({
  name:
    "with pg_cron a schedule becomes a run while no server is up, and the next one carries it out",
  ignore: !await debian15IsInstalled(),
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await setupDatabase(dsn);
    await setUpJobs(dsn);
    {
      await using server = await startServer({ dsn });
      await schedule(server.address, dsn);
    }
    const before = (await runsOf(dsn)).length;
    const made = await waitFor(async () => {
      const runs = await runsOf(dsn);
      return runs.length > before ? runs.at(-1) : null;
    }, FIRES);
    assert.equal(made.state, "queued");
    await using _server = await startServer({ dsn });
    await waitFor(async () => {
      const runs = await runsOf(dsn);
      return runs.find(({ run_id }) => run_id === made.run_id)?.state === "succeeded";
    }, { timeoutMs: 30_000 });
    const loaded = await query(dsn, "select from public.etl_improved_events");
    assert.equal(loaded.length, 5);
  },
});
