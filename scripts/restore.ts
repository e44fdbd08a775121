/** `deno task restore FILE`: puts a backup in the place of what the database holds. */
import { parseArgs } from "node:util";
import type { CheckedBackup } from "../store/backup/checked_file.ts";
import type { RestoreTarget } from "../store/backup/target.ts";
import { restoreDatabase } from "./backup/restore_database.ts";
import { tableList } from "./backup/words.ts";
import { runScript } from "./run_script.ts";
import { count, duration } from "./terminal.ts";
import { withDatabase } from "./with_database.ts";

const HELP = `Usage: deno task restore FILE [--yes]

Replaces what the database holds by the backup FILE, in one transaction: in the database
that KPIS_PG_DSN names, or in the embedded one where it is not set. An empty database is
set up first. Refused while runs are active. Asks before it changes anything.

  --yes   do not ask
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { yes: { type: "boolean", short: "y" } },
    allowPositionals: true,
  });
  const [path, ...others] = positionals;
  if (path === undefined || others.length > 0) {
    console.error(HELP);
    return 2;
  }
  let code = 1;
  await withDatabase(async (dsn) => {
    let started = performance.now();
    const tables: [string, number][] = [];
    const backup = await restoreDatabase(dsn, path, {
      confirm: async (file, target) => {
        const agreed = values.yes || await ask(file, target);
        started = performance.now();
        return agreed;
      },
      onTable: ({ schema_name, table_name }, rows) =>
        tables.push([`${schema_name}.${table_name}`, rows]),
    });
    if (backup === null) {
      console.error("Nothing was changed.");
      return;
    }
    console.log(tableList(tables));
    console.log(
      `Restored ${count(backup.trailer.rows)} rows of ${backup.trailer.tables} tables ` +
        `from ${path} in ${duration(performance.now() - started)}`,
    );
    code = 0;
  });
  return code;
}

async function ask({ manifest, trailer, path }: CheckedBackup, target: RestoreTarget) {
  console.log(
    `${path} was taken ${manifest.taken_at} of database ${manifest.database}: ` +
      `${count(trailer.rows)} rows of ${trailer.tables} tables.`,
  );
  if (target.replaced.length === 0) {
    console.log(`Database ${target.database} holds nothing that would be replaced.`);
  } else {
    console.log(`In database ${target.database} it will replace all rows of these tables:`);
    for (const { name, rows, more } of target.replaced) {
      console.log(`  ${name}  ${more ? "more than " : ""}${count(rows)}`);
    }
  }
  Deno.stdout.writeSync(new TextEncoder().encode("Go on? Type yes: "));
  const answer = await readLine();
  if (!Deno.stdin.isTerminal()) console.log();
  return answer.trim().toLowerCase() === "yes";
}

/** A line of standard input; empty where there is none. */
async function readLine(): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const buffer = new Uint8Array(256);
  while (!text.includes("\n")) {
    const read = await Deno.stdin.read(buffer);
    if (read === null) break;
    text += decoder.decode(buffer.subarray(0, read), { stream: true });
  }
  return text.split("\n")[0]!;
}

await runScript(main, { help: HELP });
