import assert from "node:assert/strict";
import { widened } from "../../scripts/cli/commands/replicate.ts";

Deno.test("a column that is there becomes the type that holds its values and those of the source, or none does", () => {
  const cases: [there: string, wanted: string, becomes: string | null][] = [
    ["text", "text", "text"],
    ["numeric", "integer", "numeric"],
    ["timestamptz", "date", "timestamptz"],
    ["date", "timestamptz", "timestamptz"],
    ["integer", "numeric(5,2)", "numeric"],
    ["numeric(20,0)", "integer", "numeric(20,0)"],
    // an integer has up to 19 digits
    ["numeric(18,0)", "integer", "numeric"],
    ["integer", "numeric(18,0)", "integer"],
    ["integer", "numeric(19,0)", "numeric"],
    ["numeric(10,2)", "numeric(8,2)", "numeric(10,2)"],
    ["numeric(10,2)", "numeric(10,3)", "numeric"],
    ["numeric(10,2)", "numeric", "numeric"],
    ["integer", "text", null],
    ["text", "integer", null],
    ["date", "integer", null],
  ];
  for (const [there, wanted, becomes] of cases) {
    assert.equal(widened(there, wanted), becomes, `${there}, ${wanted}`);
  }
});
