import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { setupSql } from "../../scripts/setup_sql.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/** The set-up of a later version, with these migrations after those that there are. */
export async function later(migrations: Record<string, string>): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: "etl_migrations_" });
  try {
    const own = new URL("../../sql/migrations/", import.meta.url);
    for (const { name } of Deno.readDirSync(own)) {
      await Deno.copyFile(new URL(name, own), `${dir}/${name}`);
    }
    for (const [name, text] of Object.entries(migrations)) {
      await Deno.writeTextFile(`${dir}/${name}.sql`, text);
    }
    return await setupSql({ migrationsDir: pathToFileURL(`${dir}/`) });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** What a server is made of; the rest of the project is not copied. */
const PROGRAM = [
  "main.ts",
  "deno.json",
  "deno.lock",
  "vocabulary",
  "routes",
  "islands",
  "queue",
  "timers",
  "pipeline",
]
  .concat("store", "server", "telemetry", "sql", "scripts", "suites");

/** A copy of the program that is made for another set-up: the next version, beside this one. */
export async function programWith(setup: string): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await Deno.makeTempDir({ prefix: "etl_next_" });
  const copied = await new Deno.Command("cp", {
    args: ["-r", ...PROGRAM, `${dir}/`],
    cwd: PROJECT_DIR,
  }).output();
  if (!copied.success) throw new Error(new TextDecoder().decode(copied.stderr));
  await Deno.symlink(`${PROJECT_DIR}/node_modules`, `${dir}/node_modules`);
  await Deno.writeTextFile(`${dir}/sql/etl_setup.sql`, setup);
  return {
    dir,
    async [Symbol.asyncDispose]() {
      await Deno.remove(dir, { recursive: true });
    },
  };
}
