import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import type { JobsReport } from "../../store/jobs.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("without pg_cron the servers run the jobs, each time on one of them, and health says so", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn);
  const [told] = await setUpJobs(db.dsn);
  assert.match(told!, /^The servers run the periodic jobs: pg_cron/);
  await using one = await startServer({ dsn: db.dsn });
  await using two = await startServer({ dsn: db.dsn });
  const jobs = async (address: string): Promise<JobsReport> =>
    await (await fetch(`${address}/api/jobs`)).json();
  const report = await waitFor(async () => {
    const seen = await jobs(two.address);
    const tick = seen.items.find(({ name }) => name === "etl_schedule_tick");
    return tick?.last_runs.some(({ status }) => status === "succeeded") ? seen : null;
  }, { timeoutMs: 60_000 });
  assert.equal(report.scheduler.in_use, "servers");
  assert.match(report.scheduler.reason!, /pg_cron/);
  assert.deepEqual(report.items.map(({ name, scheduler, state }) => [name, scheduler, state]), [
    ["etl_maintenance", "servers", "scheduled"],
    ["etl_refresh_mvs", "servers", "scheduled"],
    ["etl_schedule_tick", "servers", "scheduled"],
  ]);
  assert.deepEqual(report.warnings, []);
  const health = await (await fetch(`${one.address}/api/etl/health`)).json();
  assert.equal(health.scheduler.in_use, "servers");
  const twice = await query(
    db.dsn,
    `select due_at from etl.job_runs where name = 'etl_schedule_tick' group by 1 having count(*) > 1`,
  );
  assert.deepEqual(twice, [], "one job a minute, however many servers");
});

Deno.test("a tick that has not run for three minutes is warned of, and a job that failed", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn);
  await using server = await startServer({ dsn: db.dsn, role: "api" });
  const warnings = async (): Promise<string[]> =>
    ((await (await fetch(`${server.address}/api/jobs`)).json()) as JobsReport).warnings;
  assert.deepEqual(await warnings(), [], "just started");
  await query(
    db.dsn,
    "update etl.job_scheduler set decided_at = now() - interval '1 hour', ticked_at = now() - interval '200 seconds'",
  );
  assert.match((await warnings()).join(), /etl_schedule_tick has not run for 20\d s/);
  await query(db.dsn, "select etl.tick_schedules()");
  await query(
    db.dsn,
    "delete from etl.job_runs where name in ('etl_schedule_tick', 'etl_maintenance')",
  );
  await query(
    db.dsn,
    `insert into etl.job_runs (name, status, due_at, started_at, ended_at, message) values
      ('etl_schedule_tick', 'succeeded', now(), now() - interval '30 seconds', now(), '{}'),
      ('etl_maintenance', 'failed', now(), now(), now(), 'out of luck')`,
  );
  assert.match((await warnings()).join(), /^job etl_maintenance failed at .*: out of luck$/);
  const health = await fetch(`${server.address}/api/etl/health`);
  assert.equal(health.status, 200);
  assert.match((await health.json()).warnings.join(), /out of luck/);
});
