import assert from "node:assert/strict";
import { schemaDump } from "../../store/schema_dump.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

/** Fails with the lines that differ, and with what to do. */
function assertAsDumped(actual: string, dumped: string, advice: string): void {
  const [ours, theirs] = [new Set(actual.split("\n")), new Set(dumped.split("\n"))];
  const differences = [
    ...[...theirs].filter((line) => !ours.has(line)).map((line) => `- ${line}`),
    ...[...ours].filter((line) => !theirs.has(line)).map((line) => `+ ${line}`),
  ];
  assert.ok(differences.length === 0, `${advice}\n${differences.join("\n")}`);
}

Deno.test("a new database has the schema of sql/schema.dump.txt", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  assertAsDumped(
    await schemaDump(sql),
    await read("sql/schema.dump.txt"),
    "The schema is not as dumped. If that is meant, run `deno task dump-schema` and commit sql/schema.dump.txt.",
  );
});

Deno.test("an original installation that was taken over has the same schema, whatever was run first", async (t) => {
  await using fresh = await testDatabase(t);
  await using other = await client(fresh.dsn);
  const expected = await schemaDump(other, { bodies: true });
  for (const order of [["etl_setup"], ["etl_migration", "etl_setup"]]) {
    await using db = await testDatabase(t, { setUp: false });
    await using sql = await client(db.dsn);
    await sql.query(await read("tests/fixtures/original_installation.sql"));
    for (const name of order) await sql.query(await read(`sql/${name}.sql`));
    assertAsDumped(
      await schemaDump(sql, { bodies: true }),
      expected,
      `What ${
        order.join(" and ")
      } make of an original installation is not what they make of nothing:`,
    );
  }
});
