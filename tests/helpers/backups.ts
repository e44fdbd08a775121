import { restoreDatabase } from "../../scripts/backup/restore_database.ts";
import { takeBackup, type TakenBackup } from "../../scripts/backup/take_backup.ts";
import { checkBackup } from "../../store/backup/checked_file.ts";
import { quoteTable } from "../../store/pg.ts";
import { tableTexts } from "./table_texts.ts";

/** A directory for the backups of a test, removed at the end of the scope. */
export async function backupDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "etl_backup_test_" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

export async function backUp(dsn: string, dir: { path: string }): Promise<TakenBackup> {
  return await takeBackup(dsn, { dir: dir.path, keepCount: 100 });
}

export async function restore(dsn: string, { path }: { path: string }): Promise<void> {
  await restoreDatabase(dsn, path);
}

/** What the tables of a backup hold in a database, comparable row by row. */
export async function held(dsn: string, { path }: { path: string }) {
  const { manifest } = await checkBackup(path);
  return await tableTexts(
    dsn,
    manifest.tables.map(({ schema_name, table_name }) => quoteTable(schema_name, table_name)),
  );
}

/** Names that need quoting, in ways that might end a statement or the data of a backup too early. */
export const ODD_SCHEMA = 'we"i$etl_restore$rd';
export const ODD_TABLE = "Ta'b le\n-- etl-improved data\n";
