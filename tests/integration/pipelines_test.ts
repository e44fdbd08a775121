import assert from "node:assert/strict";
import pg from "pg";
import postgres from "postgres";
import { pipelines } from "../../store/pipelines.ts";
import { seedManyRuns } from "../helpers/many_runs.ts";
import { testDatabase } from "../helpers/postgres.ts";

const ALL = { search: "", limit: 50, offset: 0 };

Deno.test("the list of pipelines reads some rows a label, however many runs there are", async (t) => {
  await using db = await testDatabase(t);
  const client = new pg.Client({ connectionString: db.dsn });
  await client.connect();
  const sql = postgres(db.dsn, { max: 1, onnotice: () => {} });
  try {
    await seedManyRuns(client);
    await client.query("vacuum analyze etl.runs");
    await client.query(`
      insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at) values
        ('low_ratio:label 7', 'low_ratio', 'label 7', now(), now()),
        ('stale:label 8', 'stale', 'label 8', now(), now()),
        ('schedule_overdue:nightly', 'schedule_overdue', 'nightly', now(), now());
      insert into etl.configurations (name, conf) values ('saved', '{"run_label": "not yet"}');
      insert into etl.schedules (name, cron, conf) values ('nightly', '0 1 * * *', '{"run_label": "label 9"}'),
        ('daily', '0 1 * * *', '{"run_label": "day {{slot}}"}'), ('hourly', '0 * * * *', '{"configuration": "saved"}');
      insert into etl.slots (schedule, slot, state) values ('nightly', now() + interval '1 hour', 'pending');
      update etl.runs set schedule = 'daily', run_label = 'day ' || run_id
      where run_id in (select run_id from etl.runs where run_label = 'label 10' limit 3)`);
    const { found, read } = await sql.begin(async (tx) => {
      const found = await pipelines(tx as never, ALL);
      const [read] = await tx`
        select seq_tup_read::integer as scanned, idx_tup_fetch::integer as fetched
        from pg_stat_xact_user_tables where relid = 'etl.runs'::regclass`;
      return { found, read: read! };
    });
    assert.equal(read.scanned, 0);
    assert.ok(read.fetched < 100 * (20 * 2 + 20), `${read.fetched} rows of etl.runs were read`);

    assert.equal(found.total, 62);
    assert.equal(found.rows.length, 50);
    const row = (name: string) => found.rows.find((each) => each.name === name);
    // one that has failed 75,000 times and never succeeded is one row, and a look into the index
    const busy = row("busy")!;
    assert.deepEqual([busy.urgency, busy.runs.length, busy.last_success], [2, 20, null]);
    assert.deepEqual(
      busy.runs.map(({ requested_at }) => requested_at),
      busy.runs.map(({ requested_at }) => requested_at).sort().reverse(),
    );
    // problems first, by name
    const urgencies = found.rows.map(({ urgency }) => urgency);
    assert.deepEqual(urgencies, urgencies.toSorted((a, b) => b - a));
    assert.deepEqual([row("label 7")!.urgency, row("label 7")!.incidents], [2, 1]);
    const nightly = row("label 9")!;
    assert.deepEqual([nightly.incidents, nightly.schedules], [1, ["nightly"]]);
    assert.notEqual(nightly.next_slot, null);
    assert.notEqual(nightly.last_success, null);

    // what ran never, by configuration or schedule; what has a label for each run
    const others = await pipelines(sql as never, { ...ALL, search: "NOT Y" });
    assert.deepEqual(
      others.rows.map(({ name, schedules, runs }) => [name, schedules, runs.length]),
      [["not yet", ["hourly"], 0]],
    );
    const daily = await pipelines(sql as never, { ...ALL, search: "da" });
    assert.deepEqual(
      daily.rows.map(({ name, of_schedule, runs }) => [name, of_schedule, runs.length]),
      [["daily", true, 3]],
    );
    const rest = await pipelines(sql as never, { ...ALL, offset: 50 });
    assert.equal(rest.rows.length, 12);
  } finally {
    await sql.end();
    await client.end();
  }
});
