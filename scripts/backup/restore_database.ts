import { TerminalProblem } from "../../vocabulary/problem.ts";
import { checkBackup, type CheckedBackup } from "../../store/backup/checked_file.ts";
import { type BackedUpTable, readRestoreSql } from "../../store/backup/format.ts";
import { restoreBackup } from "../../store/backup/restore.ts";
import { readTarget, type RestoreTarget } from "../../store/backup/target.ts";
import { connect } from "../../store/pg.ts";
import { setupDatabase } from "../setup_db.ts";

export interface RestoreDatabaseOptions {
  /** Asked before anything is changed; false ends it there. Default: yes. */
  confirm?: (backup: CheckedBackup, target: RestoreTarget) => Promise<boolean>;
  /** Told the rows of each table. */
  onTable?: (table: BackedUpTable, rows: number) => void;
}

/**
 * Puts a backup in the place of what the database holds. The whole file is read
 * and the database looked at before anything is touched; a database without the
 * schema is set up first. Answers null where the user did not want to.
 */
export async function restoreDatabase(
  dsn: string,
  path: string,
  options: RestoreDatabaseOptions = {},
): Promise<CheckedBackup | null> {
  const backup = await checkBackup(path);
  const client = await connect(dsn, {
    applicationName: "etl-improved restore",
    ownNamesOnly: true,
  });
  try {
    const target = await readTarget(client, backup.manifest);
    if (target.activeRuns.length > 0) {
      throw new TerminalProblem("conflict", {
        detail: `Runs are active (${target.activeRuns.join(", ")}), and a restore would pull ` +
          "their rows from under them. Wait for them or cancel them, then restore again.",
      });
    }
    if (options.confirm !== undefined && !await options.confirm(backup, target)) return null;
    if (!target.isSetUp) await setupDatabase(dsn);
    await restoreBackup(client, backup, {
      restoreSql: await readRestoreSql(),
      ...(options.onTable ? { onTable: options.onTable } : {}),
    });
    return backup;
  } finally {
    await client.end();
  }
}
