import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import type { JobsReport } from "../../store/jobs.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const FIRES = { timeoutMs: 130_000, intervalMs: 250 };

Deno.test({
  name:
    "jobs for a database beside pg_cron's: the grants are named, then they run there, as a role that is no superuser",
  ignore: !await debian15IsInstalled(),
  async fn(t) {
    await using cluster = await ownCluster({ kind: "debian15" });
    const cron = cluster.dsn;
    const inDatabase = (name: string, user?: string) => {
      const url = new URL(cron);
      url.pathname = `/${name}`;
      if (user !== undefined) [url.username, url.password] = [user, "x"];
      return url.href;
    };
    await query(cron, "create role app login password 'x'");
    await query(cron, "create database sales");
    await setupDatabase(inDatabase("sales"), { role: "app" });
    const dsn = inDatabase("sales", "app");

    // a role without pg_read_all_settings cannot see where pg_cron is
    const [blind] = await setUpJobs(dsn);
    assert.match(blind!, /servers run.*set ETL_PG_CRON_DSN/);
    const cronDsn = inDatabase("etl", "app");
    const [without] = await setUpJobs(dsn, { cronDsn });
    assert.match(without!, /as a superuser in database etl: create extension pg_cron/);
    await query(cron, "create extension pg_cron");

    // pg_cron runs jobs in its own server only
    await using elsewhere = await testDatabase(t);
    const [foreign] = await setUpJobs(elsewhere.dsn, { cronDsn: cron });
    assert.match(foreign!, /^The servers run .*is of another PostgreSQL server/);

    const [told] = await setUpJobs(dsn, { cronDsn });
    assert.match(told!, /run in database etl, as its owner or a superuser: /);
    const grants = /superuser: (.*)\.$/.exec(told!)![1]!;
    assert.equal(
      grants,
      'grant usage on schema cron to "app"; grant execute on function ' +
        "cron.schedule_in_database(text,text,text,text,text,boolean), cron.alter_job(bigint,text,text,text,text,boolean) " +
        'to "app"',
    );
    {
      await using server = await startServer({ dsn, env: { ETL_PG_CRON_DSN: cronDsn } });
      const report: JobsReport = await (await fetch(`${server.address}/api/jobs`)).json();
      assert.equal(report.scheduler.in_use, "servers");
      assert.deepEqual(report.scheduler.grants, grants.split("; "));
      assert.ok(report.items.every(({ scheduler }) => scheduler === "servers"));
    }
    await query(cron, grants);

    await using server = await startServer({ dsn, env: { ETL_PG_CRON_DSN: cronDsn } });
    const report: JobsReport = await (await fetch(`${server.address}/api/jobs`)).json();
    assert.equal(report.scheduler.in_use, "pg_cron in database etl");
    const jobs = await query(
      cron,
      "select jobname::text, database, username from cron.job order by 1",
    );
    assert.deepEqual(
      jobs.map(({ jobname, database, username }) => `${jobname} ${database} ${username}`),
      [
        "sales.etl_maintenance sales app",
        "sales.etl_purge_cron_details etl app",
        "sales.etl_refresh_mvs sales app",
        "sales.etl_schedule_tick sales app",
      ],
    );
    assert.equal((await query(dsn, "select from etl.jobs")).length, 0);
    // a second installation is not in the way
    await query(cron, "create database other");
    await setupDatabase(inDatabase("other"));
    const other = await setUpJobs(inDatabase("other"));
    assert.match(other.at(-1)!, /^pg_cron in database etl runs/);
    assert.equal(
      (await query(cron, "select from cron.job where jobname like 'other.etl%'")).length,
      4,
    );

    const details = await waitFor(async () => {
      const rows = await query(
        cron,
        `select d.status, d.return_message, d.username, d.database
        from cron.job_run_details as d join cron.job as j using (jobid) where j.jobname = 'sales.etl_schedule_tick' and d.end_time is not null`,
      );
      return rows[0];
    }, FIRES);
    assert.deepEqual({ ...details, return_message: undefined }, {
      status: "succeeded",
      return_message: undefined,
      username: "app",
      database: "sales",
    });
    const seen: JobsReport = await (await fetch(`${server.address}/api/jobs`)).json();
    assert.equal(
      seen.items.find(({ name }) => name === "etl_schedule_tick")!.last_runs[0]!.status,
      "succeeded",
    );
    assert.deepEqual(seen.warnings, []);
  },
});
