import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { backupText } from "../../store/backup/backup_text.ts";
import { readRestoreSql, readSetupSql } from "../../store/backup/format.ts";
import { backUp, backupDir, held, restore } from "../helpers/backups.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { client } from "../helpers/sql_problems.ts";
import { lacks } from "../helpers/needs.ts";

Deno.test("a backup shows one moment, although rows come and tables are made while it is read", async (t) => {
  await using db = await testDatabase(t);
  await using other = await client(db.dsn);
  await using sql = await client(db.dsn);
  await other.query("insert into etl.variables (name, value) values ('before', '1')");
  const text = backupText(sql, {
    takenAt: new Date(),
    setupSql: await readSetupSql(),
    restoreSql: await readRestoreSql(),
  });
  const blocks = [(await text.next()).value as Uint8Array];
  // the snapshot is taken: a load commits to a table that is not read yet, and makes others
  await other.query(`begin;
    insert into etl.variables (name, value) values ('meanwhile', '1');
    select etl.ensure_destination('meanwhile', 'made', 'audit');
    insert into public.etl_improved_audit (event) values ('meanwhile');
    delete from etl.variables where name = 'before';
    commit`);
  for await (const block of text) blocks.push(block);
  const written = Buffer.concat(blocks).toString();
  const data = written.slice(written.indexOf("-- etl-improved data"));
  assert.match(data, /\nbefore\t1\t/);
  assert.doesNotMatch(data, /meanwhile/);
});

Deno.test({
  name: "600,000 rows are backed up and restored, equal row by row, in bounded memory",
  ignore: lacks(Deno.env.get("ETL_TEST_LONG") === "1", "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await testDatabase(t);
    await withClient(db.dsn, (sql) =>
      sql.query(`
        insert into public.etl_improved_events (event_id, event_type, occurred_at, source, version, payload, fingerprint,
          event_date, event_hour, run_id)
        select 'evt-' || md5(i::text), 'view', timestamptz '2025-01-01Z' + i * interval '1.001 seconds', 's', i / 3.0,
          jsonb_build_object('id', i, 'text', E'ü "q" \\\\ \\n' || repeat('x', i % 50), 'ratio', i / 7.0),
          sha256(i::text::bytea), '2025-01-01', i % 24, gen_random_uuid()
        from generate_series(1, 600000) as i`));
    await using dir = await backupDir();
    const before = Deno.memoryUsage().rss;
    const backup = await backUp(db.dsn, dir);
    await using empty = await ownCluster();
    await restore(empty.dsn, backup);
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < 200e6, `the process grew by ${Math.round(grown / 1e6)} MB`);
    const expected = await held(db.dsn, backup);
    assert.equal(expected['"public"."etl_improved_events"']!.rows, 600_000);
    assert.deepEqual(await held(empty.dsn, backup), expected);
  },
});
