import assert from "node:assert/strict";
import { gunzipSync, gzipSync } from "node:zlib";
import { restoreDatabase } from "../../scripts/backup/restore_database.ts";
import { takeBackup } from "../../scripts/backup/take_backup.ts";
import { checkBackup } from "../../store/backup/checked_file.ts";
import { backUp, backupDir } from "../helpers/backups.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { client } from "../helpers/sql_problems.ts";

const AT = new Date("2026-01-31T23:59:59.900Z");

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

Deno.test("a truncated, changed or foreign file is refused before anything is touched", async (t) => {
  await using db = await testDatabase(t);
  await using dir = await backupDir();
  const { path } = await backUp(db.dsn, dir);
  const whole = await Deno.readFile(path);
  const text = gunzipSync(whole);
  const variables = text.indexOf("etl.variables");
  const changed = text.slice();
  changed[variables] = 69;
  const cases: [string, Uint8Array, RegExp][] = [
    ["half", whole.subarray(0, whole.length / 2), /is truncated/],
    ["short", whole.subarray(0, 100), /is truncated/],
    ["zipped half", gzipSync(text.subarray(0, text.length / 2)), /is truncated/],
    ["one byte less", gzipSync(text.subarray(0, -1)), /is truncated/],
    ["no first line", gzipSync(text.subarray(1)), /is no backup of etl-improved/],
    ["another dump", gzipSync("-- PostgreSQL database dump\n".repeat(9)), /is no backup/],
    ["empty", gzipSync(""), /is no backup/],
    [
      "no manifest",
      gzipSync(text.toString().replace('"format":1', '"format":2')),
      /is damaged: its second line/,
    ],
    ["no gzip", new TextEncoder().encode("select 1"), /cannot be decompressed/],
    ["changed", gzipSync(changed), /checksum does not fit/],
    ["longer", gzipSync(new Uint8Array([...text, ...text])), /checksum does not fit/],
    [
      "newer",
      gzipSync(text.toString().replace("format 1\n", "format 9\n")),
      /a newer version reads/,
    ],
  ];
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.variables (name, value) values ('stays', '1')");
  for (const [name, bytes, message] of cases) {
    await Deno.writeFile(`${dir.path}/${name}`, bytes);
    // a server that is not there: nothing was even tried
    await assert.rejects(
      restoreDatabase("postgres://127.0.0.1:1/none", `${dir.path}/${name}`),
      message,
      name,
    );
  }
  await assert.rejects(checkBackup(`${dir.path}/missing`), /There is no file/);
  await assert.rejects(checkBackup(dir.path), /cannot be read \(EISDIR\)/);
  assert.equal(
    (await checkBackup(path)).trailer.tables,
    (await backUp(db.dsn, dir)).trailer.tables,
  );
});

Deno.test("backups have names of their own, only their owner reads them, and the newest stay", async (t) => {
  await using db = await testDatabase(t);
  await using dir = await backupDir();
  const path = `${dir.path}/deep/backups`;
  const take = (keepCount: number) => takeBackup(db.dsn, { dir: path, keepCount, now: AT });
  const [one, other] = await Promise.all([take(9), take(9)]);
  assert.notEqual(one.path, other.path);
  assert.deepEqual(names(path), [
    "etl_backup_20260131_235959.sql.gz",
    "etl_backup_20260201_000000.sql.gz",
  ]);
  assert.equal((await Deno.stat(one.path)).mode! & 0o777, 0o600);
  await Deno.writeTextFile(`${path}/mine.sql.gz`, "not ours");
  await Deno.writeTextFile(`${path}/etl_backup_20250101_000000.sql.gz.part`, "of a killed one");
  await Deno.utime(`${path}/etl_backup_20250101_000000.sql.gz.part`, 0, 0);
  const third = await take(2);
  assert.deepEqual(third.deleted, [
    "etl_backup_20250101_000000.sql.gz.part",
    "etl_backup_20260131_235959.sql.gz",
  ]);
  assert.deepEqual(names(path), [
    "etl_backup_20260201_000000.sql.gz",
    "etl_backup_20260201_000001.sql.gz",
    "mine.sql.gz",
  ]);
});

Deno.test("a backup deletes older ones of its own database only, and names those that it leaves", async (t) => {
  await using db = await testDatabase(t);
  await using other = await testDatabase(t);
  await using dir = await backupDir();
  const take = (dsn: string, day: number) =>
    takeBackup(dsn, { dir: dir.path, keepCount: 1, now: new Date(Date.UTC(2026, 0, day)) });
  await take(other.dsn, 1);
  await take(db.dsn, 2);
  await Deno.writeTextFile(`${dir.path}/etl_backup_20250101_000000.sql.gz`, "damaged");
  const { deleted, ofOthers } = await take(db.dsn, 3);
  assert.deepEqual(deleted, ["etl_backup_20260102_000000.sql.gz"]);
  assert.deepEqual(ofOthers, [
    "etl_backup_20250101_000000.sql.gz",
    "etl_backup_20260101_000000.sql.gz",
  ]);
  assert.deepEqual(names(dir.path), [...ofOthers, "etl_backup_20260103_000000.sql.gz"]);
});

Deno.test("a backup that fails leaves the older ones and nothing of its own", async (t) => {
  await using db = await testDatabase(t);
  await using unset = await testDatabase(t, { setUp: false });
  await using dir = await backupDir();
  await takeBackup(db.dsn, { dir: dir.path, keepCount: 1, now: AT });
  const failing = takeBackup(unset.dsn, { dir: dir.path, keepCount: 1, now: AT });
  await assert.rejects(failing, /then run `deno task setup-db`/);
  assert.deepEqual(names(dir.path), ["etl_backup_20260131_235959.sql.gz"]);
});

Deno.test({
  name: "a full disk leaves the older backups",
  ignore: !await canMount(),
  async fn(t) {
    await using db = await testDatabase(t);
    await using disk = await smallDisk("1m");
    await takeBackup(db.dsn, { dir: disk.path, keepCount: 1, now: AT });
    await using sql = await client(db.dsn);
    await sql.query(`insert into etl.variables (name, value)
      select 'v' || i, to_jsonb(string_agg(gen_random_uuid()::text, '')) from generate_series(1, 300) as i,
        generate_series(1, 300) group by i`);
    await assert.rejects(
      takeBackup(db.dsn, { dir: disk.path, keepCount: 1, now: AT }),
      /is full\. The backups that are there were left/,
    );
    assert.deepEqual(names(disk.path), ["etl_backup_20260131_235959.sql.gz"]);
    await checkBackup(`${disk.path}/etl_backup_20260131_235959.sql.gz`);
  },
});
