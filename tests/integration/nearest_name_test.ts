import assert from "node:assert/strict";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import { paramNames } from "../../pipeline/params.ts";
import { withClient } from "../helpers/query.ts";
import { testDatabase } from "../helpers/postgres.ts";

Deno.test("the name that was meant is the same in SQL and TypeScript, and the one that people expect", async (t) => {
  const known = [
    "batch_size",
    "Europe/Madrid",
    "list",
    "slots",
    "lost",
    "abc",
    "x",
    "ñandú",
    "tablas",
    "table",
  ];
  const given = [
    ...paramNames.flatMap((
      name,
    ) => [name.slice(1), `${name}x`, name.replace("_", ""), name.toUpperCase()]),
    ...[
      "batch_sise",
      "btach_size",
      "madrid",
      "europe/madird",
      "lst",
      "lsot",
      "los",
      "slot",
      "ab",
      "",
      "nandu",
      "tabla",
    ],
    ...["ÑANDÚ", "q".repeat(63), "q".repeat(64), "quite_another_thing", "y", "a b c", "😀"],
  ];
  await using database = await testDatabase(t);
  const names = [...known, ...paramNames];
  const { rows } = await withClient(
    database.dsn,
    (client) =>
      client.query<{ given: string; meant: string | null }>(
        "select g as given, etl.nearest_name(g, $2) as meant from unnest($1::text[]) as g",
        [given, names],
      ),
  );
  assert.deepEqual(
    rows.map(({ given, meant }) => [given, meant]),
    given.map((each) => [each, nearestName(each, names) ?? null]),
  );
  assert.equal(nearestName("batch_sise", names), "batch_size");
  assert.equal(nearestName("BTACH_SIZE", names), "batch_size");
  assert.equal(nearestName("tabla", ["tablas", "table"]), "table", "the same length first");
  assert.equal(nearestName("quite_another_thing", known), undefined);
});
