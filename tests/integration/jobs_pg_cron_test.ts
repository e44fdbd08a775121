import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import { Database } from "../../store/database.ts";
import { inDatabase } from "../../store/dsn.ts";
import { type JobsReport, jobsReport, schedulerIsWrong } from "../../store/jobs.ts";
import { reconcileJobs } from "../../timers/jobs.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Jobs fire on the minute. */
const FIRES = { timeoutMs: 130_000, intervalMs: 250 };
const JOBS = ["etl_maintenance", "etl_purge_cron_details", "etl_refresh_mvs", "etl_schedule_tick"];
const ignore = !await debian15IsInstalled();

const jobsOf = async (address: string): Promise<JobsReport> =>
  await (await fetch(`${address}/api/jobs`)).json();

Deno.test({
  name: "setup-db installs the jobs in pg_cron, where they fire; the servers run none of them",
  ignore,
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await setupDatabase(dsn);
    {
      // a server from before pg_cron was there
      await using _before = await startServer({ dsn });
      assert.equal((await query(dsn, "select from etl.jobs")).length, 3);
    }
    assert.deepEqual(await setUpJobs(dsn), [
      "Installed:",
      ...JOBS.map((name) => `  job ${name} in pg_cron`),
      "pg_cron in database etl runs the periodic jobs.",
    ]);
    assert.equal((await query(dsn, "select from etl.jobs")).length, 0);
    const ids = () => query(dsn, "select jobname::text, jobid::int from cron.job order by 1");
    const first = await ids();
    assert.deepEqual(first.map(({ jobname }) => jobname), JOBS);
    assert.deepEqual(await setUpJobs(dsn), ["pg_cron in database etl runs the periodic jobs."]);
    assert.deepEqual(await ids(), first, "the same jobs");

    // somebody drops one, changes one, switches one off
    await query(
      dsn,
      `select cron.unschedule('etl_refresh_mvs');
      select cron.alter_job(jobid, schedule => '30 3 * * *', command => 'select 1') from cron.job where jobname = 'etl_maintenance';
      select cron.alter_job(jobid, active => false) from cron.job where jobname = 'etl_purge_cron_details'`,
    );
    await using server = await startServer({ dsn });
    const report = await jobsOf(server.address);
    assert.equal(report.scheduler.in_use, "pg_cron");
    assert.equal(report.scheduler.reason, null);
    assert.deepEqual(report.items.map(({ name, scheduler, state }) => [name, scheduler, state]), [
      // its command is put right, its time is somebody's wish
      ["etl_maintenance", "pg_cron", "changed"],
      ["etl_purge_cron_details", "pg_cron", "off"],
      ["etl_refresh_mvs", "pg_cron", "scheduled"],
      ["etl_schedule_tick", "pg_cron", "scheduled"],
    ]);
    assert.match(
      report.warnings.join(),
      /^job etl_maintenance differs from .* its schedule stays .*,job etl_purge_cron_details is switched off/,
    );
    assert.deepEqual(
      await query(
        dsn,
        "select schedule, command ~ 'request_maintenance' as ours from cron.job where jobname = 'etl_maintenance'",
      ),
      [{ schedule: "30 3 * * *", ours: true }],
    );
    // of a wish in pg_cron and one in a variable the newer counts
    const time = async () =>
      (await query(dsn, "select schedule from cron.job where jobname = 'etl_maintenance'"))[0]!
        .schedule;
    const wish = (text: string | null) =>
      query(
        dsn,
        text === null
          ? "delete from etl.variables where name = 'etl_job__etl_maintenance'"
          : `insert into etl.variables (name, value) values ('etl_job__etl_maintenance', to_jsonb('${text}'::text))
            on conflict (name) do update set value = excluded.value`,
      ).then(() => reconcileJobs({ dsn }));
    await wish("15 4 * * *");
    assert.equal(await time(), "15 4 * * *");
    await query(
      dsn,
      "select cron.alter_job(jobid, schedule => '30 3 * * *') from cron.job where jobname = 'etl_maintenance'",
    );
    await reconcileJobs({ dsn });
    assert.equal(await time(), "30 3 * * *");
    assert.match(
      (await jobsOf(server.address)).warnings.join(),
      /variable etl_job__etl_maintenance: the next server/,
    );
    await wish("20 5 * * *");
    assert.equal(await time(), "20 5 * * *");
    assert.doesNotMatch((await jobsOf(server.address)).warnings.join(), /etl_maintenance/);
    await wish(null);
    assert.equal(await time(), "@weekly");
    // another command at the same time is none of ours, either
    await query(
      dsn,
      "select cron.alter_job(jobid, command => 'select 1') from cron.job where jobname = 'etl_maintenance'",
    );
    assert.equal((await jobsOf(server.address)).items[0]!.state, "changed");
    assert.deepEqual((await reconcileJobs({ dsn })).repaired, ["etl_maintenance"]);
    assert.equal((await jobsOf(server.address)).items[0]!.state, "scheduled");

    assert.ok(server.logs.some((line) => /put right/.test(line) && /etl_refresh_mvs/.test(line)));
    assert.equal((await query(dsn, "select from etl.jobs")).length, 0);

    const fired = await waitFor(async () => {
      const tick = (await jobsOf(server.address)).items.find(({ name }) =>
        name === "etl_schedule_tick"
      )!;
      return tick.last_runs.find(({ status }) => status === "succeeded");
    }, FIRES);
    assert.ok(fired.age_seconds! < 130);
    const health = await (await fetch(`${server.address}/api/etl/health`)).json();
    assert.equal(health.scheduler.in_use, "pg_cron");

    await query(
      dsn,
      "insert into cron.job_run_details (jobid, status, return_message, start_time, end_time) select jobid, 'failed', 'out of luck', now(), now() from cron.job where jobname = 'etl_maintenance'",
    );
    const failed = await jobsOf(server.address);
    assert.match(failed.warnings.join(), /job etl_maintenance failed at .*: out of luck/);
    await query(
      dsn,
      "insert into cron.job_run_details (jobid, status, start_time, end_time) select jobid, 'succeeded', now(), now() from cron.job where jobname = 'etl_maintenance'",
    );
    const { items, warnings } = await jobsOf(server.address);
    assert.doesNotMatch(warnings.join(), /etl_maintenance/, "what went well since then is over");
    assert.deepEqual(
      items.find(({ name }) => name === "etl_maintenance")!.last_runs.map(({ status }) => status),
      ["succeeded", "failed"],
    );
  },
});

Deno.test({
  name: "the purge of pg_cron's details deletes what is older than a week, of these jobs only",
  ignore,
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await setupDatabase(dsn);
    await setUpJobs(dsn);
    await query(
      dsn,
      `select cron.schedule('other', '0 0 1 1 *', 'select 1');
      insert into cron.job_run_details (jobid, status, start_time, end_time)
      select j.jobid, 'succeeded', at, case when n <> 9 then at end from cron.job as j cross join generate_series(10, 1, -1) as n
      cross join lateral (select now() - n * interval '1 day' as at) as t where j.jobname in ('etl_schedule_tick', 'other')`,
    );
    const [job] = await query<{ command: string }>(
      dsn,
      "select command from cron.job where jobname = 'etl_purge_cron_details'",
    );
    await query(dsn, job!.command);
    const left = await query(
      dsn,
      `select jobname::text, count(*)::int as runs from cron.job join cron.job_run_details using (jobid)
      where end_time < now() - interval '1 hour' or end_time is null group by 1 order by 1`,
    );
    assert.deepEqual(left.map((row) => ({ ...row })), [{ jobname: "etl_schedule_tick", runs: 6 }, {
      jobname: "other",
      runs: 10,
    }]);
  },
});

Deno.test({
  name: "jobs run as the role of the server when setup-db is told it, which then looks after them",
  ignore,
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await query(dsn, "create role app login password 'x'; grant pg_read_all_settings to app");
    const own = new URL(dsn);
    own.username = "app";
    own.password = "x";
    await setupDatabase(dsn, { role: "app" });
    // only a superuser may create the extension, and is told so
    assert.match(
      (await setUpJobs(own.href)).join(),
      /^The servers run .*as a superuser in database etl: create extension pg_cron/,
    );
    await setUpJobs(dsn);
    // another role's jobs cannot be seen: they are kept, and no second set is made
    await query(dsn, "grant usage on schema cron to app");
    {
      await using server = await startServer({ dsn: own.href });
      const report = await jobsOf(server.address);
      assert.equal(report.scheduler.in_use, "pg_cron");
      assert.match(report.scheduler.reason!, /setup-db --role app/);
      assert.ok(report.items.every(({ state }) => state === "unknown"));
    }
    assert.equal((await query(dsn, "select from cron.job")).length, 4);

    await setUpJobs(dsn, { role: "app" });
    const owners = await query(dsn, "select distinct username from cron.job");
    assert.deepEqual(owners.map(({ username }) => username), ["app"]);
    await setUpJobs(dsn);
    assert.deepEqual(
      (await query(dsn, "select username from cron.job")).map(({ username }) => username),
      Array(4).fill("app"),
    );
    // a superuser sees the jobs of others, too
    const database = new Database(dsn, { applicationName: "test", max: 1 });
    const { items } = await jobsReport(database.sql, { dsn });
    await database.close({ timeoutSeconds: 1 });
    assert.deepEqual(items.map(({ state }) => state), Array(4).fill("scheduled"));
    // a set-up by the owner, who is no superuser, finds nothing to complain of
    await query(
      dsn,
      `create role other login password 'x'; grant usage on schema cron, etl to other;
      grant select on etl.server_roles to other; grant select, insert, update on etl.job_scheduler to other;
      grant select, delete on etl.jobs to other; grant execute on function etl.database_identity() to other`,
    );
    const owner = new URL(own);
    owner.username = "other";
    assert.deepEqual(await setUpJobs(owner.href, { role: "app" }), [
      "pg_cron in database etl runs the periodic jobs.",
    ]);
    await query(
      dsn,
      "select cron.unschedule(jobid) from cron.job where jobname = 'etl_refresh_mvs'",
    );
    await using server = await startServer({ dsn: own.href });
    const report = await jobsOf(server.address);
    assert.ok(report.items.every(({ state }) => state === "scheduled"), JSON.stringify(report));
    assert.equal(report.scheduler.role, "app");
  },
});

Deno.test({
  name:
    "a pg_cron that does not tick is not believed: the servers run the jobs until it does, and a copy begins anew",
  ignore,
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const { dsn } = cluster;
    await setupDatabase(dsn);
    await setUpJobs(dsn);
    // it cannot log in any more
    await query(dsn, "update cron.job set nodeport = 1");
    const options = { dsn };
    assert.equal((await reconcileJobs(options)).scheduler.kind, "pg_cron", "it has three minutes");
    const noted = (column: string, ago: string) =>
      query(dsn, `update etl.job_scheduler set ${column} = now() - interval '${ago}'`);
    await noted("cron_ticked_at", "190 seconds");
    await noted("cron_since", "200 seconds");
    const { scheduler, forServers } = await reconcileJobs(options);
    assert.equal(scheduler.kind, "servers");
    assert.equal(forServers.length, 3);
    const database = new Database(dsn, { applicationName: "etl-improved", max: 2 });
    const { sql } = database;
    const { warnings, items } = await jobsReport(sql, options);
    assert.match(
      warnings[0]!,
      /pg_cron in database etl has not run .*cron\.job_run_details/,
    );
    assert.deepEqual(
      items.map(({ name, scheduler }) => [name, scheduler]),
      JOBS.map((name) => [name, name === "etl_purge_cron_details" ? "pg_cron" : "servers"]),
      "what pg_cron still has of them is not who runs them",
    );
    await sql`select etl.tick_schedules()`;
    assert.equal(await schedulerIsWrong(sql), false, "that it was a server that ticked is no news");
    await query(dsn, "set application_name = 'pg_cron'; select etl.tick_schedules()");
    assert.equal(await schedulerIsWrong(sql), true);
    assert.equal((await reconcileJobs(options)).scheduler.kind, "pg_cron");

    await query(
      dsn,
      "select cron.alter_job(jobid, active => false) from cron.job where jobname = 'etl_schedule_tick'",
    );
    await noted("cron_ticked_at", "190 seconds");
    assert.equal(
      (await reconcileJobs(options)).scheduler.kind,
      "pg_cron",
      "somebody wants no ticks",
    );

    const copy = inDatabase(dsn, "copy");
    await query(
      dsn,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'etl' and pid <> pg_backend_pid()",
    );
    await database.close({ timeoutSeconds: 1 });
    await query(inDatabase(dsn, "postgres"), "create database copy template etl");
    const copied = new Database(copy, { applicationName: "etl-improved", max: 2 });
    const report = await jobsReport(copied.sql, { dsn: copy });
    assert.match(report.warnings[0]!, /nobody runs the periodic jobs: this database is a copy/);
    assert.equal(
      report.scheduler.kind,
      "servers",
      "what the other database has noted is not shown",
    );
    await copied.close({ timeoutSeconds: 1 });
  },
});
