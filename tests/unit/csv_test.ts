import assert from "node:assert/strict";
import Papa from "papaparse";
import { csvText } from "../../routes/shared/csv.ts";

Deno.test("text in a CSV is no formula for a spreadsheet, whatever separates cells there", () => {
  const bad = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uFF1D1",
    "a;=1",
    "a; =1",
    'a;"=1',
    "a\t-1",
    "a\n@x",
    "a;;+1",
    ";-1",
  ];
  const text = csvText(["a", "b"], bad.map((a) => ({ a, b: -1 })));
  assert.ok(text.endsWith("\r\n"));
  for (const delimiter of [",", ";", "\t"]) {
    // quotes count only at the beginning of a cell, which is not so for all of them
    const cells = delimiter === ","
      ? Papa.parse<string[]>(text.trimEnd(), { delimiter }).data.flat()
      : text.split(/[;\t\r\n]/);
    for (const cell of cells) {
      if (cell === "-1") continue;
      assert.doesNotMatch(
        cell,
        /^[\s"]*[=+\-@\uFF0B\uFF0D\uFF1D\uFF20]/,
        JSON.stringify({ delimiter, cell }),
      );
    }
  }
  const plain = ["plain", "2026-01-01", "a-b", "a=b", "a; b", "x, y", "-"];
  const kept =
    Papa.parse<string[]>(csvText(["a"], plain.slice(0, -1).map((a) => ({ a }))).trimEnd()).data;
  assert.deepEqual(kept.slice(1).flat(), plain.slice(0, -1));
  assert.equal(csvText(["n", "none"], [{ n: -5, none: null }]), "n,none\r\n-5,\r\n");
});
