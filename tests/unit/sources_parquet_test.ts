import assert from "node:assert/strict";
import { parquetWriteBuffer } from "hyparquet-writer";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { DIGITS, digitsOf } from "../../pipeline/numbers.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { planSource, previewSource, readSource } from "../../pipeline/sources/adapters.ts";
import type { Unreadable } from "../../pipeline/sources/source.ts";
import { parquetOfPages } from "../helpers/parquet_pages.ts";
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

  const json = await read({
    columnData: [{ name: "json", data: ["{", '{"a":1}', "\xff", ""].map(bytesOf) }],
    schema: schemaOf([["root", 1], ["json", "BYTE_ARRAY", { logical_type: { type: "JSON" } }]]),
  });
  assert.deepEqual(json.records, [{ json: { a: 1 } }]);
  assert.deepEqual(json.unreadable.map(({ rule, field }) => [rule, field]), [
    ["json_syntax", "json"],
    ["json_syntax", "json"],
    ["json_syntax", "json"],
  ]);
});

/** A column's element, the type that it declares, and what is read for each of the values that are stored. */
type Declared = [
  element: Record<string, unknown>,
  type: string | undefined,
  stored: unknown[],
  read: unknown[],
];

const bytesOf = (text: string) => new TextEncoder().encode(text);
const integer = (bitWidth: number, isSigned: boolean) => ({
  logical_type: { type: "INTEGER", bitWidth, isSigned },
});
const time = (type: string, unit: string, isAdjustedToUTC = true) => ({
  logical_type: { type, unit, isAdjustedToUTC },
});
const decimal = (precision: number, scale: number) => ({
  logical_type: { type: "DECIMAL", precision, scale },
});
/** The older word for a type, and the newer one. */
const old = (type: string, converted_type: string) => ({ type, converted_type });
const logical = (type: string, name: string) => ({ type, logical_type: { type: name } });

const DECLARED: Declared[] = [
  [{ type: "BOOLEAN" }, "boolean", [true, false], [true, false]],
  [{ type: "INT32" }, "integer", [-5, 7], [-5, 7]],
  [
    { type: "INT64" },
    "integer",
    [2n ** 53n - 1n, 2n ** 53n, 1n - 2n ** 53n, -(2n ** 53n), -(2n ** 63n)],
    [2 ** 53 - 1, 2n ** 53n, 1 - 2 ** 53, -(2n ** 53n), -(2n ** 63n)],
  ],
  [old("INT64", "UINT_64"), "numeric", [2n ** 64n - 1n, 1n], [2n ** 64n - 1n, 1]],
  [{ type: "INT64", ...integer(64, false) }, "numeric", [2n ** 64n - 1n], [2n ** 64n - 1n]],
  [{ type: "INT64", ...integer(64, true) }, "integer", [-1n], [-1]],
  [{ type: "INT32", ...integer(32, false) }, "integer", [2 ** 32 - 1], [2 ** 32 - 1]],
  [old("INT32", "UINT_32"), "integer", [2 ** 32 - 1], [2 ** 32 - 1]],
  [
    { type: "FLOAT" },
    "numeric",
    [
      0.1,
      0.01,
      16777216,
      1.1754943508222875e-38,
      8589933056,
      1.00000012,
      123.456,
      -Infinity,
      0.109658554,
      NaN,
    ],
    [
      0.1,
      0.01,
      16777216,
      1.1754944e-38,
      8589933056,
      1.0000001,
      123.456,
      "-Infinity",
      0.109658554,
      "NaN",
    ],
  ],
  [{ type: "DOUBLE" }, "numeric", [0.1, NaN, -Infinity, 1e300], [0.1, "NaN", "-Infinity", 1e300]],
  [
    { type: "FIXED_LEN_BYTE_ARRAY", type_length: 2, logical_type: { type: "FLOAT16" } },
    "numeric",
    [1.5, -Infinity],
    [1.5, "-Infinity"],
  ],
  [old("BYTE_ARRAY", "UTF8"), "text", [bytesOf("\ufeffé")], ["\ufeffé"]],
  [logical("BYTE_ARRAY", "STRING"), "text", [bytesOf("é")], ["é"]],
  [old("BYTE_ARRAY", "ENUM"), "text", [bytesOf("red")], ["red"]],
  [logical("BYTE_ARRAY", "ENUM"), "text", [bytesOf("red")], ["red"]],
  [
    { type: "FIXED_LEN_BYTE_ARRAY", type_length: 16, logical_type: { type: "UUID" } },
    "text",
    ["00112233-4455-6677-8899-aabbccddeeff"],
    ["00112233-4455-6677-8899-aabbccddeeff"],
  ],
  [old("BYTE_ARRAY", "JSON"), "jsonb", [{ a: [1, "x"] }], [{ a: [1, "x"] }]],
  [logical("BYTE_ARRAY", "JSON"), "jsonb", [bytesOf('{"a":[1]}')], [{ a: [1] }]],
  [{ type: "BYTE_ARRAY" }, "base64", [new Uint8Array([0, 255])], ["AP8="]],
  [
    { type: "FIXED_LEN_BYTE_ARRAY", type_length: 2 },
    "base64",
    [new Uint8Array([0, 255]), new Uint8Array([1, 2])],
    ["AP8=", "AQI="],
  ],
  [old("BYTE_ARRAY", "BSON"), undefined, [new Uint8Array([5])], ["BQ=="]],
  [
    { ...old("FIXED_LEN_BYTE_ARRAY", "INTERVAL"), type_length: 12 },
    undefined,
    [new Uint8Array(12)],
    ["AAAAAAAAAAAAAAAA"],
  ],
  [logical("INT32", "NULL"), undefined, [null], [null]],
  [
    { ...old("INT32", "DECIMAL"), precision: 9, scale: 2 },
    "numeric(9,2)",
    [1250n, -1n, 5n],
    [12.5, -0.01, 0.05],
  ],
  [{ ...old("INT64", "DECIMAL"), precision: 18 }, "numeric(18,0)", [7n], [7]],
  [{ type: "INT32", ...decimal(9, 2) }, "numeric(9,2)", [1250, -1], [12.5, -0.01]],
  [{ type: "INT64", ...decimal(18, 0) }, "numeric(18,0)", [-7n], [-7]],
  [{ type: "INT64", ...decimal(5, -2) }, "numeric", [5n, -12n, 0n], [500, -1200, 0]],
  [
    { type: "FIXED_LEN_BYTE_ARRAY", type_length: 2, ...decimal(4, 1) },
    "numeric(4,1)",
    [new Uint8Array([0xff, 0xfb]), new Uint8Array([0, 15])],
    [-0.5, 1.5],
  ],
  [{ type: "BYTE_ARRAY", ...decimal(4, 1) }, "numeric(4,1)", [new Uint8Array(0)], [0]],
  [old("INT32", "DATE"), "date", [19782, -1], ["2024-02-29", "1969-12-31"]],
  [
    logical("INT32", "DATE"),
    "date",
    [0, 2 ** 30, 2_932_897],
    ["1970-01-01", `${2 ** 30} days since 1970-01-01`, "+010000-01-01"],
  ],
  [old("INT32", "TIME_MILLIS"), "text", [3_723_004, 0], ["01:02:03.004", "00:00:00"]],
  [old("INT64", "TIME_MICROS"), "text", [86_399_999_999n], ["23:59:59.999999"]],
  [{ type: "INT32", ...time("TIME", "MILLIS") }, "text", [59_500], ["00:00:59.5"]],
  [{ type: "INT64", ...time("TIME", "NANOS") }, "text", [60_000_000_001n], [
    "00:01:00.000000001",
  ]],
  [
    old("INT64", "TIMESTAMP_MILLIS"),
    "timestamptz",
    [1_700_000_000_123n, -1n, 2n ** 62n],
    [
      "2023-11-14T22:13:20.123Z",
      "1969-12-31T23:59:59.999Z",
      `${2n ** 62n} millis since 1970-01-01`,
    ],
  ],
  [
    old("INT64", "TIMESTAMP_MICROS"),
    "timestamptz",
    [1_700_000_000_123_456n, 1_000_000n],
    ["2023-11-14T22:13:20.123456Z", "1970-01-01T00:00:01.000Z"],
  ],
  [{ type: "INT64", ...time("TIMESTAMP", "MILLIS", false) }, "timestamptz", [5n], [
    "1970-01-01T00:00:00.005",
  ]],
  [{ type: "INT64", ...time("TIMESTAMP", "MICROS") }, "timestamptz", [5n], [
    "1970-01-01T00:00:00.000005Z",
  ]],
  [{ type: "INT64", ...time("TIMESTAMP", "NANOS", false) }, undefined, [5n], [
    "1970-01-01T00:00:00.000000005",
  ]],
];

Deno.test("Parquet: a column has the type that its schema says in older words or in newer ones, and values of that type", async () => {
  await using folder = await SourceFolder.create();
  for (const [element, type, stored, expected] of DECLARED) {
    const about = JSON.stringify(element);
    await folder.write(
      "a.parquet",
      new Uint8Array(parquetWriteBuffer({
        schema: schemaOf([["root", 1], [
          "c",
          element.type as string,
          { repetition_type: "OPTIONAL", ...element },
        ]]),
        // so that a library that converts them does not meet its own statistics
        statistics: false,
        columnData: [{ name: "c", data: [...stored, null] as never }],
      })),
    );
    const conf = { type: "file", path: "a.parquet" };
    const { records, unreadable } = await readAll(conf, folder.ctx);
    assert.deepEqual(unreadable, [], about);
    assert.deepEqual(records.map(({ c }) => c), [...expected, null], about);
    const { types } = (await previewSource(sourceConf(conf), folder.ctx, 1)).records;
    assert.equal(types?.c, type, about);
  }
});

const OPTIONAL = { repetition_type: "OPTIONAL" } as const;
const REQUIRED = { repetition_type: "REQUIRED" } as const;
const REPEATED = { repetition_type: "REPEATED" } as const;

Deno.test("Parquet: the text of a map's key is a name; without one for each the map is a list of its entries", async () => {
  const maps = [{ converted_type: "MAP" }, { converted_type: "MAP_KEY_VALUE" }, {
    logical_type: { type: "MAP" },
  }];
  const keys: [element: Record<string, unknown>, keys: unknown[], canonical: string][] = [
    [{ type: "INT64" }, [2n ** 60n, 1n], `{"1":1,"${2n ** 60n}":0}`],
    [{ type: "BOOLEAN" }, [true, false], '{"false":1,"true":0}'],
    [
      { type: "INT64", ...decimal(18, 3) },
      [9_007_199_254_740_993n, 1_500n],
      '{"1.5":1,"9007199254740.993":0}',
    ],
    [
      { type: "INT64", ...decimal(18, 3) },
      [9_007_199_254_740_993n, 9_007_199_254_740_993n],
      '[{"key":9007199254740.993,"value":0},{"key":9007199254740.993,"value":1}]',
    ],
    [
      { ...old("BYTE_ARRAY", "UTF8") },
      [bytesOf("a"), null],
      '[{"key":"a","value":0},{"key":null,"value":1}]',
    ],
  ];
  await using folder = await SourceFolder.create();
  for (const map of maps) {
    for (const [element, of, expected] of keys) {
      await folder.write(
        "a.parquet",
        parquetOfPages({
          schema: schemaOf([
            ["root", 1],
            ["m", 1, { ...OPTIONAL, ...map }],
            ["key_value", 2, REPEATED],
            ["key", element.type as string, { ...OPTIONAL, ...element }],
            ["value", "INT32", OPTIONAL],
          ]),
          rows: 3,
          columns: [
            {
              path: ["m", "key_value", "key"],
              type: element.type as "INT64",
              pages: [{
                repetition: [0, 1, 0, 0],
                definition: [...of.map((key) => key === null ? 2 : 3), 1, 0],
                values: of.filter((key) => key !== null),
              }],
            },
            {
              path: ["m", "key_value", "value"],
              type: "INT32",
              pages: [{ repetition: [0, 1, 0, 0], definition: [3, 3, 1, 0], values: [0, 1] }],
            },
          ],
        }),
      );
      const { records } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
      const texts = records.map(({ m }) => m === null ? "null" : new Canonicalizer().text(m!));
      assert.deepEqual(texts, [expected, "{}", "null"], JSON.stringify({ map, element }));
    }
  }
});

Deno.test("Parquet: VARIANT is the JSON of its values, with every digit of integers", async () => {
  const { records } = await read({
    columnData: [{
      name: "v",
      type: "VARIANT",
      data: [
        { a: [1, "x", null, true], big: 2n ** 60n, small: 5n },
        new Date("2024-02-29T12:00:00Z"),
        new Uint8Array([0, 255]),
        "text",
        null,
      ],
    }],
  });
  assert.deepEqual(records.map(({ v }) => v), [
    { a: [1, "x", null, true], big: 2n ** 60n, small: 5 },
    "2024-02-29T12:00:00.000Z",
    "AP8=",
    "text",
    null,
  ]);
});

Deno.test("Parquet: repeated columns and lists of two levels, as older writers have them, are arrays", async () => {
  await using folder = await SourceFolder.create();
  // a.b is a group that comes again and again; c and d are lists without a level for their elements
  await folder.write(
    "a.parquet",
    parquetOfPages({
      schema: schemaOf([
        ["root", 4],
        ["tags", "INT64", REPEATED],
        ["a", 1, REPEATED],
        ["b", "INT32", OPTIONAL],
        ["c", 1, { ...OPTIONAL, converted_type: "LIST" }],
        ["element", "INT32", { ...REPEATED, converted_type: "DATE" }],
        ["d", 1, { ...OPTIONAL, converted_type: "LIST" }],
        ["array", 2, REPEATED],
        ["x", "INT32", REQUIRED],
        ["y", "INT32", { ...REQUIRED, converted_type: "DATE" }],
      ]),
      rows: 3,
      columns: [
        {
          path: ["tags"],
          type: "INT64",
          pages: [{
            repetition: [0, 1, 0, 0],
            definition: [1, 1, 0, 1],
            values: [1n, 2n ** 60n, 3n],
          }],
        },
        {
          path: ["a", "b"],
          type: "INT32",
          pages: [{ repetition: [0, 1, 0, 0], definition: [2, 1, 0, 2], values: [7, 8] }],
        },
        {
          path: ["c", "element"],
          type: "INT32",
          pages: [{ repetition: [0, 1, 0, 0], definition: [2, 2, 1, 0], values: [0, 1] }],
        },
        ...["x", "y"].map((name, i) => ({
          path: ["d", "array", name],
          type: "INT32" as const,
          pages: [{ repetition: [0, 1, 0, 0], definition: [2, 2, 1, 0], values: [i, i + 10] }],
        })),
      ],
    }),
  );
  const conf = { type: "file", path: "a.parquet" };
  const { records, unreadable } = await readAll(conf, folder.ctx);
  assert.deepEqual(unreadable, []);
  assert.deepEqual(records, [
    {
      tags: [1, 2n ** 60n],
      a: [{ b: 7 }, { b: null }],
      c: ["1970-01-01", "1970-01-02"],
      d: [{ x: 0, y: "1970-01-02" }, { x: 10, y: "1970-01-12" }],
    },
    { tags: [], a: [], c: [], d: [] },
    { tags: [3], a: [{ b: 8 }], c: null, d: null },
  ]);
  const { types } = (await previewSource(sourceConf(conf), folder.ctx, 1)).records;
  assert.deepEqual(types, { tags: "jsonb", a: "jsonb", c: "jsonb", d: "jsonb" });
});

Deno.test("Parquet: rows are found in any page, of either version, where a list goes on in the next one, too", async () => {
  const numbers = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => from + i);
  const flat = (rows?: number) =>
    [3, 1, 4, 2].map((count, page) => ({
      definition: Array(count).fill(1),
      values: numbers(page * 10, count),
      ...(rows === undefined ? {} : { rows: count }),
    }));
  /** Rows 1 to 3 begin in the first page, of which the third goes on over the second; the others have one each. */
  const lists = [
    { repetition: [0, 1, 0, 0], definition: [3, 3, 1, 3], values: [1, 2, 3] },
    { repetition: [1, 1], definition: [3, 2], values: [4] },
    { repetition: [1, 0], definition: [3, 0], values: [6] },
    { repetition: [0, 0, 1], definition: [3, 3, 3], values: [7, 8, 9] },
    { repetition: [0, 0, 0, 0], definition: [1, 0, 1, 3], values: [10] },
  ];
  const schema = schemaOf([
    ["root", 3],
    ["one", "INT32", OPTIONAL],
    ["two", "INT32", OPTIONAL],
    ["list", 1, { ...OPTIONAL, converted_type: "LIST" }],
    ["list", 1, REPEATED],
    ["element", "INT32", OPTIONAL],
  ]);
  const file = (pages: typeof lists, { rows = 10, v2 }: { rows?: number; v2?: number } = {}) =>
    parquetOfPages({
      schema,
      rows,
      columns: [
        { path: ["one"], type: "INT32", pages: flat() },
        {
          path: ["two"],
          type: "INT32",
          pages: flat(1).map((page) => v2 === undefined ? page : { ...page, rows: v2 }),
        },
        { path: ["list", "list", "element"], type: "INT32", pages },
      ],
    });
  const single = flat().flatMap(({ values }) => values);
  const expected = [[1, 2], [], [3, 4, null, 6], null, [7], [8, 9], [], null, [], [10]]
    .map((list, i) => ({ one: single[i], two: single[i], list }));
  for (const chunkSize of [1, 2, 3, 4, 7, 10]) {
    await using folder = await SourceFolder.create({ chunkSize });
    await folder.write("a.parquet", file(lists));
    const { records } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
    assert.deepEqual(records, expected, `${chunkSize} a chunk`);
  }
  await using folder = await SourceFolder.create();
  for (
    const [wrong, what] of [
      [file(lists, { rows: 11 }), "rows that no page has"],
      [file(lists.slice(1)), "a page that goes on with what has not begun"],
      [file(lists, { v2: 2 }), "a page with other rows than values"],
    ] as const
  ) {
    await folder.write("wrong.parquet", wrong);
    await assert.rejects(
      readAll({ type: "file", path: "wrong.parquet" }, folder.ctx),
      (error: unknown) => error instanceof Problem && error.type === "source-unreadable",
      what,
    );
  }
});

Deno.test("Parquet: pages of lists and of a dictionary are gone over to the rows of a part", async () => {
  const options: WriteOptions = {
    schema: schemaOf([
      ["root", 4],
      ["id", "INT32", REQUIRED],
      ["of", 1, REQUIRED],
      ["id", "INT32", REQUIRED],
      ["kind", "BYTE_ARRAY", { ...OPTIONAL, converted_type: "UTF8" }],
      ["items", 1, { ...OPTIONAL, converted_type: "LIST" }],
      ["list", 1, REPEATED],
      ["element", "INT64", OPTIONAL],
    ]),
    columnData: [
      { name: "id", data: Array.from({ length: 600 }, (_, i) => i) },
      // which has no levels at all
      { name: "of", data: Array.from({ length: 600 }, (_, id) => ({ id })) },
      { name: "kind", data: Array.from({ length: 600 }, (_, i) => i % 5 ? `k${i % 3}` : null) },
      {
        name: "items",
        data: Array.from(
          { length: 600 },
          (_, i) => i % 7 ? Array.from({ length: i % 4 }, (_, k) => k ? BigInt(i) : null) : null,
        ),
      },
    ],
    pageSize: 100,
  };
  const expected = options.columnData[0]!.data.length;
  const whole = (await read(options)).records;
  assert.equal(whole.length, expected);
  assert.deepEqual(whole[5], { id: 5, of: { id: 5 }, kind: null, items: [null] });
  assert.deepEqual(whole[599], { id: 599, of: { id: 599 }, kind: "k2", items: [null, 599, 599] });
  for (const chunkSize of [1, 26, 100, 333]) {
    assert.deepEqual((await read(options, { chunkSize })).records, whole, `${chunkSize} a chunk`);
  }
});

Deno.test("Parquet: a column of a row group may be larger than what is held of it at once", async () => {
  const of = (i: number) => String.fromCharCode(97 + i).repeat(3 << 20);
  const texts = Array.from({ length: 13 }, (_, i) => of(i));
  const { records } = await read({
    columnData: [{ name: "t", data: texts, type: "STRING", encoding: "PLAIN" }],
    codec: "UNCOMPRESSED",
    pageSize: 3 << 20,
    rowGroupSize: 13,
  });
  assert.ok(records.every(({ t }, i) => t === texts[i]));
  assert.equal(records.length, 13);
});

Deno.test("Parquet: a page's header may tell of whole texts, as pyarrow writes them", async () => {
  await using folder = await SourceFolder.create({ chunkSize: 2 });
  for (const length of [3_900, 4_100, 70_000, 1_100_000]) {
    const page = (...values: string[]) => ({
      definition: values.map(() => 1),
      values: values.map(bytesOf),
      largest: new Uint8Array(length),
    });
    await folder.write(
      "a.parquet",
      parquetOfPages({
        schema: schemaOf([["root", 1], ["t", "BYTE_ARRAY", {
          ...OPTIONAL,
          converted_type: "UTF8",
        }]]),
        rows: 3,
        columns: [{ path: ["t"], type: "BYTE_ARRAY", pages: [page("a", "b"), page("c")] }],
      }),
    );
    const { records } = await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
    assert.deepEqual(records.map(({ t }) => t), ["a", "b", "c"], `${length}`);
  }
});

Deno.test("Parquet: decimals in lists, structs and maps, and the numbers of JSON, have every digit that was written", async () => {
  const price = { type: "INT64", ...decimal(18, 3) };
  const exact = 9_007_199_254_740_993n;
  const { records } = await read({
    schema: schemaOf([
      ["root", 3],
      ["list", 1, { ...OPTIONAL, converted_type: "LIST" }],
      ["list", 1, REPEATED],
      ["element", "INT64", { ...OPTIONAL, ...price }],
      ["struct", 1, OPTIONAL],
      ["inner", 2, OPTIONAL],
      ["price", "INT64", { ...OPTIONAL, ...price }],
      ["other", "INT32", OPTIONAL],
      ["map", 1, { ...OPTIONAL, converted_type: "MAP" }],
      ["key_value", 2, REPEATED],
      ["key", "BYTE_ARRAY", { ...REQUIRED, converted_type: "UTF8" }],
      ["value", "INT64", { ...OPTIONAL, ...price }],
    ]),
    statistics: false,
    columnData: [
      { name: "list", data: [[1_500n, exact]] },
      { name: "struct", data: [{ inner: { price: exact, other: 1 } }] },
      { name: "map", data: [[{ key: "a", value: exact }]] },
    ],
  });
  assert.equal(
    new Canonicalizer().text(records[0]!),
    '{"list":[1.5,9007199254740.993],"map":{"a":9007199254740.993},' +
      '"struct":{"inner":{"other":1,"price":9007199254740.993}}}',
  );
  const json = await read({
    schema: schemaOf([["root", 1], ["json", "BYTE_ARRAY", { logical_type: { type: "JSON" } }]]),
    columnData: [{ name: "json", data: [bytesOf('{"a":[9007199254740.993]}')] }],
  });
  assert.equal(
    new Canonicalizer().text(json.records[0]!),
    `{"json":{"a":[9007199254740.993]}}`,
  );
});

Deno.test("Parquet: of rows that share large texts of a dictionary few are passed on together", async () => {
  const limits = { maxSpoolBytes: 1 << 30, maxRecordBytes: 1 << 20, allowPrivateHosts: [] };
  await using folder = await SourceFolder.create({ limits });
  // a line break in each: none of the rows is flat
  const texts = ["a", "b", "c"].map((letter) => `${letter}\n${letter.repeat(400_000)}`);
  const bytes = parquetWriteBuffer({
    columnData: [
      { name: "id", type: "INT32", data: Array.from({ length: 200 }, (_, i) => i) },
      { name: "doc", type: "STRING", data: Array.from({ length: 200 }, (_, i) => texts[i % 3]!) },
    ],
  });
  assert.ok(bytes.byteLength < 200_000, "the texts stand in it once");
  await folder.write("a.parquet", new Uint8Array(bytes));
  const source = sourceConf({ type: "file", path: "a.parquet" });
  const { slices } = await planSource(source, folder.ctx);
  for (const flat of [true, false]) {
    let records = 0;
    for (const slice of slices) {
      for await (const batch of readSource(source, slice, { ...folder.ctx, flat })) {
        assert.equal(batch.unparsed, undefined);
        assert.ok(batch.length <= 25, `${batch.length} records of 400 kB at once`);
        records += batch.length;
      }
    }
    assert.equal(records, 200);
  }
});
