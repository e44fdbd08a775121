import assert from "node:assert/strict";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import { workOnJobs } from "../../queue/kinds_of_work.ts";
import type { WorkLoop } from "../../queue/work_loop.ts";
import { Database } from "../../store/database.ts";
import {
  beginDueJob,
  endJob,
  type JobsReport,
  keepOwnJobs,
  runJob,
  schedulerIsWrong,
} from "../../store/jobs.ts";
import { connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("without pg_cron the servers run the jobs, each time on one of them, and a schedule becomes runs; health says so", async (t) => {
  await using db = await testDatabase(t);
  const [told] = await setUpJobs(db.dsn);
  assert.match(told!, /^The servers run the periodic jobs: pg_cron/);
  await using one = await startServer({ dsn: db.dsn });
  await using two = await startServer({ dsn: db.dsn });
  const made = await fetch(`${one.address}/api/schedules/each_minute`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ cron: "* * * * *", conf: { batch_size: 5, run_label: "by_the_clock" } }),
  });
  assert.equal(made.status, 201, await made.text());
  await waitFor(async () => (await query(db.dsn, "select from etl.slots limit 1")).length > 0, {
    intervalMs: 250,
  });
  const jobs = async (address: string): Promise<JobsReport> =>
    await (await fetch(`${address}/api/jobs`)).json();
  const report = await waitFor(async () => {
    const seen = await jobs(two.address);
    const tick = seen.items.find(({ name }) => name === "etl_schedule_tick");
    return tick?.last_runs.some(({ status }) => status === "succeeded") ? seen : null;
  }, { timeoutMs: 60_000, intervalMs: 250 });
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
  const runs = () =>
    query<{ state: string; slot: Date }>(
      db.dsn,
      "select state, slot from etl.runs where schedule = 'each_minute'",
    );
  await waitFor(async () => (await runs()).some(({ state }) => state === "succeeded"), {
    timeoutMs: 150_000,
    intervalMs: 250,
  });
  const slots = (await runs()).map(({ slot }) => slot.toISOString());
  assert.equal(new Set(slots).size, slots.length, "one run a slot");
});

Deno.test("a tick that has not run for three minutes is warned of, and a job that failed", async (t) => {
  await using db = await testDatabase(t);
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
  // that it is tried again makes it no better, until it has succeeded
  const again = (status: string) =>
    query(
      db.dsn,
      `insert into etl.job_runs (name, status, due_at, started_at) values ('etl_maintenance', '${status}', now(), now())`,
    );
  await again("running");
  assert.match((await warnings()).join(), /out of luck/);
  const health = await fetch(`${server.address}/api/etl/health`);
  assert.equal(health.status, 200);
  assert.match((await health.json()).warnings.join(), /out of luck/);
  await again("succeeded");
  assert.deepEqual(await warnings(), []);
});

Deno.test("a job keeps the time at which it is due while its schedule stays, and one that is the servers' no more goes", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));
  const keep = async (...jobs: [name: string, schedule: string, minute: number][]) => {
    await keepOwnJobs(
      sql,
      jobs.map(([name, schedule, minute]) => ({ name, schedule, next_at: at(minute) })),
    );
    const rows = await sql<{ name: string; schedule: string; next_at: Date }[]>`
      select name, schedule, next_at from etl.jobs order by name`;
    return rows.map(({ name, schedule, next_at }) =>
      `${name} ${schedule} ${next_at.getUTCMinutes()}`
    );
  };
  assert.deepEqual(await keep(["a", "@daily", 1], ["b", "@daily", 1]), [
    "a @daily 1",
    "b @daily 1",
  ]);
  // looked at again, or by a server that starts, what is due stays due
  assert.deepEqual(await keep(["a", "@daily", 2], ["b", "@weekly", 2]), [
    "a @daily 1",
    "b @weekly 2",
  ]);
  assert.deepEqual(await keep(["b", "@weekly", 3], ["c", "@daily", 3]), [
    "b @weekly 2",
    "c @daily 3",
  ]);
  // what a statement answers is the message of its time, nothing is none
  const statements = ["7", `'{"a": 1}'::jsonb`, "''", "null", "1 limit 0"];
  const said = [];
  for (const statement of statements) said.push(await runJob(sql, `select ${statement}`));
  assert.deepEqual(said, ["7", '{"a":1}', null, null, null]);
});

Deno.test("a tick of a server is never taken for one of pg_cron, whatever the connection string calls its sessions", async (t) => {
  await using db = await testDatabase(t);
  await setUpJobs(db.dsn);
  const named = new URL(db.dsn);
  named.searchParams.set("application_name", `shop_${"x".repeat(60)}`);
  const database = new Database(named.href, { applicationName: "etl-improved", max: 1 });
  const client = await connect(named.href);
  try {
    await database.sql`select etl.tick_schedules()`;
    await client.query("select etl.tick_schedules()");
    const { rows: [seen] } = await client.query(
      "select cron_ticked_at, current_setting('application_name') as name from etl.job_scheduler",
    );
    assert.equal(seen.cron_ticked_at, null);
    assert.match(seen.name, /^etl-improved \(shop_x+$/);
  } finally {
    await client.end();
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("a variable says when a job runs, on the servers too; what is no schedule is refused, or told of and not used", async (t) => {
  await using db = await testDatabase(t);
  const schedules = () =>
    query(
      db.dsn,
      "select name, schedule, (next_at at time zone 'UTC')::time::text as at from etl.jobs where name <> 'etl_schedule_tick' order by name",
    );
  const database = new Database(db.dsn, { applicationName: "test", max: 2 });
  try {
    {
      await using server = await startServer({ dsn: db.dsn });
      const put = async (name: string, value: unknown) => {
        const answer = await fetch(`${server.address}/api/variables/${name}`, {
          method: "PUT",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ value }),
        });
        return `${answer.status} ${(await answer.json()).detail ?? ""}`;
      };
      const five = /^422 .*five fields of figures/;
      for (const wrong of ["* * * *", "0 25 * * *", "0 0 31 2 *", "0 0 L * *", "soon", 5]) {
        assert.match(await put("etl_job__etl_maintenance", wrong), five, String(wrong));
      }
      assert.match(
        await put("etl_job__maintenance", "@daily"),
        /^422 .*mean etl_job__etl_maintenance/,
      );
      assert.match(await put("etl_job__etl_schedule_tick", "@daily"), /^422 .*is no job whose/);
      assert.equal(await schedulerIsWrong(database.sql), false);
      assert.match(await put("etl_job__etl_maintenance", " 30  3 * * 1 "), /^201/);
      // which makes the servers look within a minute
      assert.equal(await schedulerIsWrong(database.sql), true);
    }
    await query(
      db.dsn,
      `insert into etl.variables (name, value) values
        ('etl_job__etl_refresh_mvs', '"often"'), ('etl_job__etl_schedule_tick', '"@daily"')`,
    );
    await using server = await startServer({ dsn: db.dsn });
    assert.deepEqual((await schedules())[0], {
      name: "etl_maintenance",
      schedule: "30 3 * * 1",
      at: "03:30:00",
    });
    assert.equal((await schedules())[1]!.schedule, "*/15 * * * *");
    const report: JobsReport = await (await fetch(`${server.address}/api/jobs`)).json();
    assert.equal(report.items[0]!.schedule, "30 3 * * 1");
    assert.match(
      report.warnings.join("\n"),
      /^variable etl_job__etl_refresh_mvs is not in use: .*unless it is invalid/m,
    );
    assert.doesNotMatch(report.warnings.join(), /etl_job__etl_maintenance/);
    const [tick] = await query(
      db.dsn,
      "select schedule from etl.jobs where name = 'etl_schedule_tick'",
    );
    assert.equal(tick!.schedule, "* * * * *", "schedules need it each minute");
    assert.equal(await schedulerIsWrong(database.sql), false);
    // a job keeps to it after it has run
    await query(db.dsn, "update etl.jobs set next_at = now() where name = 'etl_maintenance'");
    await waitFor(async () => (await schedules())[0]!.at === "03:30:00");
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("of the times that the servers ran a job the newest 500 are kept; one that succeeds begins its pauses anew", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const next = new Date(Date.now() + 60_000);
  await sql`insert into etl.jobs (name, schedule, next_at) values ('j', '@daily', now())`;
  await sql`insert into etl.job_runs (name, due_at) select name, now() from generate_series(1, 505), unnest(array['j', 'other']) as name`;
  const end = async (status: "failed" | "succeeded") => {
    const { run } = (await beginDueJob(sql, "j"))!;
    await endJob(sql, "j", { run, status, message: null, next });
    const [job] = await sql<
      { failures: number; next_at: Date }[]
    >`select failures, next_at from etl.jobs where name = 'j'`;
    assert.deepEqual(job!.next_at, next);
    await sql`update etl.jobs set next_at = now() where name = 'j'`;
    return job!.failures;
  };
  assert.deepEqual([await end("failed"), await end("failed"), await end("succeeded")], [1, 2, 0]);
  const kept = await sql<{ name: string; n: number }[]>`
    select name, count(*)::int as n from etl.job_runs group by name order by name`;
  assert.deepEqual(kept.map(({ name, n }) => [name, n]), [["j", 500], ["other", 505]]);
});

Deno.test("a job that fails comes again after pauses that double up to an hour, and no later than at its next time", async (t) => {
  await using engine = await startEngine(t);
  const { sql, deps: { log } } = engine;
  const work = new Map<string, () => Promise<unknown>>();
  const loop = {
    onLeased: (kind: string, done: () => Promise<unknown>) => void work.set(kind, done),
  };
  await workOnJobs(loop as unknown as WorkLoop, { sql, log });
  await sql`alter function etl.request_maintenance rename to gone`;
  const pauseAfter = async (failures: number, schedule: string) => {
    await sql`insert into etl.jobs (name, schedule, next_at, failures) values ('etl_maintenance', ${schedule}, now(), ${failures})
      on conflict (name) do update set schedule = excluded.schedule, next_at = excluded.next_at, failures = excluded.failures`;
    await work.get("job etl_maintenance")!();
    const [job] = await sql<{ minutes: number; failures: number }[]>`
      select round(extract(epoch from j.next_at - r.started_at) / 60)::int as minutes, j.failures
      from etl.jobs as j join etl.job_runs as r on r.name = j.name
      where j.name = 'etl_maintenance' order by r.job_run_no desc limit 1`;
    assert.equal(job!.failures, failures + 1);
    return job!.minutes;
  };
  const rarely = "0 0 29 2 *";
  const pauses = [];
  for (const failures of [0, 3, 5, 6, 20]) pauses.push(await pauseAfter(failures, rarely));
  assert.deepEqual(pauses, [1, 8, 32, 60, 60]);
  assert.ok(await pauseAfter(9, "* * * * *") <= 1);
});
