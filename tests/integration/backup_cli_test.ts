import assert from "node:assert/strict";
import { resolve } from "node:path";
import { backupDir } from "../helpers/backups.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

async function script(args: string[], env: Record<string, string>, input = "") {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--cached-only", "-A", ...args],
    cwd: PROJECT_DIR,
    env,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  // a script that asks nothing may have ended
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("backup, --verify and restore from the command line; restore asks, naming what it will replace", async (t) => {
  await using db = await testDatabase(t);
  await using dir = await backupDir();
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.variables (name, value) values ('a', '1')");
  const env = { KPIS_PG_DSN: db.dsn, BACKUP_DIR: dir.path, KEEP_BACKUPS: "1" };
  const backup = await script(["scripts/backup.ts"], env);
  assert.equal(backup.code, 0, backup.err);
  const path = /^(\S+\/etl_backup_\d{8}_\d{6}\.sql\.gz): [\d,]+ rows of \d+ tables, .* kB, /m
    .exec(backup.out)?.[1];
  assert.ok(path, backup.out);
  assert.match(backup.out, /^ +1 {2}etl\.variables$/m);

  assert.match((await script(["scripts/backup.ts", "--verify", path], {})).out, /is whole: /);
  await sql.query("update etl.variables set value = '2'");
  const value = async () => (await sql.query("select value from etl.variables")).rows[0].value;
  for (const answer of ["no\n", "\n", ""]) {
    const refused = await script(["scripts/restore.ts", path], env, answer);
    assert.equal(refused.code, 1);
    assert.match(refused.out, new RegExp(`In database ${db.name} it will replace`));
    assert.match(refused.out, /^ {2}etl\.variables {2}1$/m);
    assert.match(refused.err, /Nothing was changed/);
    assert.equal(await value(), 2);
  }
  const restored = await script(["scripts/restore.ts", path], env, "yes\n");
  assert.equal(restored.code, 0, restored.err);
  assert.match(restored.out, /Restored \d+ rows of \d+ tables/);
  assert.equal(await value(), 1);

  const missing = await script(["scripts/restore.ts", `${dir.path}/none`, "--yes"], env);
  assert.deepEqual([missing.code, missing.err], [1, `There is no file ${dir.path}/none.\n`]);
  assert.equal((await script(["scripts/restore.ts"], env)).code, 2);
  const wrong = await script(["scripts/backup.ts"], { ...env, KEEP_BACKUPS: "0" });
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /KEEP_BACKUPS/);
});

Deno.test("wrong options of scripts are told with how to go on, and end with 2", async () => {
  for (
    const args of [
      ["scripts/backup.ts", "extra"],
      ["scripts/backup.ts", "--verify"],
      ["scripts/restore.ts", "--yse", "FILE"],
      ["scripts/setup_db.ts", "--shcema", "x"],
    ]
  ) {
    const { code, err } = await script(args, {});
    assert.equal(code, 2, err);
    assert.match(err, /^error: .+\n--help tells how it is used\.\n$/);
  }
});

Deno.test("a BACKUP_DIR that cannot be made is named", async (t) => {
  await using db = await testDatabase(t);
  await using dir = await backupDir();
  const path = `${dir.path}/file`;
  await Deno.writeTextFile(path, "");
  for (const BACKUP_DIR of [path, `${path}/below`]) {
    const { code, err } = await script(["scripts/backup.ts"], { KPIS_PG_DSN: db.dsn, BACKUP_DIR });
    assert.equal(code, 1);
    assert.match(
      err,
      /^BACKUP_DIR .*file.* cannot be made: .+ Name another BACKUP_DIR\.\n$/,
    );
  }
});
