import assert from "node:assert/strict";
import { parquetWriteBuffer } from "hyparquet-writer";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { DIGITS, digitsOf } from "../../pipeline/numbers.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { previewSource } from "../../pipeline/sources/adapters.ts";
import type { Unreadable } from "../../pipeline/sources/source.ts";
import { type ReadAll, readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

type WriteOptions = Parameters<typeof parquetWriteBuffer>[0];

async function read(options: WriteOptions, ctx: { chunkSize?: number } = {}): Promise<ReadAll> {
  await using folder = await SourceFolder.create(ctx);
  await folder.write("a.parquet", new Uint8Array(parquetWriteBuffer(options)));
  return await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
}

Deno.test("Parquet: integers, floats, texts, bytes and nulls come without loss", async () => {
  const { records } = await read({
    columnData: [
      { name: "int", data: [1n, 2n ** 60n, null], type: "INT64" },
      { name: "small", data: [1, -2, null], type: "INT32" },
      { name: "float", data: [0.1, 1.5, NaN], type: "FLOAT" },
      { name: "double", data: [0.1, -Infinity, 1e300], type: "DOUBLE" },
      { name: "text", data: ["é", "", null], type: "STRING" },
      {
        name: "bytes",
        data: [new Uint8Array([0, 255]), new Uint8Array(0), null],
        type: "BYTE_ARRAY",
      },
      { name: "flag", data: [true, false, null], type: "BOOLEAN" },
      { name: "json", data: [{ a: [1] }, [1], null], type: "JSON" },
    ],
  });
  assert.deepEqual(records, [
    {
      int: 1,
      small: 1,
      float: 0.1,
      double: 0.1,
      text: "é",
      bytes: "AP8=",
      flag: true,
      json: { a: [1] },
    },
    {
      int: 2n ** 60n,
      small: -2,
      float: 1.5,
      double: "-Infinity",
      text: "",
      bytes: "",
      flag: false,
      json: [1],
    },
    {
      int: null,
      small: null,
      float: "NaN",
      double: 1e300,
      text: null,
      bytes: null,
      flag: null,
      json: null,
    },
  ]);
});

Deno.test("Parquet: decimals and times keep every digit", async () => {
  const { records } = await read({
    columnData: [
      { name: "price", data: [12.5, -0.01] },
      { name: "micros", data: [1_700_000_000_123_456n, -1n] },
      { name: "local", data: [1_700_000_000_123n, 0n] },
      { name: "nanos", data: [1_700_000_000_123_456_789n, 1_000_000_000n] },
      { name: "day", data: [new Date("2024-02-29"), new Date("1969-12-31")] },
      { name: "clock", data: [3_723_000_004n, 0n] },
      { name: "exact", data: [9_007_199_254_740_993n, 12n] },
    ],
    schema: [
      { name: "root", num_children: 7 },
      { name: "price", type: "INT32", converted_type: "DECIMAL", scale: 2, precision: 9 },
      {
        name: "micros",
        type: "INT64",
        logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MICROS" },
      },
      {
        name: "local",
        type: "INT64",
        logical_type: { type: "TIMESTAMP", isAdjustedToUTC: false, unit: "MILLIS" },
      },
      {
        name: "nanos",
        type: "INT64",
        logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "NANOS" },
      },
      { name: "day", type: "INT32", converted_type: "DATE" },
      {
        name: "clock",
        type: "INT64",
        logical_type: { type: "TIME", isAdjustedToUTC: true, unit: "MICROS" },
      },
      { name: "exact", type: "INT64", logical_type: { type: "DECIMAL", scale: 3, precision: 18 } },
    ],
  });
  assert.equal(digitsOf(records[0]!)!.exact, "9007199254740.993");
  assert.deepEqual(records.map((record) => ({ ...record, [DIGITS]: undefined })), [{
    [DIGITS]: undefined,
    price: 12.5,
    micros: "2023-11-14T22:13:20.123456Z",
    local: "2023-11-14T22:13:20.123",
    nanos: "2023-11-14T22:13:20.123456789Z",
    day: "2024-02-29",
    clock: "01:02:03.000004",
    exact: Number("9007199254740.993"),
  }, {
    [DIGITS]: undefined,
    price: -0.01,
    micros: "1969-12-31T23:59:59.999999Z",
    local: "1970-01-01T00:00:00.000",
    nanos: "1970-01-01T00:00:01.000Z",
    day: "1969-12-31",
    clock: "00:00:00",
    exact: 0.012,
  }]);
});

Deno.test("Parquet: any slicing across row groups gives the same rows", async () => {
  const options: WriteOptions = {
    columnData: [
      { name: "id", data: Int32Array.from({ length: 95 }, (_, i) => i) },
      {
        name: "text",
        data: Array.from({ length: 95 }, (_, i) => i % 7 === 0 ? null : `t${i % 10}`),
      },
    ],
    rowGroupSize: [10, 40],
  };
  const expected = (await read(options)).records;
  assert.deepEqual(expected.map(({ id }) => id), Array.from({ length: 95 }, (_, i) => i));
  for (const chunkSize of [1, 7, 10, 40, 94, 95, 200]) {
    const { slices, records, plan } = await read(options, { chunkSize });
    assert.deepEqual(records, expected);
    assert.equal(plan.records, 95);
    for (const slice of slices.slice(0, -1)) assert.equal(slice.length, chunkSize);
  }
});

Deno.test("Parquet: lists, structs and maps become arrays and objects", async () => {
  const optional = { repetition_type: "OPTIONAL" } as const;
  const utc = { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MICROS" } as const;
  const options: WriteOptions = {
    schema: [
      { name: "root", num_children: 3 },
      { name: "tags", ...optional, num_children: 1, converted_type: "LIST" },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", ...optional, type: "INT64" },
      { name: "person", ...optional, num_children: 2 },
      { name: "name", ...optional, type: "BYTE_ARRAY", converted_type: "UTF8" },
      { name: "born", ...optional, type: "INT64", logical_type: utc },
      { name: "attributes", ...optional, num_children: 1, converted_type: "MAP" },
      { name: "key_value", repetition_type: "REPEATED", num_children: 2 },
      { name: "key", repetition_type: "REQUIRED", type: "BYTE_ARRAY", converted_type: "UTF8" },
      { name: "value", ...optional, type: "INT64" },
    ],
    columnData: [
      { name: "tags", data: [[1n, null, 2n ** 60n], [], null] },
      {
        name: "person",
        data: [{ name: "n", born: 1_700_000_000_123_456n }, null, { name: "m", born: null }],
      },
      { name: "attributes", data: [{ a: 1n, b: 2n ** 60n }, {}, null] },
    ],
  };
  const expected = [
    {
      tags: [1, null, 2n ** 60n],
      person: { name: "n", born: "2023-11-14T22:13:20.123456Z" },
      attributes: { a: 1, b: 2n ** 60n },
    },
    { tags: [], person: null, attributes: {} },
    { tags: null, person: { name: "m", born: null }, attributes: null },
  ];
  for (const chunkSize of [1, 2, 3]) {
    assert.deepEqual((await read(options, { chunkSize })).records, expected);
  }
});

Deno.test("Parquet: text that is not UTF-8 costs its own row only", async () => {
  await using folder = await SourceFolder.create();
  const bytes = new Uint8Array(parquetWriteBuffer({
    columnData: [{ name: "t", data: ["aaaa", "bXXb", "cccc"], type: "STRING", encoding: "PLAIN" }],
    codec: "UNCOMPRESSED",
    statistics: false,
  }));
  const at = bytes.findIndex((byte, i) => byte === 0x58 && bytes[i + 1] === 0x58);
  bytes.set([0xff, 0xfe], at);
  await folder.write("a.parquet", bytes);
  const { records, unreadable } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
  assert.deepEqual(records, [{ t: "aaaa" }, { t: "cccc" }]);
  assert.equal(unreadable[0]!.rule, "encoding");
  assert.match(unreadable[0]!.message, /^row 2 of a\.parquet/);
});

Deno.test("Parquet: a damaged or truncated file fails the run, and hangs nothing", async () => {
  await using folder = await SourceFolder.create();
  const bytes = new Uint8Array(parquetWriteBuffer({
    columnData: [{ name: "id", data: Array.from({ length: 2_000 }, (_, i) => `text ${i}`) }],
  }));
  const failing = async (content: Uint8Array) => {
    await folder.write("a.parquet", content);
    const error = await readAll({ type: "file", path: "a.parquet" }, folder.ctx)
      .then(() => assert.fail("was read"), (error) => error);
    assert.ok(error instanceof Problem, String(error?.stack ?? error));
    assert.equal(error.type, "source-unreadable");
  };
  await failing(bytes.subarray(0, bytes.length / 2));
  await failing(Uint8Array.from(bytes).fill(0x55, 4, 200));
  await failing(new TextEncoder().encode("PAR1PAR1"));
  // a footer of no, one or more bytes than there are; one that ends within its first field
  for (const length of [0, 1, 5, 2 ** 31 - 1, 2 ** 32 - 1]) {
    const end = new Uint8Array(4);
    new DataView(end.buffer).setUint32(0, length, true);
    const text = new TextEncoder();
    for (const body of ["", "x", "\0\0\0\0\0", "\x15\x15\x15\x15\x15", "\xff\xff\xff\xff\x0f"]) {
      const inner = Uint8Array.from(body, (char) => char.charCodeAt(0));
      const parts = [text.encode("PAR1"), inner, end, text.encode("PAR1")];
      await failing(Uint8Array.from(parts.flatMap((part) => [...part])));
    }
  }
});

Deno.test("previewSource() of a Parquet file reads its first rows", async () => {
  await using folder = await SourceFolder.create();
  const data = Int32Array.from({ length: 5_000 }, (_, i) => i);
  await folder.write(
    "a.parquet",
    new Uint8Array(parquetWriteBuffer({ columnData: [{ name: "id", data }] })),
  );
  const { records } = await previewSource(
    sourceConf({ type: "file", path: "a.parquet" }),
    folder.ctx,
    2,
  );
  assert.deepEqual([...records], [{ id: 0 }, { id: 1 }]);
  assert.deepEqual(records.types, { id: "integer" });
});

/** `[name, number of children or type, further members]` of each element, in order. */
function schemaOf(
  elements: [string, number | string, Record<string, unknown>?][],
): NonNullable<WriteOptions["schema"]> {
  return elements.map(([name, kind, more]) => ({
    name,
    ...(typeof kind === "number" ? { num_children: kind } : { type: kind }),
    ...more,
  })) as NonNullable<WriteOptions["schema"]>;
}

Deno.test("Parquet: maps keep their entries whatever their keys are", async () => {
  const optional = { repetition_type: "OPTIONAL" };
  const required = { repetition_type: "REQUIRED" };
  const repeated = { repetition_type: "REPEATED" };
  const entries = (key: unknown, value: unknown) => ({ key, value });
  const { records } = await read({
    schema: schemaOf([
      ["root", 3],
      ["days", 1, { ...optional, converted_type: "MAP" }],
      ["key_value", 2, repeated],
      ["key", "INT32", { ...required, converted_type: "DATE" }],
      ["value", "INT64", optional],
      ["points", 1, { ...optional, converted_type: "MAP" }],
      ["key_value", 2, repeated],
      ["key", 2, required],
      ["x", "INT64", optional],
      ["y", "INT64", optional],
      ["value", "BYTE_ARRAY", { ...optional, converted_type: "UTF8" }],
      ["texts", 1, { ...optional, converted_type: "MAP" }],
      ["key_value", 2, repeated],
      ["key", "BYTE_ARRAY", { ...required, converted_type: "UTF8" }],
      ["value", "INT64", optional],
    ]),
    columnData: [
      {
        name: "days",
        data: [
          [entries(new Date("2024-01-01"), 1n), entries(new Date("2024-01-02"), null)],
          [],
          null,
        ],
      },
      {
        name: "points",
        data: [
          [entries({ x: 1n, y: 2n }, "a"), entries({ x: 3n, y: null }, "b")],
          [],
          null,
        ],
      },
      {
        name: "texts",
        data: [
          [entries("__proto__", 1n), entries("10", 2n)],
          [entries("k", 1n), entries("k", 2n)],
          null,
        ],
      },
    ],
  });
  const canonical = new Canonicalizer();
  assert.deepEqual(records.map((record) => canonical.text(record)), [
    '{"days":{"2024-01-01":1,"2024-01-02":null},' +
    '"points":[{"key":{"x":1,"y":2},"value":"a"},{"key":{"x":3,"y":null},"value":"b"}],' +
    '"texts":{"10":2,"__proto__":1}}',
    '{"days":{},"points":[],"texts":[{"key":"k","value":1},{"key":"k","value":2}]}',
    '{"days":null,"points":null,"texts":null}',
  ]);
});

Deno.test("Parquet: infinity as PostgreSQL and DuckDB write it, and what no calendar has", async () => {
  const stamp = (unit: string, utc = true) => ({
    logical_type: { type: "TIMESTAMP", isAdjustedToUTC: utc, unit },
  });
  const { records } = await read({
    schema: schemaOf([
      ["root", 3],
      ["at", "INT64", stamp("MICROS")],
      ["local", "INT64", stamp("NANOS", false)],
      ["day", "INT32", { converted_type: "DATE" }],
    ]),
    columnData: [
      { name: "at", data: [2n ** 63n - 1n, 1n - 2n ** 63n, 253_402_300_800_000_000n] },
      // the last and the first time of pandas
      { name: "local", data: [2n ** 63n - 1n, 1n - 2n ** 63n, -1n] },
      { name: "day", data: [2 ** 31 - 1, 1 - 2 ** 31, -719_529] as never },
    ],
  });
  assert.deepEqual(records, [
    { at: "infinity", local: "2262-04-11T23:47:16.854775807", day: "infinity" },
    { at: "-infinity", local: "1677-09-21T00:12:43.145224193", day: "-infinity" },
    {
      at: "+010000-01-01T00:00:00.000Z",
      local: "1969-12-31T23:59:59.999999999",
      day: "-000001-12-31",
    },
  ]);
});

Deno.test("Parquet: the last nanosecond of 64 bits is infinity where DuckDB has written the file", async () => {
  // DuckDB 2.0: infinity and -infinity as timestamp_ns
  const file =
    "UEFSMRUAFSwVLCwVBBUAFQYVBgAAAgAAAAQB/////////38BAAAAAAAAgBUCGSw1ABgNZHVja2RiX3NjaGVtYRUCABUEJQIYAmF0bIwSHDwA" +
    "AAAAABYEGRwZHCYAHBUEGRUAGRgCYXQVABYEFk4WTiYIPBgI/////////38YCAEAAAAAAACAFgAoCP////////9/GAgBAAAAAAAAgBERABkc" +
    "FQAVABUCAAAAFk4WBCYIFk4AKChEdWNrREIgdmVyc2lvbiB2Mi4wLjEgKGJ1aWxkIDhkNzgxMTRlOTApGRwcAAAAuQAAAFBBUjE=";
  await using folder = await SourceFolder.create();
  await folder.write("a.parquet", Uint8Array.fromBase64(file));
  const { records } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
  assert.deepEqual(records, [{ at: "infinity" }, { at: "-infinity" }]);
});

Deno.test("Parquet: INT96, as older writers keep times, has its nanoseconds before 1970, too", async () => {
  // pyarrow 26, use_deprecated_int96_timestamps: 2024-02-29 23:59:59.123456, null, 1969-12-31 23:59:59.999999, 1677-09-22 00:12:44
  const file =
    "UEFSMRUAFVQVVCwVCBUAFQYVBhwAAAACAAAAAw0AABBdlE4AANKKJQAY/E6RlE4AAIs9JQAA2PLhsQAAAI2cIwAVBBks" +
    "NQAYBnNjaGVtYRUCABUGJQIYAmF0ABYIGRwZHCYAHBUGGSUGABkYAmF0FQAWCBZ6FnomCEkcFQAVABUCADwpBhkmAgYAAAAWehYI" +
    "JggWegAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGRwcAAAAfAAAAFBBUjE=";
  await using folder = await SourceFolder.create();
  await folder.write("a.parquet", Uint8Array.fromBase64(file));
  const { records } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
  assert.deepEqual(records.map((record) => (record as { at: unknown }).at), [
    "2024-02-29T23:59:59.123456000Z",
    null,
    "1969-12-31T23:59:59.999999000Z",
    "1677-09-22T00:12:44.000Z",
  ]);
});

Deno.test("Parquet: a column of LZ4 that is null in a whole row group", async () => {
  // written by pyarrow: its dictionary page is empty, one byte when compressed
  const base64 = (await Deno.readTextFile("tests/fixtures/nulls_lz4.parquet.base64")).trim();
  await using folder = await SourceFolder.create();
  await folder.write("a.parquet", Uint8Array.fromBase64(base64));
  const { records, unreadable } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
  assert.deepEqual([records, unreadable], [[{ id: 1, x: null }, { id: 2, x: null }], []]);
});

Deno.test("Parquet: a value that cannot be kept names its column, and shows the others", async () => {
  const { unreadable } = await read({
    columnData: [
      { name: "id", data: [1] },
      { name: "text", data: [new Uint8Array([0xff])] },
    ],
    schema: schemaOf([
      ["root", 2],
      ["id", "INT32"],
      ["text", "BYTE_ARRAY", { converted_type: "UTF8" }],
    ]),
  });
  const [{ rule, field, raw, message }] = unreadable as [Unreadable];
  assert.deepEqual([rule, field, raw], ["encoding", "text", '{"id":1}']);
  assert.match(message, /^row 1 of a\.parquet: column "text": a text that is not valid UTF-8$/);
});
