import assert from "node:assert/strict";
import pg from "pg";
import postgres from "postgres";
import { pipelines } from "../../store/pipelines.ts";
import { searchAll } from "../../store/search.ts";
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

    // runs that wait behind a failed one do not hide that it failed
    await client.query(`
      insert into etl.runs (run_id, run_label, state, attempt, conf, params, origins, schema_name, table_name, audit_table_name,
        dry_run, pool, overlap, requested_at, ended_at, schedule)
      select gen_random_uuid(), case when of_schedule then 'hour ' || n else 'waiting' end,
        case when n = 0 then 'failed' when of_schedule and n = 8 then 'cancelled' else 'queued' end, 1, '{}', '{}', '{}', 'public', 'etl_improved_events',
        'etl_improved_audit', false, 'default_pool', 'queue', now() + n * interval '1 second',
        case when n = 0 or of_schedule and n = 8 then now() end, case when of_schedule then 'by_hour' end
      from generate_series(0, 8) as n, unnest(array[true, false]) as of_schedule where n > 0 or not of_schedule;
      insert into etl.schedules (name, cron, conf) values ('by_hour', '0 * * * *', '{"run_label": "hour {{slot}}"}')`);
    const waiting = await pipelines(sql as never, { ...ALL, search: "waiting" });
    assert.deepEqual(waiting.rows.map(({ name, urgency }) => [name, urgency]), [["waiting", 2]]);
    // of a schedule whose newest run was cancelled others are at work
    const hours = await pipelines(sql as never, { ...ALL, search: "by_hour" });
    assert.deepEqual(hours.rows.map(({ name, urgency }) => [name, urgency]), [["by_hour", 1]]);

    // what exists is found, and what fails comes first, however many labels there are before it in the alphabet
    await client.query(`
      insert into etl.runs (run_id, run_label, state, attempt, conf, params, origins, schema_name, table_name, audit_table_name,
        dry_run, pool, overlap, requested_at, admitted_at, started_at, ended_at, total_rows)
      select gen_random_uuid(), 'aa ' || lpad(n::text, 5, '0'), case n when 5999 then 'failed' else 'succeeded' end, 1, '{}', '{}', '{}', 'public', 'etl_improved_events',
        'etl_improved_audit', false, 'default_pool', 'queue', now(), now(), now(), now(), 1 from generate_series(1, 6000) as n`);
    const first = await pipelines(sql as never, { ...ALL, limit: 100 });
    assert.ok(first.truncated);
    const failing = first.rows.filter(({ urgency }) => urgency === 2).map(({ name }) => name);
    assert.ok(
      ["aa 05999", "busy", "label 7", "waiting"].every((name) => failing.includes(name)),
      failing.join(),
    );
    const late = await pipelines(sql as never, { ...ALL, search: "AA 05998" });
    assert.deepEqual([late.total, late.rows[0]!.name, late.truncated], [1, "aa 05998", false]);
    const past = await pipelines(sql as never, { ...ALL, offset: 50_000 });
    assert.deepEqual([past.rows, past.truncated], [[], true]);
    const searched = await searchAll(sql as never, "a 05997");
    assert.deepEqual(searched.labels.map(({ label }) => label), ["aa 05997"]);
    assert.deepEqual(searched.rejected, { records: [], looked: 0, back_to: null, cut: false });

    // a rejected record is found behind very many newer ones, and the answer says how far it was looked
    await client.query(`
      insert into etl.quarantine (run_id, chunk_no, position, output, rule, message, raw)
      select r.run_id, n / 1000, n % 1000, 0, 'key_missing', 'missing', 'row ' || n || case when n % 7000 = 6999 then ' Q-4711' else '' end
      from (select run_id from etl.runs where run_label = 'busy' order by requested_at desc limit 1) as r, generate_series(1, 29000) as n;
      insert into etl.quarantine (run_id, chunk_no, position, output, rule, message, raw)
      select run_id, 0, 0, 0, 'key_missing', 'missing', 'an older q-4711 ' || run_id from etl.runs
      where run_label = 'busy' order by requested_at limit 1`);
    const { rejected } = await searchAll(sql as never, "q-4711");
    assert.deepEqual([rejected.records.length, rejected.looked, rejected.cut], [5, 29_001, false]);
    assert.match(rejected.records[4]!.raw, /^an older/);
    assert.equal(rejected.back_to, rejected.records[4]!.requested_at);
    const many = (await searchAll(sql as never, "row 1")).rejected;
    assert.deepEqual([many.records.length, many.cut], [10, true]);
  } finally {
    await sql.end();
    await client.end();
  }
});
