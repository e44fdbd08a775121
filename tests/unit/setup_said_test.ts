import assert from "node:assert/strict";
import { saidOf } from "../../scripts/setup_db.ts";

Deno.test("setup-db names a few new objects, counts many, and always names what is no plain object", () => {
  assert.deepEqual(saidOf([]), ["Everything is up to date."]);
  assert.deepEqual(saidOf(["table mine.events"]), ["Created:", "  table mine.events"]);
  const tables = (n: number) => Array.from({ length: n }, (_, i) => `table mine.t${i}`);
  assert.equal(saidOf(tables(8)).length, 9, "so many are listed");
  assert.deepEqual(saidOf(tables(9)), ["Created 9 tables."]);
  const functions = Array.from({ length: 170 }, (_, n) => `function etl.f${n}`);
  assert.deepEqual(
    saidOf([
      ...functions,
      "schema etl",
      "table etl.runs",
      "view etl.a",
      "view etl.b",
      "12 runs of the Airflow system, taken over",
    ]),
    [
      "Created 170 functions, 1 schema, 1 table, 2 views.",
      "  12 runs of the Airflow system, taken over",
    ],
  );
});
