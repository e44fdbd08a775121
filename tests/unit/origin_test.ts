import assert from "node:assert/strict";
import type { Rejected } from "../../pipeline/event.ts";
import { locate, sliceBatch } from "../../pipeline/sources/origin.ts";
import type { RecordBatch } from "../../pipeline/sources/source.ts";

Deno.test("the parts of a batch know its file, types, position and their lines; what some of its records had is told once", () => {
  const batch: RecordBatch = [{ n: 0 }, { n: 1 }, { n: 2 }];
  batch.file = "a.ndjson";
  batch.origin = (index) => ({ file: "a.ndjson", line: 10 + index, raw: null, record: null });
  batch.repeatedNames = { records: 1, names: ["n"] } as unknown as NonNullable<
    RecordBatch["repeatedNames"]
  >;
  batch.types = { n: "integer" };
  batch.cells = true;
  batch.position = "7";
  batch.noPositions = { records: 1, example: "9" };
  const parts = [sliceBatch(batch, 0, 1), sliceBatch(batch, 1)];
  assert.deepEqual(parts.map((part) => part.length), [1, 2]);
  assert.deepEqual(parts.map(({ file }) => file), ["a.ndjson", "a.ndjson"]);
  assert.deepEqual(parts.map((part) => part.origin!(0).line), [10, 11]);
  for (const { types, cells, position } of parts) {
    assert.deepEqual({ types, cells, position }, {
      types: { n: "integer" },
      cells: true,
      position: "7",
    });
  }
  assert.deepEqual(parts.map((part) => part.repeatedNames !== undefined), [true, false]);
  assert.deepEqual(parts.map((part) => part.noPositions !== undefined), [true, false]);
});

Deno.test("a rejected record says where it stands and what stands there, as bytes where they are no text of a database", () => {
  const batch: RecordBatch = [{ n: 0 }, { n: 1 }, { n: 2 }];
  const raw = [new TextEncoder().encode('{"n":0}'), Uint8Array.of(0x61, 0xff), null];
  batch.origin = (index) => ({
    ...{ file: "a.ndjson", line: 10 + index, sliceLine: 3, record: index === 2 ? "7" : null },
    raw: raw[index]!,
  });
  const rejected = [100, 101, 102].map((position) => ({
    ...{ position, output: 0, rule: "r", message: "m", field: null, raw: "made of the record" },
  })) as unknown as Rejected[];
  locate(rejected, batch, 100);
  assert.deepEqual(
    rejected.map(({ file, line, slice_line, record }) => [file, line, slice_line, record]),
    [["a.ndjson", 10, 3, undefined], ["a.ndjson", 11, 3, undefined], ["a.ndjson", 12, 3, "7"]],
  );
  assert.deepEqual(rejected.map(({ raw }) => raw), ['{"n":0}', "a\ufffd", "made of the record"]);
  assert.deepEqual(
    rejected.map(({ raw_bytes }) => raw_bytes),
    [undefined, Uint8Array.of(0x61, 0xff), undefined],
  );
});
