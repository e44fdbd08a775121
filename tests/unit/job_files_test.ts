import assert from "node:assert/strict";
import { parseJobFile, readJobFiles } from "../../store/jobs.ts";
import { cronName, missingGrants, type PgCron } from "../../store/pg_cron.ts";

Deno.test("every file of sql/cron is one job, in a form that psql can run too", async () => {
  const jobs = await readJobFiles();
  assert.deepEqual(jobs.map(({ name, schedule, pgCronOnly }) => [name, schedule, pgCronOnly]), [
    ["etl_maintenance", "@weekly", false],
    ["etl_purge_cron_details", "17 3 * * *", true],
    ["etl_refresh_mvs", "*/15 * * * *", false],
    ["etl_schedule_tick", "* * * * *", false],
  ]);
  assert.equal(jobs[3]!.command, "select etl.tick_schedules()");
  for (const { description } of jobs) assert.match(description, /^[A-Z].*\.$/);
});

Deno.test("a file of another form or name is refused", () => {
  const good = "-- What.\nselect cron.schedule('a', '* * * * *', $$select 1$$);\n";
  assert.equal(parseJobFile("a.sql", good).command, "select 1");
  for (
    const [file, text] of [
      ["b.sql", good],
      ["a.sql", good + good],
      ["a.sql", good.replace("-- What.\n", "")],
      ["a.sql", good.replace("cron.schedule", "cron.unschedule")],
    ] as const
  ) {
    assert.throws(() => parseJobFile(file, text), /must be comments and select cron\.schedule/);
  }
});

Deno.test("a job in another database's pg_cron is named after its own, within 63 bytes, and no two databases share a name", async () => {
  const database = "postgres";
  const name = (target: string, job: string) => cronName({ database, target }, job);
  assert.equal(name("postgres", "etl_maintenance"), "etl_maintenance", "pg_cron is here");
  assert.equal(name("sales", "etl_maintenance"), "sales.etl_maintenance");
  const thirty = "s".repeat(30);
  assert.equal(name(thirty, "j"), `${thirty}.j`);
  const [one, two] = [`${thirty}1`, `${thirty}2`].map((target) => name(target, "j"));
  assert.match(one!, /^s{15}_[0-9a-f]{8}\.j$/);
  assert.notEqual(one, two);
  for (const { name: job } of await readJobFiles()) {
    for (const target of [thirty, "s".repeat(63)]) {
      assert.ok(name(target, job).length <= 63, job);
    }
  }
});

Deno.test("a role is told the grants that it lacks for pg_cron, another role all that it needs", () => {
  const cron = { database: "postgres", target: "sales", role: "app" } as PgCron;
  const grants = (more: Partial<PgCron>, role?: string) =>
    missingGrants({ ...cron, ...more }, role).map((grant) => /^grant (\w+).* to (.*)$/.exec(grant)!)
      .map(([, right, who]) => `${right} ${who}`);
  const may = { mayUse: true, maySchedule: true };
  assert.deepEqual(grants({}), ['usage "app"', 'execute "app"']);
  assert.deepEqual(grants({ mayUse: true }), ['execute "app"']);
  assert.deepEqual(grants(may), []);
  assert.deepEqual(grants({ target: "postgres" }), ['usage "app"'], "in its own database");
  assert.deepEqual(grants(may, "servers"), ['usage "servers"', 'execute "servers"']);
});
