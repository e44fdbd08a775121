import assert from "node:assert/strict";
import { sliceBatch } from "../../pipeline/sources/origin.ts";
import type { RecordBatch } from "../../pipeline/sources/source.ts";

Deno.test("the parts of a batch know their file and their lines; what its records had twice is told once", () => {
  const batch: RecordBatch = [{ n: 0 }, { n: 1 }, { n: 2 }];
  batch.file = "a.ndjson";
  batch.origin = (index) => ({ file: "a.ndjson", line: 10 + index, raw: null, record: null });
  batch.repeatedNames = { records: 1, names: ["n"] } as unknown as NonNullable<
    RecordBatch["repeatedNames"]
  >;
  const parts = [sliceBatch(batch, 0, 1), sliceBatch(batch, 1)];
  assert.deepEqual(parts.map((part) => part.length), [1, 2]);
  assert.deepEqual(parts.map(({ file }) => file), ["a.ndjson", "a.ndjson"]);
  assert.deepEqual(parts.map((part) => part.origin!(0).line), [10, 11]);
  assert.deepEqual(parts.map((part) => part.repeatedNames !== undefined), [true, false]);
});
