/** `deno task backup`: writes everything that the pipeline keeps to a file, and checks such files. */
import { parseArgs } from "node:util";
import { environmentSchema } from "../server/config.ts";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { checkBackup } from "../store/backup/checked_file.ts";
import { takeBackup } from "./backup/take_backup.ts";
import { bytes, tableList } from "./backup/words.ts";
import { onEndingSignal } from "./launch.ts";
import { runScript } from "./run_script.ts";
import { count, duration } from "./terminal.ts";
import { withDatabase } from "./with_database.ts";

const HELP = `Usage: deno task backup [--verify FILE]

Writes every dataset, audit, metrics, alerts, runs, configurations, schedules and
whatever else belongs to the pipeline to BACKUP_DIR/etl_backup_YYYYMMDD_HHMMSS.sql.gz (UTC),
as one moment of the database that KPIS_PG_DSN names, or of the embedded one where it is
not set. Loads go on meanwhile. docs/backup.md says what is in it and what is not.

  --verify FILE   only read FILE, and say whether it is whole

  BACKUP_DIR      directory of the backups, default ./backups
  KEEP_BACKUPS    how many of them are kept, default 7; older ones are deleted afterwards
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { verify: { type: "string" } },
  });
  return values.verify === undefined ? await backUp() : await verify(values.verify);
}

async function backUp(): Promise<number> {
  const { dir, keepCount } = settings(Deno.env.toObject());
  const ending = new AbortController();
  using _signals = onEndingSignal(() => ending.abort());
  let code = 1;
  await withDatabase(async (dsn) => {
    const started = performance.now();
    const tables: [string, number][] = [];
    try {
      const taken = await takeBackup(dsn, {
        dir,
        keepCount,
        onTable: ({ schema_name, table_name }, rows) =>
          tables.push([`${schema_name}.${table_name}`, rows]),
        signal: ending.signal,
      });
      console.log(tableList(tables));
      console.log(
        `${taken.path}: ${count(taken.trailer.rows)} rows of ${taken.trailer.tables} tables, ` +
          `${bytes(taken.size)}, ${duration(performance.now() - started)}`,
      );
      if (taken.deleted.length > 0) console.log(`Deleted: ${taken.deleted.join(", ")}`);
      if (taken.ofOthers.length > 0) {
        console.log(`Kept, as of another database or damaged: ${taken.ofOthers.join(", ")}`);
      }
      code = 0;
    } catch (error) {
      if (!ending.signal.aborted) throw error;
      console.error("Interrupted: nothing was written.");
      code = 130;
    }
  });
  return code;
}

async function verify(path: string): Promise<number> {
  const { manifest, trailer } = await checkBackup(path);
  console.log(
    `${path} is whole: ${count(trailer.rows)} rows of ${trailer.tables} tables, ` +
      `taken ${manifest.taken_at} of database ${manifest.database} (PostgreSQL ${manifest.server_version})`,
  );
  return 0;
}

function settings(env: Record<string, string>): { dir: string; keepCount: number } {
  const { BACKUP_DIR: dir, KEEP_BACKUPS: keep } = env;
  const parsed = environmentSchema.pick({ BACKUP_DIR: true, KEEP_BACKUPS: true })
    .safeParse({ ...(dir ? { BACKUP_DIR: dir } : {}), ...(keep ? { KEEP_BACKUPS: keep } : {}) });
  if (!parsed.success) {
    throw new TerminalProblem("invalid-conf", {
      detail: parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`)
        .join("; "),
    });
  }
  return { dir: parsed.data.BACKUP_DIR, keepCount: parsed.data.KEEP_BACKUPS };
}

await runScript(main, { help: HELP });
