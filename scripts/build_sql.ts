/**
 * Writes sql/etl_setup.sql from its parts (scripts/setup_sql.ts) and the JSON Schema of the parameters,
 * and sql/etl_migration.sql from some of them. `--check` only says whether they are current.
 */
import { migrationSql, setupSql } from "./setup_sql.ts";

const files: [name: string, text: string][] = [
  ["sql/etl_setup.sql", await setupSql()],
  ["sql/etl_migration.sql", migrationSql()],
];
for (const [name, text] of files) {
  const target = new URL(`../${name}`, import.meta.url);
  if (!Deno.args.includes("--check")) {
    Deno.writeTextFileSync(target, text);
  } else if (Deno.readTextFileSync(target) !== text) {
    console.error(`${name} is not current: run \`deno task build-sql\`.`);
    Deno.exit(1);
  }
}
