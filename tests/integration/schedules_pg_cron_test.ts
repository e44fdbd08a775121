import assert from "node:assert/strict";
import { planSlots } from "../../timers/slot_planner.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { Database } from "../../store/database.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test({
  name: "with pg_cron a slot becomes a run while no server is up, and the next server executes it",
  ignore: !await debian15IsInstalled(),
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await query(dsn, "create role app login password 'x'");
    await setupDatabase(dsn, { role: "app" });
    await setUpJobs(dsn, { role: "app" });
    const own = new URL(dsn);
    own.username = "app";
    own.password = "x";
    await query(
      own.href,
      `insert into etl.schedules (name, cron, conf) values ('minutely', '* * * * *', '{"batch_size": 2}')`,
    );
    // what a server has left behind
    const database = new Database(own.href, { applicationName: "test" });
    await planSlots(database.sql);
    await database.close();

    const [run] = await waitFor(async () => {
      const rows = await query<{ run_id: string; state: string; late: number }>(
        dsn,
        `select r.run_id, r.state, extract(epoch from r.requested_at - r.slot)::float8 as late
        from etl.runs as r join etl.slots as s using (run_id) where r.trigger = 'schedule'`,
      );
      return rows.length > 0 ? rows : null;
    }, { timeoutMs: 130_000, intervalMs: 250 });
    assert.equal(run!.state, "queued");
    assert.ok(run!.late >= 0 && run!.late < 30, String(run!.late));

    await using _server = await startServer({ dsn: own.href, env: { ETL_WORKERS: "1" } });
    await waitFor(async () => {
      const [{ state } = { state: "" }] = await query<{ state: string }>(
        dsn,
        `select state from etl.runs where run_id = '${run!.run_id}'`,
      );
      return state === "succeeded";
    }, { timeoutMs: 30_000 });
  },
});
