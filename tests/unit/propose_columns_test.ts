import assert from "node:assert/strict";
import { ColumnProposer } from "../../pipeline/sources/propose_columns.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

/** What is proposed for a CSV file of one column. */
async function proposed(values: string[], conf: Record<string, unknown> = {}) {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv", `x\n${values.map((value) => `"${value}"`).join("\n")}\n`);
  const { records } = await readAll({ type: "file", path: "a.csv", ...conf }, folder.ctx);
  const proposer = new ColumnProposer(conf);
  proposer.observe(records);
  return proposer.propose().map(({ declare, fits, misfits }) => [declare, fits, misfits]);
}

Deno.test("columns that need no declaration get none", async () => {
  assert.deepEqual(await proposed(["1", "2.50", ""]), []);
  assert.deepEqual(await proposed(["true", "false"]), []);
  assert.deepEqual(await proposed(["New York", "Lima"]), []);
  assert.deepEqual(await proposed(["02134", "01000"]), []);
  assert.deepEqual(await proposed(["10001", "02134"], { columns: { x: "text" } }), []);
});

Deno.test("a column that holds objects or lists among its texts is proposed nothing", () => {
  const proposer = new ColumnProposer({});
  const texts = Array.from({ length: 50 }, (_, i) => ({ x: `${i}`, y: `${i}` }));
  proposer.observe([...texts, { x: { a: 1 }, y: "oops" }, { x: [1], y: null }]);
  assert.deepEqual(proposer.propose().map(({ name, declare }) => [name, declare]), [[
    "y",
    "numeric",
  ]]);
});

Deno.test("codes that sometimes look like numbers are proposed as text, with those that do not", async () => {
  assert.deepEqual(await proposed(["10001", "90210", "02134"]), [["text", 1, ["02134"]]]);
  assert.deepEqual(await proposed(["250.0", "401.10", "V10.1"]), [["text", 1, ["V10.1"]]]);
});

Deno.test("a column of numbers with few others is proposed as numeric, with the share and the others", async () => {
  const numbers = Array.from({ length: 99 }, (_, i) => `${i}`);
  assert.deepEqual(await proposed([...numbers, "oops"]), [["numeric", 0.99, ["oops"]]]);
  assert.deepEqual(await proposed([...numbers, "NA", "NA"]), [
    [{ type: "numeric", null_values: ["NA"] }, 1, []],
  ]);
});

Deno.test("decimal commas among decimal points make a column text: 1.234 is not proposed as 1234", async () => {
  assert.deepEqual(await proposed(["1.234", "2,5"]), [["text", 1, ["2,5"]]]);
});

Deno.test("text that is all of one form is proposed as what it is", async () => {
  const cases: [string[], unknown][] = [
    [["1.234,50", "0,5", "12"].slice(0, 2), { type: "numeric", decimal: ",", thousands: "." }],
    [["2026-01-31", "2026-02-01"], "date"],
    [["31/01/2026", "01/02/2026"], { type: "date", format: "%d/%m/%Y" }],
    [["01/31/2026", "02/01/2026"], { type: "date", format: "%m/%d/%Y" }],
    [["2026-01-31T10:00:00Z", "2026-02-01 11:30:00"], "timestamptz"],
    [["yes", "no"], "boolean"],
  ];
  for (const [values, declare] of cases) {
    assert.deepEqual(await proposed(values), [[declare, 1, []]], values.join());
  }
});
