import assert from "node:assert/strict";
import { parseJobFile, readJobFiles } from "../../store/jobs.ts";

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
