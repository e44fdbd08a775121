import assert from "node:assert/strict";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

Deno.test("etl maintenance runs one in this process, or on a server, and lists what was deleted", async (t) => {
  await using db = await testDatabase(t);
  await query(
    db.dsn,
    "insert into public.etl_improved_alerts (kind, message, created_at) select 'stale', 'x', now() - n * interval '1 day' from generate_series(1, 14) as n",
  );
  const env = { KPIS_PG_DSN: db.dsn, ETL_MAINTENANCE__RETENTION_DAYS_AUDIT: "11" };
  const done = await runCli(["maintenance", "--conf", '{"retention_days_alerts": 11}'], { env });
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /clean_old_alerts +succeeded +\d{4}-\d\d-\d\d +4 /);
  assert.match(done.out, /^Maintenance [0-9a-f-]+: succeeded$/m);
  assert.match(done.err, /ETL_MAINTENANCE__RETENTION_DAYS_AUDIT: .*those of the servers/);
  const last = async () => {
    const [row] = await query<{ params: unknown; origin: string }>(
      db.dsn,
      "select params, origins ->> 'retention_days_audit' as origin from etl.maintenance_runs order by requested_at desc limit 1",
    );
    return row!;
  };
  const kept = {
    retention_days_metrics: 90,
    retention_days_audit: 90,
    retention_days_alerts: 11,
    retention_days_events: 365,
  };
  assert.deepEqual(await last(), { params: kept, origin: "default" });

  const preview = await runCli(["maintenance", "--dry-run", "--set", "retention_days_alerts=7"], {
    env,
  });
  assert.match(preview.out, /clean_old_alerts +public\.etl_improved_alerts +\S+ +4$/m, preview.err);
  assert.match(preview.out, /^Nothing was deleted\.$/m);

  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_MAINTENANCE__RETENTION_DAYS_AUDIT: "11" },
  });
  const remote = { env: { ETL_SERVER: server.address } };
  const json = await runCli(["maintenance", "--set", "retention_days_alerts=7", "--json"], remote);
  assert.equal(JSON.parse(json.out).deleted, 4, "days 7 to 10");
  assert.deepEqual(await last(), {
    params: { ...kept, retention_days_audit: 11, retention_days_alerts: 7 },
    origin: "environment",
  });
  const list = await runCli(["maintenance", "list"], remote);
  assert.match(list.out, /succeeded +cli .* +4 .*\n.*succeeded +cli .* +4 /);
  const wrong = await runCli(["maintenance", "--set", "retention_days_alert=3"], remote);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /did you mean retention_days_alerts/);
  assert.equal((await runCli(["maintenance", "lst"], remote)).code, 2);

  const jobs = await runCli(["jobs"], remote);
  assert.match(jobs.out, /^Scheduler: servers$/m);
  assert.match(jobs.out, /etl_schedule_tick +\* \* \* \* \* +scheduled/);
  const job = async (name: string) =>
    await (await fetch(`${server.address}/api/jobs/${name}`)).json();
  assert.equal((await job("etl_schedule_tick")).name, "etl_schedule_tick");
  assert.equal((await job("etl_schedule")).status, 404);
});
