import assert from "node:assert/strict";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { startServer } from "../helpers/server.ts";

/** The command line on a database of its own, without a server. */
async function withCli(
  t: { name: string },
  use: (etl: (...args: string[]) => ReturnType<typeof runCli>, dsn: string) => Promise<void>,
): Promise<void> {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  const env = {
    KPIS_PG_DSN: db.dsn,
    ETL_DATA_DIR: dir,
    ETL_SPOOL_DIR: `${dir}/spool`,
    ETL_WORKERS: "1",
    INIT_CWD: dir,
  };
  try {
    await use((...args) => runCli(args, { env }), db.dsn);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("etl schedule makes, changes, shows, pauses, runs and removes a schedule", async (t) => {
  await withCli(t, async (etl) => {
    assert.match((await etl("schedule", "list")).out, /There are no schedules yet/);
    const made = await etl(
      ..."schedule set nightly --time-zone Europe/Madrid --set batch_size=3 --cron".split(" "),
      "30 2 * * 1-5",
    );
    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /^Schedule nightly is made: At 02:30, Monday through Friday\.$/m);
    assert.match(
      made.out,
      /^Its next slot is \d{4}-\d\d-\d\d 02:30 \+0[12]:00 \(Europe\/Madrid\)\.$/m,
    );
    // only what is given changes
    const changed = await etl(
      ..."schedule set nightly --missed all --set run_label=sales --grace 60 --json".split(" "),
    );
    const stored = changed.json();
    assert.deepEqual(
      [stored.cron, stored.time_zone, stored.missed, stored.grace_seconds, stored.conf],
      ["30 2 * * 1-5", "Europe/Madrid", "all", 60, { batch_size: 3, run_label: "sales" }],
    );
    const listed = await etl("schedule", "list");
    assert.match(
      listed.out,
      /^nightly +At 02:30, Monday through Friday +Europe\/Madrid +\d{4}-\d\d-\d\d 02:30/m,
    );
    const shown = await etl("schedule", "show", "nightly");
    assert.match(
      shown.out,
      /due +At 02:30, Monday through Friday \(30 2 \* \* 1-5\), Europe\/Madrid/,
    );
    assert.match(shown.out, /grace +60 s; up to 100 missed slots are run/);

    const ran = await etl("schedule", "run", "nightly", "--json");
    assert.equal(ran.code, 0, ran.err);
    const run = await etl("show", String(ran.json().run_id));
    assert.match(run.out, /label +sales/);
    assert.match(run.out, /schedule +nightly/);

    assert.match((await etl("schedule", "pause", "nightly")).out, /is paused/);
    assert.match((await etl("schedule", "list")).out, /nightly .* paused/);
    assert.match((await etl("schedule", "resume", "nightly")).out, /its next slot is \d{4}/);
    const removed = await etl("schedule", "delete", "nightly");
    assert.equal(
      removed.out,
      "Schedule nightly is removed. Its runs stay; those that wait are still run.",
    );
    const gone = await etl("schedule", "show", "nightly");
    assert.equal(gone.code, 2);
    assert.match(gone.err, /There is no schedule nightly/);
  });
});

Deno.test("etl schedule next says when an expression is due, and what is wrong with one", async (t) => {
  await withCli(t, async (etl) => {
    const next = await etl(
      ..."schedule next --time-zone America/New_York --count 3 --cron".split(" "),
      "0 9 * * MON",
    );
    assert.equal(next.code, 0, next.err);
    assert.match(next.err, /At 09:00, only on Monday/);
    assert.match(next.out, /^(\d{4}-\d\d-\d\d 09:00 -0[45]:00\n?){3}$/);
    const wrong = await etl(
      ..."schedule set x --time-zone Europe/Madird --set batchsize=1 --cron".split(" "),
      "* * * * * *",
    );
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /cron .*has 6 fields/);
    assert.match(wrong.err, /did you mean Europe\/Madrid/);
    assert.match(wrong.err, /did you mean batch_size/);
    const unmade = await etl("schedule", "set", "x");
    assert.match(unmade.err, /there is no schedule x; to make it, say when: --cron/);
    assert.match(
      (await etl("schedule", "lst")).err,
      /cannot 'lst'; did you mean list\?/,
    );
    assert.match((await etl("schedule", "show")).err, /needs the name of a schedule/);
  });
});

Deno.test("etl backfill lists, runs and keeps past slots", async (t) => {
  await withCli(t, async (etl, dsn) => {
    const made = await etl(
      ..."schedule set daily --cron @daily --time-zone Europe/Madrid --set batch_size=2".split(" "),
    );
    assert.equal(made.code, 0, made.err);
    const range = "--from 2026-03-27 --to 2026-03-30".split(" ");
    const listed = await etl("backfill", "daily", ...range, "--preview");
    assert.match(listed.out, /^2026-03-30 00:00 \+02:00 +would be run$/m);
    assert.match(listed.out, /^4 slots would be run, 0 kept\.$/m);
    const done = await etl("backfill", "daily", ...range);
    assert.equal(done.code, 0, done.err);
    assert.match(done.out, /^2026-03-27 00:00 \+01:00 +succeeded +[0-9a-f-]{36}$/m);
    assert.match(done.out, /^4 slots run, 0 kept\.$/m);
    const again = await etl("backfill", "daily", ...range, "--json");
    assert.deepEqual([again.json().runs, again.json().kept], [0, 4]);
    await withClient(dsn, async (sql) => {
      const { rows } = await sql.query(
        "select count(*)::int as n from etl.runs where state = 'succeeded' and schedule = 'daily' and trigger = 'backfill'",
      );
      assert.equal(rows[0].n, 4);
    });
    const none = await etl("backfill", "daily");
    assert.equal(none.code, 2);
    assert.match(none.err, /needs --from/);
  });
});

Deno.test("with a server, a due slot becomes a run that succeeds and shows its slot", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn, env: { ETL_WORKERS: "1" } });
  const etl = (...args: string[]) =>
    runCli(args, { env: { KPIS_PG_DSN: db.dsn, ETL_SERVER: server.address } });
  const made = await etl(
    ..."schedule set minutely --set batch_size=2 --json --cron".split(" "),
    "* * * * *",
  );
  assert.equal(made.code, 0, made.err);
  await withClient(db.dsn, async (sql) => {
    // the first slot falls due now; while the server ticks, nobody else does
    await waitFor(async () => {
      const { rows } = await sql.query(
        "select etl.tick_schedules_at(min(slot)) as counts from etl.slots where state = 'pending'",
      );
      return rows[0].counts.requested === 1;
    });
  });
  const last = await waitFor(async () => {
    const shown = (await etl("schedule", "list", "--json")).out;
    const [{ last_slot }] = JSON.parse(shown);
    const run = (await (await fetch(`${server.address}/api/etl/runs`)).json()).items[0];
    return run.state === "succeeded" ? { run, last_slot } : null;
  }, { timeoutMs: 30_000, intervalMs: 500 });
  assert.deepEqual([last.run.trigger, last.run.schedule, last.run.run_label], [
    "schedule",
    "minutely",
    "minutely",
  ]);
  assert.match(last.run.slot, /:00\.000Z$/);
  const past = "--from 2026-03-27T00:00Z --to 2026-03-27T00:00Z".split(" ");
  const waited = await etl("backfill", "minutely", ...past, "--wait", "--json");
  assert.equal(JSON.parse(waited.out).items[0].status, "succeeded", waited.err);
});
