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

Deno.test("a long name of a database in any script is cut between letters, and jobs keep the names that they had", async () => {
  const name = (target: string, job = "j") => cronName({ database: "postgres", target }, job);
  // as they are in pg_cron today: another name would leave the old job beside the new one
  assert.equal(name("warehouse_of_the_north_2026_copy"), "warehouse_of_th_3e2122e4.j");
  assert.equal(name("продажи_северного_округа_2026"), "продажи_северно_1b30c202.j");
  const jobs = (await readJobFiles()).map((job) => job.name);
  for (
    const [target, begins] of [
      ["売".repeat(21), "売".repeat(10)],
      // each is one letter of several signs: half of it is another one
      ["a" + "😀".repeat(15), "a" + "😀".repeat(7)],
      ["n\u0303".repeat(15), "n\u0303".repeat(7)],
    ] as const
  ) {
    for (const job of jobs) {
      const cut = name(target, job);
      assert.ok(new TextEncoder().encode(cut).length <= 63, cut);
      assert.ok(cut.isWellFormed());
      assert.equal(cut.slice(0, cut.indexOf("_")), begins);
    }
  }
  assert.equal(name("é".repeat(15)), `${"é".repeat(15)}.j`, "30 bytes are not cut");
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
