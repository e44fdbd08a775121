import assert from "node:assert/strict";
import { chooseComparison } from "../../pipeline/stages/resolve.ts";

Deno.test("a run is compared with its destination by the cheaper: a tenth of the table's rows is where reading it begins to pay", () => {
  const run = { chunks: 10, chunkSize: 1_000, rows: 1_000_000, filled: true };
  assert.equal(chooseComparison(run), "lookup");
  assert.equal(chooseComparison({ ...run, rows: 100_001 }), "lookup");
  assert.equal(chooseComparison({ ...run, rows: 100_000 }), "join");
  // a table that was never analysed counts as small
  assert.equal(chooseComparison({ ...run, rows: 0 }), "join");
  // without a size of the conf's a chunk counts as a full one of 50,000
  assert.equal(chooseComparison({ ...run, chunkSize: null, rows: 5_000_000 }), "join");
  assert.equal(chooseComparison({ ...run, chunkSize: null, rows: 5_000_001 }), "lookup");
  // but for what the plan knows of the input
  const known = { ...run, chunkSize: null, records: 100_000 };
  assert.equal(chooseComparison({ ...known, rows: 1_000_001 }), "lookup");
  assert.equal(chooseComparison({ ...known, rows: 1_000_000 }), "join");
});

Deno.test("a run of one chunk looks its keys up whatever the table has; nothing is compared with an empty one", () => {
  const run = { chunks: 1, chunkSize: null, rows: 10, filled: true };
  assert.equal(chooseComparison(run), "lookup");
  assert.equal(
    chooseComparison({ ...run, chunks: 4, records: 50_000 }),
    "lookup",
    "as small as one",
  );
  assert.equal(chooseComparison({ ...run, chunks: 4, records: 50_001 }), "join");
  assert.equal(chooseComparison({ ...run, filled: false }), "none");
  assert.equal(chooseComparison({ ...run, chunks: 0 }), "none");
});
