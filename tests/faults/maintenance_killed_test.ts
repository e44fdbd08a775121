import assert from "node:assert/strict";
import type { MaintenanceView } from "../../store/maintenance.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const ROWS = 250_000;

Deno.test("a maintenance whose server is killed is carried on by another within 30 s, and counts every row once", async (t) => {
  await using db = await testDatabase(t);
  await query(
    db.dsn,
    `insert into public.etl_improved_metrics (run_id, ratio, created_at)
     select gen_random_uuid(), 1, now() - interval '100 days' from generate_series(1, ${ROWS})`,
  );
  await using one = await startServer({ dsn: db.dsn });
  await using two = await startServer({ dsn: db.dsn });
  const asked = await fetch(`${one.address}/api/etl/maintenance`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const { maintenance_id: id } = await asked.json();
  const busy = await waitFor(async () => {
    const [row] = await query<{ server_id: string; deleted: number }>(
      db.dsn,
      `select m.server_id, t.deleted::int from etl.maintenance_runs as m join etl.maintenance_tasks as t using (maintenance_id)
       where m.maintenance_id = '${id}' and t.task = 'clean_old_metrics' and t.deleted > 0`,
    );
    return row;
  }, { intervalMs: 5 });
  assert.ok(busy.deleted < ROWS, "it is in the middle");
  const [victim, other] = busy.server_id.includes(`-${one.pid}-`) ? [one, two] : [two, one];
  victim.kill("SIGKILL");
  const killed = performance.now();
  const view = await waitFor(async () => {
    const seen: MaintenanceView = await (await fetch(`${other.address}/api/etl/maintenance/${id}`))
      .json();
    return seen.ended_at === null ? null : seen;
  }, { timeoutMs: 60_000, intervalMs: 100 });
  assert.equal(view.state, "succeeded");
  assert.equal(view.attempt, 2);
  assert.equal(view.tasks[0]!.deleted, ROWS);
  assert.ok(performance.now() - killed < 45_000, "30 s until it is taken up, and the rest");
  const [kept] = await query<{ runs: number }>(db.dsn, "select runs::int from etl.totals");
  assert.equal(kept!.runs, ROWS, "in the all-time figures, once");
  const [left] = await query<{ rows: number }>(
    db.dsn,
    "select count(*)::int as rows from public.etl_improved_metrics",
  );
  assert.equal(left!.rows, 0);
});
