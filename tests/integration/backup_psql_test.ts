import assert from "node:assert/strict";
import { checkBackup } from "../../store/backup/checked_file.ts";
import { readRestoreSql } from "../../store/backup/format.ts";
import { restoreBackup } from "../../store/backup/restore.ts";
import { backUp, backupDir, held, restore } from "../helpers/backups.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { client } from "../helpers/sql_problems.ts";
import { isThere } from "../helpers/needs.ts";

async function shell(command: string, env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command("sh", { args: ["-c", command], env })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

const hasPsql = isThere(
  (await shell("psql --version && zcat --version")).code === 0,
  "install postgresql-client for the tests with psql",
);
const HIJACK = `create function public.format(text, text, text) returns text language plpgsql
  as 'begin raise ''called''; end'`;
const PSQL = "psql -X -q -v ON_ERROR_STOP=1";

Deno.test({
  name:
    "psql restores a backup too, silently, in one transaction either way, also into an empty database",
  ignore: !hasPsql,
  async fn(t) {
    await using engine = await startEngine(t);
    await engine.load([{ id: "a\n\\.\nb" }, { id: "ü" }]);
    await engine.load([{ id: "b" }], { schema_name: "other", audit_table_name: "my_audit" });
    await using dir = await backupDir();
    const backup = await backUp(engine.db.dsn, dir);
    const expected = await held(engine.db.dsn, backup);
    for (const options of ["--single-transaction", ""]) {
      await using db = await testDatabase(t, { setUp: false });
      const command = `zcat ${backup.path} | ${PSQL} ${options} "$DSN"`;
      for (const time of ["empty", "again"]) {
        if (time === "again") {
          // what somebody else has made in a schema that they may create in is not called
          await withClient(db.dsn, (sql) => sql.query(HIJACK));
        }
        const said = await shell(command, { DSN: db.dsn, PGCLIENTENCODING: "LATIN1" });
        assert.deepEqual(said, { code: 0, out: "", err: "" });
        assert.deepEqual(await held(db.dsn, backup), expected);
      }
      await using sql = await client(db.dsn);
      const { rows } = await sql.query(
        "select sum(runs)::integer as runs from public.mv_etl_metrics_daily",
      );
      assert.equal(rows[0].runs, 2);
    }
  },
});

Deno.test({
  name: "half a backup changes nothing through psql, wherever it ends and however psql is called",
  ignore: !hasPsql,
  async fn(t) {
    await using engine = await startEngine(t);
    await engine.load([{ id: "a" }]);
    await using dir = await backupDir();
    const backup = await backUp(engine.db.dsn, dir);
    await engine.load([{ id: "since" }]);
    const expected = await held(engine.db.dsn, backup);
    const endings = [
      "head -c -1500", // before what comes after the data
      "sed '/^-- etl-improved end of data/q'",
      `sed '/^copy "etl"."runs"/q'`, // a table with no rows
      "sed '/^-- etl-improved data/q'",
    ];
    for (const ending of endings) {
      for (const psql of [`${PSQL} --single-transaction`, PSQL, "psql -X -q"]) {
        await shell(`zcat ${backup.path} | ${ending} | ${psql} "$DSN"`, { DSN: engine.db.dsn });
        assert.deepEqual(await held(engine.db.dsn, backup), expected, `${ending} | ${psql}`);
      }
      const { code } = await shell(
        `zcat ${backup.path} | ${ending} | ${PSQL} --single-transaction "$DSN"`,
        { DSN: engine.db.dsn },
      );
      assert.notEqual(code, 0, ending);
    }
  },
});

Deno.test({
  name:
    "a restore is refused while runs are active, by psql too, and by the lock if one starts meanwhile",
  ignore: !hasPsql,
  async fn(t) {
    await using engine = await startEngine(t);
    await using dir = await backupDir();
    const backup = await backUp(engine.db.dsn, dir);
    const { run_id } = await engine.submit({ batch_size: 1 });
    const expected = await held(engine.db.dsn, backup);
    await assert.rejects(
      restore(engine.db.dsn, backup),
      { type: "conflict", message: new RegExp(`^Runs are active \\(${run_id}\\)`) },
    );
    // one that is asked for after the look at the database
    await using sql = await client(engine.db.dsn);
    await assert.rejects(
      restoreBackup(sql, await checkBackup(backup.path), { restoreSql: await readRestoreSql() }),
      { type: "conflict", message: new RegExp(`^Runs are active \\(${run_id}\\)`) },
    );
    const said = await shell(`zcat ${backup.path} | ${PSQL} "$DSN"`, { DSN: engine.db.dsn });
    assert.match(said.err, /Runs are active/);
    assert.deepEqual(await held(engine.db.dsn, backup), expected);
  },
});
