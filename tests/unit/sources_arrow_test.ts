import assert from "node:assert/strict";
import { crc32, inflateSync, zstdCompressSync } from "node:zlib";
import {
  binary,
  bool,
  columnFromArray,
  CompressionType,
  dateDay,
  decimal,
  dictionary,
  duration,
  type Field,
  fixedSizeBinary,
  fixedSizeList,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  interval,
  largeUtf8,
  list,
  map,
  nullType,
  setCompressionCodec,
  struct,
  type Table,
  tableFromColumns,
  tableToIPC,
  timeMicrosecond,
  timeSecond,
  timestamp,
  uint64,
  utf8,
} from "@uwdata/flechette";
import { DIGITS, digitsOf } from "../../pipeline/numbers.ts";
import { Problem } from "../../vocabulary/problem.ts";
import {
  arrowToNdjson,
  arrowTypes,
  decompressLz4Frame,
} from "../../pipeline/sources/local/arrow.ts";
import { previewSource } from "../../pipeline/sources/adapters.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

const EXTRACT = { useBigInt: true, useDecimalInt: true, useMap: false };

function exampleTable() {
  const micro = 2;
  return tableFromColumns({
    id: columnFromArray([1n, 2n ** 63n - 1n, null], int64(), EXTRACT),
    u: columnFromArray([2n ** 64n - 1n, 0n, null], uint64(), EXTRACT),
    small: columnFromArray([-3, 7, null], int16()),
    f32: columnFromArray([0.1, NaN, null], float32()),
    f64: columnFromArray([0.1, -Infinity, null], float64()),
    text: columnFromArray(['é\n"', "", null], utf8()),
    word: columnFromArray(["a", "b", "a"], dictionary(utf8())),
    flag: columnFromArray([true, false, null], bool()),
    bytes: columnFromArray([Uint8Array.of(0, 255), new Uint8Array(0), null], binary()),
    price: columnFromArray([1234567890123456789n, -1n, null], decimal(38, 4, 128), EXTRACT),
    day: columnFromArray([new Date("2024-02-29"), new Date("1969-12-31"), null], dateDay()),
    at: columnFromArray(
      [new Date("2024-01-01T00:00:00.123Z"), new Date("1969-12-31T23:59:59.999Z"), null],
      timestamp(micro, "UTC"),
    ),
    local: columnFromArray([new Date("2024-01-01T00:00:00Z"), null, null], timestamp(micro)),
    tags: columnFromArray([["a", null], [], null], list(utf8())),
    pair: columnFromArray([[1, 2], [3, 4], null], fixedSizeList(int32(), 2)),
    who: columnFromArray(
      [{ name: "x", age: 2n ** 60n }, { name: null, age: 1n }, null],
      struct({ name: utf8(), age: int64() }),
    ),
    attributes: columnFromArray([[["a", 1], ["b", null]], [], null], map(utf8(), int32())),
    none: columnFromArray([null, null, null], nullType()),
  });
}

const ROWS = [{
  id: 1,
  u: 2n ** 64n - 1n,
  small: -3,
  f32: 0.1,
  f64: 0.1,
  text: 'é\n"',
  word: "a",
  flag: true,
  bytes: "AP8=",
  day: "2024-02-29",
  at: "2024-01-01T00:00:00.123Z",
  local: "2024-01-01T00:00:00.000",
  tags: ["a", null],
  pair: [1, 2],
  who: { name: "x", age: 2n ** 60n },
  attributes: { a: 1, b: null },
  none: null,
}, {
  id: 2n ** 63n - 1n,
  u: 0,
  small: 7,
  f32: "NaN",
  f64: "-Infinity",
  text: "",
  word: "b",
  flag: false,
  bytes: "",
  day: "1969-12-31",
  at: "1969-12-31T23:59:59.999Z",
  local: null,
  tags: [],
  pair: [3, 4],
  who: { name: null, age: 1 },
  attributes: {},
  none: null,
}, {
  id: null,
  u: null,
  small: null,
  f32: null,
  f64: null,
  text: null,
  word: "a",
  flag: null,
  bytes: null,
  day: null,
  at: null,
  local: null,
  tags: null,
  pair: null,
  who: null,
  attributes: null,
  none: null,
}];

Deno.test("Arrow: files and streams are read, each type without loss", async () => {
  const table = exampleTable();
  await using folder = await SourceFolder.create();
  for (const format of ["file", "stream"] as const) {
    await folder.write(`${format}.arrow`, tableToIPC(table, { format })!);
    const { records, unreadable } = await readAll(
      { type: "file", path: `${format}.arrow` },
      folder.ctx,
    );
    assert.deepEqual(unreadable, []);
    // the decimal has more digits than a double; its text is looked at below
    assert.deepEqual(
      records.map(({ price: _price, [DIGITS as never]: _digits, ...rest }) => rest),
      ROWS,
      format,
    );
  }
  const [spooled] = (await Array.fromAsync(Deno.readDir(folder.ctx.spoolDir)))
    .filter(({ name }) => name.endsWith(".ndjson"));
  const text = await Deno.readTextFile(`${folder.ctx.spoolDir}/${spooled!.name}`);
  assert.match(text, /"price":123456789012345\.6789,/);
  assert.match(text, /"price":-0\.0001,/);
});

Deno.test("Arrow: times and spans of each unit are ISO 8601 with no more digits than they have", async () => {
  const [second, milli, micro, nano] = [0, 1, 2, 3] as const;
  const day = 86_400;
  const table = tableFromColumns({
    seconds: columnFromArray(
      [new Date("2024-02-29T12:00:00Z"), new Date(-1000)],
      timestamp(second, "UTC"),
    ),
    nanos: columnFromArray([new Date(1_001), new Date(-1)], timestamp(nano)),
    clock: columnFromArray([day - 1, 0], timeSecond()),
    fine: columnFromArray([3_723_000_500n, 60_000_000n], timeMicrosecond(), EXTRACT),
    span: columnFromArray([90n, 0n], duration(second), EXTRACT),
    part: columnFromArray([-1_500n, 20n], duration(milli), EXTRACT),
    tiny: columnFromArray([1n, -1n], duration(micro), EXTRACT),
    months: columnFromArray([14, 0], interval(0)),
    days: columnFromArray([[3, 1_500], [0, 0]], interval(1)),
    all: columnFromArray([[1, 2, 3_000_000_000], [0, -1, 0]], interval(2)),
    long: columnFromArray([[0, 0, 2 ** 60], [-1, -2, -(2 ** 60)]], interval(2)),
  });
  await using folder = await SourceFolder.create();
  await folder.write("a.arrow", tableToIPC(table, { format: "file" })!);
  const { records } = await readAll({ type: "file", path: "a.arrow" }, folder.ctx);
  assert.deepEqual(records, [{
    seconds: "2024-02-29T12:00:00.000Z",
    nanos: "1970-01-01T00:00:01.001",
    clock: "23:59:59",
    fine: "01:02:03.0005",
    span: "PT90S",
    part: "PT-1.5S",
    tiny: "PT0.000001S",
    months: "P14M",
    days: "P3DT1.5S",
    all: "P1M2DT3S",
    long: "PT1152921504.606846976S",
  }, {
    seconds: "1969-12-31T23:59:59.000Z",
    nanos: "1969-12-31T23:59:59.999",
    clock: "00:00:00",
    fine: "00:01:00",
    span: "PT0S",
    part: "PT0.02S",
    tiny: "PT-0.000001S",
    months: "PT0S",
    days: "PT0S",
    all: "P-1D",
    long: "P-1M-2DT-1152921504.606846976S",
  }]);
});

Deno.test("Arrow: several batches, compressed ones, a zstd file around it, and a preview of a few rows", async () => {
  const rows = Array.from({ length: 10_000 }, (_, i) => i);
  const table = tableFromColumns({
    id: columnFromArray(rows, int32(), { maxBatchRows: 700 }),
    word: columnFromArray(rows.map((i) => `w${i % 50}`), dictionary(utf8()), { maxBatchRows: 700 }),
  });
  setCompressionCodec(CompressionType.LZ4_FRAME, {
    decode: decompressLz4Frame,
    encode: lz4Stored,
  });
  await using folder = await SourceFolder.create();
  const plain = tableToIPC(table, { format: "stream" })!;
  await folder.write("plain.feather", plain);
  await folder.write(
    "lz4.feather",
    tableToIPC(table, { format: "file", codec: CompressionType.LZ4_FRAME })!,
  );
  await folder.write("around.arrow.zst", zstdCompressSync(plain));
  for (const path of ["plain.feather", "lz4.feather", "around.arrow.zst"]) {
    const { records } = await readAll({ type: "file", path }, folder.ctx);
    assert.deepEqual(records.map(({ id }) => id), rows, path);
    assert.ok(records.every(({ id, word }) => word === `w${Number(id) % 50}`));
    const { records: first } = await previewSource(sourceConf({ type: "file", path }), folder.ctx);
    assert.equal(first.length, 20);
  }
});

/** A frame of LZ4 with its data as it is, in blocks of 64 KiB. */
function lz4Stored(bytes: Uint8Array): Uint8Array {
  const out: number[] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
  for (let at = 0; at < bytes.length; at += 65_536) {
    const block = bytes.subarray(at, at + 65_536);
    const word = new DataView(new ArrayBuffer(4));
    word.setUint32(0, (block.length | 0x80000000) >>> 0, true);
    out.push(...new Uint8Array(word.buffer), ...block);
  }
  return Uint8Array.from([...out, 0, 0, 0, 0]).subarray(0, out.length + 4);
}

Deno.test("Arrow: a text keeps its byte order mark, and one that is not UTF-8 can be stored by nobody", async () => {
  await using folder = await SourceFolder.create();
  const texts = ["\ufeffbom \ufffd", "RAW 1", "ok"];
  const bytes = tableToIPC(
    tableFromColumns({
      id: columnFromArray([1, 2, 3], int32()),
      t: columnFromArray(texts, utf8()),
      large: columnFromArray(texts, largeUtf8()),
      tags: columnFromArray(texts.map((text) => [text]), list(utf8())),
      word: columnFromArray(texts, dictionary(utf8())),
    }),
    { format: "file" },
  )!;
  // what stands for RAW in each column is no UTF-8
  const latin1 = new TextDecoder("latin1").decode(bytes);
  for (const { index } of latin1.matchAll(/RAW/g)) bytes.set([0xff, 0xe9, 0xf0], index);
  await folder.write("texts.arrow", bytes);
  const { records } = await readAll(
    { type: "file", path: "texts.arrow", key: "id" },
    folder.ctx,
  );
  const raw = "\udcff\udce9\udcf0 1";
  assert.deepEqual(
    records.map(({ t, large, tags, word }) => [t, large, tags, word]),
    [texts[0]!, raw, "ok"].map((text) => [text, text, [text], text]),
  );
});

Deno.test("Arrow: UUID, JSON and booleans of one byte are what their fields say, in lists and dictionaries too", async () => {
  const uuid = Uint8Array.from({ length: 16 }, (_, i) => 16 * i + i);
  const table = tableFromColumns({
    id: columnFromArray([1, 2, 3, 4], int32()),
    uuid: columnFromArray([uuid, null, null, null], fixedSizeBinary(16)),
    json: columnFromArray(
      ['{"a":\r\n12345678901234567.89}', "[1, null]", "{a:1}", '"RAW"'],
      utf8(),
    ),
    yes: columnFromArray([-5, 0, null, 1], int8()),
    word: columnFromArray(['"x"', "1", "1", "1"], dictionary(utf8())),
    list: columnFromArray([["{}"], [], null, null], list(utf8())),
    // neither is 16 bytes, nor a text
    short: columnFromArray([uuid.slice(0, 3), null, null, null], fixedSizeBinary(3)),
    number: columnFromArray([7, 8, 9, 9], int16()),
  });
  const { fields } = table.schema;
  const extend = (field: Field, name: string) =>
    Object.assign(field, { metadata: new Map([["ARROW:extension:name", `arrow.${name}`]]) });
  for (const [i, name] of ["", "uuid", "json", "bool8", "json", "", "uuid", "json"].entries()) {
    if (name !== "") extend(fields[i]!, name);
  }
  extend((fields[5]!.type as unknown as { children: Field[] }).children[0]!, "json");
  await using folder = await SourceFolder.create();
  const bytes = tableToIPC(table, { format: "file" })!;
  bytes.set([0xff, 0xe9, 0xf0], new TextDecoder("latin1").decode(bytes).indexOf("RAW"));
  await folder.write("a.arrow", bytes);
  const { records, unreadable } = await readAll({ type: "file", path: "a.arrow" }, folder.ctx);
  assert.equal(digitsOf(records[0]!.json as object)!.a, "12345678901234567.89");
  assert.deepEqual(JSON.parse(JSON.stringify(records)), [{
    id: 1,
    uuid: "00112233-4455-6677-8899-aabbccddeeff",
    json: { a: Number("12345678901234567.89") },
    yes: true,
    word: "x",
    list: [{}],
    short: "ABEi",
    number: 7,
  }, {
    id: 2,
    uuid: null,
    json: [1, null],
    yes: false,
    word: 1,
    list: [],
    short: null,
    number: 8,
  }]);
  // what is no JSON, and what no text is
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["json_syntax", "json_syntax"]);
  assert.match(unreadable[0]!.raw, /"json":not JSON: "\{a:1\}"/);
  const options = { label: "a.arrow", maxBatchBytes: 1 << 20 };
  assert.deepEqual(await arrowTypes(ReadableStream.from([bytes]), options), {
    id: "integer",
    uuid: "text",
    json: "jsonb",
    yes: "boolean",
    word: "jsonb",
    list: "jsonb",
    short: "base64",
    number: "integer",
  });
});

/** Written by Polars 2.1 (`write_ipc`), deflated: id 1, 2, 3 and the category c "a", "b", "a". */
const POLARS =
  "eNrlVLtKxEAUPZkEiZpijSmiVT5hXZuFNBsWESGwEgQXFNZXoZ2N/X6AH2BpaWFh6RdZiJWIWAjx3MlE4rCLrpZeuHNn7otzz2SSFcVgdw3wADyXZRlB9g7XBSzC5+rhnH6JK+otqtwH+q5oL6mn1ANqTHWiEKvMiLHC6gAtRLqb1LywJqENqBLzuPrct9N2erHeSbllPjDazkf9bGdjc1Bs9bO8AyNvrK9qfd3x1fQD5ujx8K5xVuiPqU88d2mTGpuS/iEzWljSPQJdLbh6Ete95zUumfXsBGCovDP4pd/YYKl4ctlhWfeUaR4Zd01838wiPEaMCRMepktsbM/y1+eg4RNsrpVnn51G7qT4T8TB70V4u57Km/rCm32vwmONO5/AozsDj8qaR30zq5pxzsMj/EmEJzR4GtJ2P3mSew/1lyPvRTAmBui9qR9bMwzNADdW/B+/4T36Mv2b+wDR5o34";

Deno.test("Arrow: a file of Polars, whose dictionary stands behind the batch that uses it", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.arrow", inflateSync(Uint8Array.fromBase64(POLARS)));
  const { records } = await readAll({ type: "file", path: "a.arrow" }, folder.ctx);
  assert.deepEqual(records, [{ id: 1, c: "a" }, { id: 2, c: "b" }, { id: 3, c: "a" }]);
});

Deno.test("Arrow: what would be read as something else is refused by its name", async () => {
  await using folder = await SourceFolder.create();
  const refusal = async (change: (table: Table) => void, turned = false) => {
    const table = tableFromColumns({
      s: columnFromArray([{ a: 1, b: 2 }], struct({ a: int32(), b: int32() })),
      price: columnFromArray([12n], decimal(10, 0, 128), EXTRACT),
    });
    change(table);
    const stream = tableToIPC(table, { format: "stream" })!;
    if (turned) sayBigEndian(stream);
    await folder.write("a.arrow", stream);
    const error = await readAll({ type: "file", path: "a.arrow" }, folder.ctx).catch((e) => e);
    assert.ok(error instanceof Problem, String(error));
    return error.message;
  };
  const type = ({ schema }: Table, i: number) =>
    schema.fields[i]!.type as unknown as { children: { name: string }[]; scale: number };
  assert.match(
    await refusal((table) => type(table, 0).children[1]!.name = "a"),
    /two columns are called "s\.a"/,
  );
  assert.match(await refusal((table) => type(table, 1).scale = -2), /negative scale/);
  assert.match(await refusal(() => {}, true), /big-endian/);
});

/** Makes the schema of a stream say that its numbers are big-endian. */
function sayBigEndian(stream: Uint8Array): void {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const fieldOf = (table: number, field: number) =>
    table - view.getInt32(table, true) + 4 + 2 * field;
  const follow = (table: number, field: number) => {
    const at = table + view.getUint16(fieldOf(table, field), true);
    return at + view.getUint32(at, true);
  };
  const schema = follow(8 + view.getUint32(8, true), 2);
  // any number but 0 is read as the byte order: the length of the list of columns, which follows
  view.setUint16(fieldOf(schema, 0), follow(schema, 1) - schema, true);
}

Deno.test("LZ4 frames: blocks that refer to the one before are decompressed", () => {
  // "abcdefgh" as literals, then a block whose match of 8 starts 8 bytes back in the first, and "!"
  const literals = [0x80, ...new TextEncoder().encode("abcdefgh")];
  const linked = [0x04, 8, 0, 0x10, 0x21];
  const frame = Uint8Array.from([
    ...[0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0],
    ...[literals.length, 0, 0, 0, ...literals],
    ...[linked.length, 0, 0, 0, ...linked],
    ...[0, 0, 0, 0],
  ]);
  assert.equal(new TextDecoder().decode(decompressLz4Frame(frame, 17)), "abcdefghabcdefgh!");
  assert.throws(() => decompressLz4Frame(frame, 16), RangeError);
  assert.throws(() => decompressLz4Frame(frame.subarray(0, 20), 17), RangeError);
});

Deno.test("LZ4 frames: sizes and checksums of header, blocks and content are passed over", () => {
  const block = (text: string) => [
    ...[text.length, 0, 0, 0x80, ...new TextEncoder().encode(text)],
    ...[1, 2, 3, 4], // its checksum
  ];
  const frame = Uint8Array.from([
    // version 1 with checksums of blocks, size and checksum of the content
    ...[0x04, 0x22, 0x4d, 0x18, 0x5c, 0x40, 6, 0, 0, 0, 0, 0, 0, 0, 0xc0],
    ...block("abcd"),
    ...block("ef"),
    ...[0, 0, 0, 0, 5, 6, 7, 8],
  ]);
  assert.equal(new TextDecoder().decode(decompressLz4Frame(frame, 6)), "abcdef");
});

Deno.test("Arrow: a message that says it has more bytes than a batch may have is refused before they are read", async () => {
  await using folder = await SourceFolder.create();
  const stream = tableToIPC(
    tableFromColumns({ id: columnFromArray([1, 2, 3], int32()) }),
    { format: "stream" },
  )!;
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  // the second message is the batch: behind the schema, which has no body
  const metadata = 8 + view.getUint32(4, true) + 8;
  const table = metadata + view.getUint32(metadata, true);
  const vtable = table - view.getInt32(table, true);
  const bodyLength = table + view.getUint16(vtable + 4 + 2 * 3, true);
  const saying = async (bytes: bigint) => {
    view.setBigInt64(bodyLength, bytes, true);
    await folder.write(`${bytes}.arrow`, stream);
    const path = `${bytes}.arrow`;
    return (await readAll({ type: "file", path }, folder.ctx).catch((e) => e)).message;
  };
  assert.match(await saying(2n ** 40n), /record batch .* more than \d+ bytes/);
  assert.match(await saying(-1n), /cannot be read/);
});

Deno.test("Arrow: incomplete and damaged data, doubled names and types that are not read are refused", async () => {
  await using folder = await SourceFolder.create();
  const whole = tableToIPC(exampleTable(), { format: "file" })!;
  const refusal = async (name: string, bytes: Uint8Array) => {
    await folder.write(name, bytes);
    const error = await readAll({ type: "file", path: name }, folder.ctx).catch((e) => e);
    assert.ok(error instanceof Problem, name);
    return error.message;
  };
  assert.match(await refusal("cut.arrow", whole.subarray(0, whole.length >> 1)), /ends too early/);
  assert.match(await refusal("text.arrow", new TextEncoder().encode("a,b\n")), /not an Arrow file/);
  const damaged = whole.slice();
  damaged.fill(0xff, 12, 40);
  assert.match(await refusal("damaged.arrow", damaged), /cannot be read/);
  // messages began with their length then
  const old = Uint8Array.from([...whole.subarray(0, 8), ...whole.subarray(12)]);
  assert.match(await refusal("old.arrow", old), /cannot be read .*before Arrow 0\.15/);
});

Deno.test("zstd: files are read whatever the format, several frames and skippable ones", async () => {
  const text = (from: number) =>
    Array.from({ length: 1_000 }, (_, i) => `{"id":${from + i}}\n`).join("");
  const frame = (bytes: string) =>
    new Uint8Array(zstdCompressSync(new TextEncoder().encode(bytes)));
  const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9);
  const two = Uint8Array.from([...skippable, ...frame(text(0)), ...frame(text(1_000))]);
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson.zst", two);
  await folder.write("b.csv.zst", frame("a,b\n1,x\n"));
  await folder.write("c.json.zstd", frame('[{"a":1},{"a":2}]'));
  const ids = (await readAll({ type: "file", path: "a.ndjson.zst" }, folder.ctx)).records;
  assert.deepEqual(ids, Array.from({ length: 2_000 }, (_, id) => ({ id })));
  assert.equal((await readAll({ type: "file", path: "b.csv.zst" }, folder.ctx)).records.length, 1);
  assert.equal(
    (await readAll({ type: "file", path: "c.json.zstd" }, folder.ctx)).records.length,
    2,
  );

  const { constants } = await import("node:zlib");
  const summed = new Uint8Array(zstdCompressSync(new TextEncoder().encode(text(0)), {
    params: { [constants.ZSTD_c_checksumFlag]: 1 },
  }));
  for (let at = 20; at < summed.length; at += 97) {
    const damaged = summed.slice();
    damaged[at]! ^= 1;
    await folder.write(`damaged${crc32(damaged)}.ndjson.zst`, damaged);
    const error = await readAll(
      { type: "file", path: `damaged${crc32(damaged)}.ndjson.zst` },
      folder.ctx,
    ).catch((e) => e);
    assert.ok(error instanceof Problem, `byte ${at}`);
    assert.match(error.message, /zstd data (is damaged|ends too early)/);
  }
  await folder.write("cut.ndjson.zst", two.subarray(0, two.length - 5));
  const cut = await readAll({ type: "file", path: "cut.ndjson.zst" }, folder.ctx).catch((e) => e);
  assert.match(cut.message, /zstd data ends too early/);
  await folder.write(
    "more.ndjson.zst",
    Uint8Array.from([...two, ...new TextEncoder().encode("{}\n{}\n")]),
  );
  const more = await readAll({ type: "file", path: "more.ndjson.zst" }, folder.ctx).catch((e) => e);
  assert.match(more.message, /zstd data is damaged/, "what follows a frame is another one");
});

Deno.test("formats that are not read are refused by their name, with what to do instead", async () => {
  const files: Record<string, [number[], RegExp]> = {
    "a.csv.bz2": [[0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59], /bzip2.*bzcat/],
    "a.csv.xz": [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], /xz.*xzcat/],
    "a.zip": [[0x50, 0x4b, 3, 4], /zip archive.*Unpack/],
    "a.xlsx": [[0x50, 0x4b, 3, 4], /Excel.*save the sheet as CSV/],
    "a.xls": [[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1], /Excel.*CSV/],
    "a.avro": [[0x4f, 0x62, 0x6a, 1], /Avro.*Parquet/],
    "a.orc": [[0x4f, 0x52, 0x43, 0], /ORC.*Parquet/],
    "a.7z": [[0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], /7z/],
    "a.csv.lz4": [[0x04, 0x22, 0x4d, 0x18], /lz4/],
  };
  await using folder = await SourceFolder.create();
  for (const [path, [bytes, expected]] of Object.entries(files)) {
    await folder.write(path, Uint8Array.from([...bytes, ...new Uint8Array(100)]));
    for (const conf of [{}, { format: "csv" }]) {
      const error = await readAll({ type: "file", path, ...conf }, folder.ctx).catch((e) => e);
      assert.ok(error instanceof Problem, path);
      assert.match(error.message, expected);
    }
  }
  // a text may begin like one of them
  await folder.write("b.csv", "BZh9x,ORC\n1,2\n");
  assert.equal((await readAll({ type: "file", path: "b.csv" }, folder.ctx)).records.length, 1);
});

Deno.test("Arrow: rows that share large texts of a dictionary become few lines at a time", async () => {
  const texts = ["a", "b"].map((letter) => letter.repeat(600_000));
  const ipc = tableToIPC(
    tableFromColumns({
      text: columnFromArray(
        Array.from({ length: 1_000 }, (_, i) => texts[i % 2]!),
        dictionary(utf8()),
      ),
    }),
    { format: "stream" },
  )!;
  // all of its lines together are no text that JavaScript can hold
  const chunks = arrowToNdjson(
    async function* () {
      yield await Promise.resolve(ipc);
    },
    { label: "a.arrow", maxBatchBytes: 1 << 28 },
  );
  for (let i = 0; i < 3; i++) {
    const next = await chunks.next();
    assert.ok(!next.done && next.value.length < 4_000_000);
    assert.equal(
      JSON.parse(new TextDecoder().decode(next.value).split("\n")[0]!).text.length,
      600_000,
    );
  }
  await chunks.return();
});
