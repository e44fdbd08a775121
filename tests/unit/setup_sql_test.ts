import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setupSql } from "../../scripts/setup_sql.ts";

/** The set-up with these migrations. */
async function withMigrations(files: Record<string, string>): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: "etl-migrations-" });
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(dir, name), text);
    }
    return await setupSql({ migrationsDir: pathToFileURL(`${dir}/`) });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("migrations are carried out in the order of their numbers, each once, and all are known to the set-up", async () => {
  const one = { "0001_one.sql": "select 'one'", "README.md": "no migration" };
  const sql = await withMigrations({ "0002_two.sql": "select 'two'", ...one });
  assert.match(sql, /require_known_migrations\(array\['0001_one', '0002_two'\]\)/);
  const calls = [...sql.matchAll(/apply_migration\('(\w+)', '([0-9a-f]{64})', \$\w+\$\n(.*)\n/g)];
  assert.deepEqual(calls.map(([, name, , text]) => [name, text]), [
    ["0001_one", "select 'one'"],
    ["0002_two", "select 'two'"],
  ]);
  // a changed text is told by its sum, which the whole has, too
  const changed = await withMigrations({ "0002_two.sql": "select 2", ...one });
  const sums = (text: string) => [...text.matchAll(/'([0-9a-f]{64})'/g)].map(([, sum]) => sum);
  const [before, after] = [sums(sql), sums(changed)];
  assert.deepEqual(before.map((sum, i) => sum === after[i]), [true, false, false]);
});

Deno.test("a migration without a number of its own, or with the quotes that are put around it, is refused by its name", async () => {
  const text = "select 1";
  for (
    const [files, name] of [
      [{ "1_short.sql": text }, "1_short"],
      [{ "0001_Capitals.sql": text }, "0001_Capitals"],
      [{ "0001_one.sql": text, "0001_two.sql": text }, "0001_two"],
      [{ "0001_quotes.sql": "select $etl_migration$1$etl_migration$" }, "0001_quotes"],
    ] as [Record<string, string>, string][]
  ) {
    await assert.rejects(withMigrations(files), new RegExp(`sql/migrations: ${name} must`));
  }
});
