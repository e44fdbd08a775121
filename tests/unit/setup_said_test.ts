import assert from "node:assert/strict";
import { WrongUse } from "../../scripts/run_script.ts";
import { saidOf, setupOptions } from "../../scripts/setup_db.ts";

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

Deno.test("setup-db does what each of its options says, and refuses a right for a role that is not named", () => {
  const whole = "--schema s --table t --audit-table a --role r --may-create --reader q --revoke o";
  assert.deepEqual(setupOptions(whole.split(" ")), {
    schema: "s",
    table: "t",
    auditTable: "a",
    role: "r",
    mayCreate: true,
    reader: "q",
    revoke: "o",
  });
  assert.deepEqual(setupOptions([]), {});
  assert.deepEqual(setupOptions(["--role", "r"]), { role: "r" }, "it may what it might before");
  assert.deepEqual(setupOptions(["--role", "r", "--no-may-create"]), {
    role: "r",
    mayCreate: false,
  });
  for (const option of ["--may-create", "--no-may-create"]) {
    assert.throws(() => setupOptions([option, "--reader", "q"]), (error: Error) => {
      assert.ok(error instanceof WrongUse);
      assert.ok(error.message.startsWith(`${option} is about the role that the server uses`));
      assert.ok(error.message.includes(`add --role R, as in --role etl_server ${option}.`));
      return true;
    });
  }
});
