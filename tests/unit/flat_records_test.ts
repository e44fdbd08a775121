import assert from "node:assert/strict";
import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer";
import { paramsSchema } from "../../pipeline/params.ts";
import { type ChainOptions, RecordChain } from "../../pipeline/record_chain.ts";
import { FlatRecords, MixedReader } from "../../pipeline/sources/flat_records.ts";
import type { TypedTable } from "../../store/row_layout.ts";
import { SourceFolder } from "../helpers/sources.ts";
import { random } from "../helpers/random.ts";
import { madeAlike } from "../helpers/spills.ts";

/** Both ways must come to the same; answers how many records were not parsed. */
async function alike(
  text: string | Uint8Array,
  { name = "data.ndjson", conf, columns, maxRecordBytes = 1 << 20 }: {
    name?: string;
    conf: Record<string, unknown>;
    columns?: Record<string, string>;
    maxRecordBytes?: number;
  },
): Promise<number> {
  const limits = { maxSpoolBytes: 1 << 30, maxRecordBytes, allowPrivateHosts: [] };
  await using folder = await SourceFolder.create({ limits });
  await folder.write(name, text);
  const { ctx } = folder;
  await Deno.mkdir(ctx.spoolDir, { recursive: true });
  const shown = typeof text === "string" ? text.slice(0, 300) : name;
  const source = { type: "file", path: name, name: "shop", ...conf };
  return await madeAlike({ source, ctx, columns }, shown);
}

const MAPPING = { key: "id", event_type: { field: "type" }, occurred_at: "ts" };

const NUMBERS = [
  ..."0 -0 0.0 -0.0 1 -1 10 100 1.0 1.10 -2.50 0.1 0.000001 0.0000001 0.00000012 -0.000001".split(
    " ",
  ),
  ..."123456789012345 1234567890123456 9007199254740993 0.123456789012345 12345678.9012345".split(
    " ",
  ),
  ..."1e3 1E3 1e-7 1.5e300 1e400 -1e-400 00 01 1. .5 - +1 --1 1.2.3 0x1 NaN Infinity 5e-324".split(
    " ",
  ),
  ..."99999999999999999999 1000000000000000000000 0.30000000000000004 19.90 100.00 -0.50".split(
    " ",
  ),
];

const STRINGS = [
  ...[
    "",
    "a",
    "evt-1",
    " padded ",
    "true",
    "false",
    "null",
    "1",
    "01",
    "1.0",
    "-3",
    "a|b",
    "ñandú",
    "日本語",
    "🎉",
  ],
  ...[
    "\\n",
    "\\t",
    '\\"',
    "\\\\",
    "\\/",
    "\\u0041",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\u00f1 ñ \\n",
    "\\/\\u20AC",
    "\\ud800",
    "\\u0000",
    "\\x",
    "\\",
  ],
  ...[
    "\u007f",
    "\u2028",
    "\ufeff",
    "tab\there",
    "a".repeat(150),
    "é".repeat(1_100),
    "/",
    "{",
    "}",
    "[1]",
    ":",
    ",",
  ],
  ...[
    "2026-01-31T23:59:59Z",
    "2026-01-31T23:59:59.120Z",
    "2026-01-31 10:00:00+02",
    "2026-02-30",
    "2026-01-31",
  ],
];

const TIMES = [
  '"2026-01-31T23:59:59Z"',
  '"2026-01-31T23:59:59.5Z"',
  '"2026-01-31T23:59:59.120Z"',
  '"2026-01-31 10:00:00+02"',
  '"2026-01-31"',
];

/** A line of NDJSON: mostly a flat record, now and then something odd. */
function jsonLine(pick: (limit: number) => number, i: number): string {
  const one = <T>(values: T[]): T => values[pick(values.length)]!;
  const value = (): string => {
    switch (pick(12)) {
      case 0:
        return one(NUMBERS);
      case 1:
        return one(["true", "false", "null", "nul", "True"]);
      case 2:
        return `"${one(STRINGS)}"`;
      case 3:
        return one(["{}", "[]", '{"b":1,"a":[2]}', "[1,2]", "tru", '"', ""]);
      default:
        return one(['"plain"', "17", "3.25", "true", '"con ñ"', "null"]);
    }
  };
  const odd = pick(6) === 0;
  const members: [string, string][] = [
    ["id", odd && pick(3) === 0 ? value() : one([`"k${i}"`, `"${i}"`, `${i}`])],
    ["type", odd && pick(3) === 0 ? value() : one(['"sale"', '"refund"', '"venta ñ"'])],
    ["ts", odd && pick(3) === 0 ? value() : one(TIMES)],
    ["amount", pick(8) === 0 ? value() : one(["1.5", "20", "19.90"])],
  ];
  if (pick(3) === 0) members.push(["note", value()]);
  if (pick(4) === 0) members.push(["more", '"\\u00f1"']);
  if (pick(20) === 0) {
    members.push([one(["id", "zeta", "10", "__proto__", "á", "a\\n", 'q"', ""]), "1"]);
  }
  if (pick(4) === 0) members.reverse();
  if (pick(40) === 0) members.splice(pick(members.length), 1);
  const [before, colon, comma] = one([["", ":", ","], ["", ": ", ", "], [" ", " :\t", " , "], [
    "",
    ":",
    ",",
  ]]);
  let line = `${before}{${members.map(([name, text]) => `"${name}"${colon}${text}`).join(comma)}}`;
  if (pick(30) === 0) {
    line = one([
      "",
      "  ",
      "\r",
      "{}",
      "[]",
      "1",
      "null",
      `${line} x`,
      `${line}${line}`,
      line.slice(0, -1),
      `${line},`,
      `\ufeff${line}`,
    ]);
  }
  return line + one(["\n", "\n", "\n", "\r\n", " \n"]);
}

const CONFS = [
  MAPPING,
  MAPPING,
  { key: "id" },
  { key: ["id", "type"], occurred_at: { field: "ts", format: "iso" } },
  { key: ["type", "amount", "id"], event_type: { field: "amount" } },
  { event_type: "sale", occurred_at: "ts" },
  { key: "id", version: "amount" },
  { key: "id", version: "ts", event_type: { field: "id" } },
  { key: "amount", occurred_at: { field: "amount", format: "epoch_s" } },
  { key: "nested.id", event_type: { field: "type" } },
];

const TYPES = [
  "text",
  "text",
  "integer",
  "numeric",
  "numeric(5,2)",
  "boolean",
  "date",
  "timestamptz",
  "jsonb",
];

/** Columns of a typed table for the fields: now and then not for all, or of a type that their values have not. */
function columnsFor(
  pick: (limit: number) => number,
  { key = [] }: { key?: string | string[] },
): { columns?: Record<string, string> } {
  if (pick(2) === 0) return {};
  const one = <T>(values: T[]): T => values[pick(values.length)]!;
  const types = {
    id: "text",
    type: "text",
    ts: "timestamptz",
    amount: "numeric",
    note: "text",
    zeta: "text",
    á: "text",
  };
  const columns = Object.entries(types)
    .map(([name, type]) => [name, pick(6) === 0 ? one(TYPES) : type] as const)
    .filter(([name]) => [key].flat().includes(name) || pick(8) > 0)
    // a key of jsonb there is not
    .map(([name, type]) => [name, type === "jsonb" && [key].flat().includes(name) ? "text" : type]);
  return { columns: Object.fromEntries(columns) };
}

const SEEDS = Number(Deno.env.get("FLAT_SEEDS") ?? 80);

Deno.test("a flat record of NDJSON becomes the row that any record becomes", async () => {
  let flat = 0;
  let records = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const pick = random(seed);
    const conf = CONFS[pick(CONFS.length)]!;
    if (conf.key === "nested.id") continue;
    const lines = Array.from({ length: 1 + pick(60) }, (_, i) => jsonLine(pick, i));
    if (pick(5) === 0) lines.push(lines.pop()!.trimEnd());
    records += lines.length;
    flat += await alike(lines.join(""), { conf, ...columnsFor(pick, conf) });
  }
  // else the test would say little
  assert.ok(flat > records / 8, `${flat} of ${records}`);
});

/** A record of CSV: mostly a flat one, now and then something odd. */
function csvRecord(
  pick: (limit: number) => number,
  i: number,
  { sign, eol }: { sign: string; eol: string },
): string {
  const one = <T>(values: T[]): T => values[pick(values.length)]!;
  const cell = (): string => {
    switch (pick(10)) {
      case 0:
        return one(NUMBERS);
      case 1:
        return one(STRINGS);
      case 2:
        return `"${one(STRINGS)}"${one(["", "", " ", "x"])}`;
      case 3:
        return one([
          '"a ""b"" c"',
          '"two\nlines"',
          pick(5) === 0 ? '"' : "'",
          'a"b',
          "a\rb",
          `"a${sign}b"`,
          '"\\""',
          "id",
          " id ",
        ]);
      default:
        return one(["plain", "17", "3.25", "true", "con ñ", "", "-0.5", "1.10"]);
    }
  };
  const odd = pick(6) === 0;
  const cells = [
    odd && pick(3) === 0 ? cell() : one([`k${i}`, `${i}`, `"k${i}"`]),
    odd && pick(3) === 0 ? cell() : one(["sale", "refund", "venta ñ", '"sale"']),
    odd && pick(3) === 0 ? cell() : one(TIMES).slice(1, -1),
    pick(8) === 0 ? cell() : one(["1.5", "20", "19.90"]),
    cell(),
  ];
  if (pick(40) === 0) cells.splice(pick(5), 1);
  if (pick(40) === 0) cells.push("more");
  let record = cells.join(sign);
  if (pick(40) === 0) {
    record = one([
      "",
      "\r",
      "# note",
      ["id", "type", "ts", "amount", "note"].join(sign),
      `\ufeff${record}`,
      " ",
      sign.repeat(4),
    ]);
  }
  return record + eol;
}

/** How some columns are to be read. */
function declaredColumns(pick: (limit: number) => number): Record<string, unknown> {
  if (pick(3) > 0) return {};
  const one = <T>(values: T[]): T => values[pick(values.length)]!;
  const usual = { id: "text", type: "text", ts: "timestamptz", amount: "numeric", note: "text" };
  const columns = Object.entries(usual).filter(() => pick(2) === 0).map(([name, type]) => {
    const given = pick(5) === 0 ? one([...TYPES, "bigint", "number"]) : type;
    return [
      name,
      one<unknown>([given, given, { type: given }, { type: given, null_values: ["plain"] }]),
    ];
  });
  return {
    columns: Object.fromEntries(columns),
    ...(pick(12) === 0 ? { null_values: ["17"] } : {}),
    ...(pick(12) === 0 ? { true_values: ["17", "true"] } : {}),
  };
}

Deno.test("a flat record of CSV becomes the row that any record becomes", async () => {
  let flat = 0;
  let records = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const pick = random(seed);
    const one = <T>(values: T[]): T => values[pick(values.length)]!;
    const conf = CONFS[pick(CONFS.length)]!;
    if (conf.key === "nested.id") continue;
    const dialect = one([{}, {}, {}, { delimiter: ";" }, { delimiter: "\t" }, { quote: "'" }, {
      escape: "\\",
    }, {
      quote: false,
    }, { delimiter: " " }]);
    const names = ["id", "type", "ts", "amount", "note"];
    const header = one([true, true, true, names]);
    const kind = {
      sign: (dialect as { delimiter?: string }).delimiter ?? ",",
      eol: one(["\n", "\n", "\r\n"]),
    };
    let text = header === true ? names.join(kind.sign) + kind.eol : "";
    const count = 1 + pick(60);
    for (let i = 0; i < count; i++) text += csvRecord(pick, i, kind);
    if (pick(5) === 0) text = text.trimEnd();
    records += count;
    flat += await alike(text, {
      name: "data.csv",
      conf: {
        ...conf,
        ...dialect,
        ...(header === true ? {} : { header }),
        ...declaredColumns(pick),
        format: "csv",
      },
      ...columnsFor(pick, conf),
    });
  }
  assert.ok(flat > records / 16, `${flat} of ${records}`);
});

Deno.test("a flat row of Parquet becomes the row that any record becomes", async () => {
  let flat = 0;
  let records = 0;
  for (let seed = 1; seed <= SEEDS / 2; seed++) {
    const pick = random(seed);
    const one = <T>(values: T[]): T => values[pick(values.length)]!;
    const oddness = one([0, 200, 12]);
    const length = 1 + pick(80);
    const odd = () => oddness > 0 && pick(oddness) === 0;
    const column = (name: string, type: string, value: (i: number) => unknown) => ({
      name,
      type,
      data: Array.from({ length }, (_, i) => value(i)),
    });
    const text = () =>
      odd()
        ? one(['"', "\\", "\n", "a\u0001", "🎉", "", " x "])
        : one(["plain", "con ñ", "17", "日本語"]);
    const number = () =>
      odd()
        ? one([NaN, Infinity, -0, 1e21, 1e-7, 5e-324, 123456789012345680])
        : one([0, 1.5, -2.25, 0.1, 19.9, 100]);
    const columnData = [
      column("id", "STRING", (i) => odd() ? one([null, "", "a|b", "ñ"]) : `k${i}`),
      column("type", "STRING", () => odd() ? one([null, " "]) : one(["sale", "refund"])),
      column(
        "ts",
        "STRING",
        () => odd() ? one(["2026-02-30", "2026-01-31 10:00:00+02", null]) : one(TIMES).slice(1, -1),
      ),
      column("amount", "DOUBLE", number),
      ...[
        column("note", "STRING", () => pick(9) === 0 ? null : text()),
        column("n", "INT32", () => pick(9) === 0 ? null : one([0, -1, 2147483647])),
        column("big", "INT64", () => odd() ? one([2n ** 63n - 1n, -(2n ** 53n)]) : one([1n, null])),
        column("yes", "BOOLEAN", () => one([true, false, null])),
        column("at", "TIMESTAMP", () => one([new Date(0), new Date(1_700_000_000_123)])),
        column("f", "FLOAT", () => odd() ? one([NaN, 1e30]) : one([0.1, 1.5])),
      ].filter(() => pick(2) === 0),
    ] as ColumnSource[];
    const conf = CONFS[pick(CONFS.length)]!;
    if (conf.key === "nested.id") continue;
    records += length;
    flat += await alike(new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 50 })), {
      name: "data.parquet",
      conf,
      ...columnsFor(pick, conf),
    });
  }
  assert.ok(flat > records / 8, `${flat} of ${records}`);
});

/** A record, and whether it need not be parsed. */
type Flatness = [record: string, isFlat: boolean];

const LINES: Flatness[] = [
  ['{"id":"a","n":1}', true],
  ['{"n":1,"id":"a"}', true],
  [' {\t"id" : "a" , "n": null }\t\r', true],
  ['{"id":"a","n":true,"m":false}', true],
  ['{"id":"con ñ 日本語 🎉"}', true],
  ['{"ñ":"a","id":"b"}', true],
  ['{"id":"\ufeffa"}', true],
  ['{"id":"a","n":"q\\" b\\\\ \\n\\t\\r\\b\\f"}', true],
  // escapes that canonical JSON does not have
  ['{"id":"a","n":"\\/ \\u0041 \\n"}', true],
  [
    '{"id":"a","n":"\\u00e9 \\u00F1 \\u20ac \\ud83d\\ude00 \\u2028 \\u007f \\uffff \\ud800\\udc00 \\u0800 \\u07ff"}',
    true,
  ],
  ['{"id":"\\u00e9","n":"con \\u00f1 y ñ"}', true],
  ['{"id":"a","n":"\\u0000"}', false],
  ['{"id":"a","n":"\\u001f"}', false],
  ['{"id":"a","n":"\\u0022"}', false],
  ['{"id":"a","n":"\\u005c"}', false],
  ['{"id":"a","n":"\\ud800"}', false],
  ['{"id":"a","n":"\\ud800x"}', false],
  ['{"id":"a","n":"\\udc00\\ud800"}', false],
  ['{"id":"a","n":"\\ud83d\\u0041"}', false],
  ['{"id":"a","n":"\\u00g1"}', false],
  ['{"id":"a","n":"\\u:001"}', false],
  ['{"id":"a","n":"\\x41"}', false],
  // what is escaped is no key, though it is a text
  ['{"id":"a\\n"}', false],
  ['{"id":"a","n":-12.50}', true],
  ['{"id":"a","n":-0.0}', true],
  ['{"id":"a","n":0.000001}', true],
  ['{"id":"a","n":0.0000001}', false],
  ['{"id":"a","n":123456789012345}', true],
  ['{"id":"a","n":0.30000000000000004}', true],
  ['{"id":"a","n":0.3000000000000000444}', false],
  ['{"id":"a","n":9007199254740991}', true],
  ['{"id":"a","n":9007199254740992}', false],
  ['{"id":"a","n":1e3}', false],
  ['{"id":"a","n":1E3}', false],
  ['{"id":"\\u00e9\\n"}', false],
  ['{"id":"\\u0041ñ"}', true],
  ['{"id" "a"}', false],
  ['{"id";"a"}', false],
  ['{"id":"a" "n":1}', false],
  ['{"id":"a","n":1 2}', false],
  ['{"id":7}', true],
  ['{"id":true}', false],
  ['{"id":""}', false],
  ['{"id":null}', false],
  ['{"n":1}', false],
  ['{"id":"a","n":{}}', false],
  ['{"id":"a","n":[1]}', false],
  ['{"id":"a","id":"b"}', false],
  ['{"id":"a","10":1}', false],
  ['{"id":"a","__proto__":1}', false],
  ['{"id":"a","toJSON":1}', false],
  ['{"id":"a","na\\u006de":1}', false],
  ["{}", false],
  ['{"id":"a"} {}', false],
  ['{"id":"a",}', false],
  ['{"id":"a"', false],
];

const CELLS: Flatness[] = [
  ["a,1", true],
  ['"a","1"', true],
  ['"a" ,1\r', true],
  ["con ñ,日本語", true],
  ["a,", true],
  ["a,true", true],
  ["a,-12.50", true],
  ["a,-0", false],
  ["a,-0.00", false],
  ["a,0", true],
  ["a,123456789012345", true],
  ["a,1234567890123456", false],
  ["a,007", true],
  ["a,1e3", true],
  ['a,"b ""c"""', false],
  ['a,b"c', false],
  ["a,b\\c", false],
  ["a,b\tc", false],
  ['a,"b\nc"', false],
  ["a,b\rc", false],
  ["a", false],
  ["a,b,c", false],
  [",b", false],
  ["true,b", false],
  ["id,n", false],
  [" id ,n", false],
  ["id,other", false],
  ["\u00a0id,\u00a0n", false],
  ["ide,n", true],
  ["ñ,n", true],
  ["\ufeffa,b", false],
  ['a,"b"c', false],
];

Deno.test("a record is parsed only if it has to be", async () => {
  for (const [line, isFlat] of LINES) {
    assert.equal(await alike(`${line}\n`, { conf: { key: "id" } }), isFlat ? 1 : 0, line);
    // without an end of the line it might go on
    assert.equal(await alike(line, { conf: { key: "id" } }), 0, line);
  }
  for (const [record, isFlat] of CELLS) {
    const text = `id,n\n${record}\nb,2\nc,3\n`;
    const flat = await alike(text, { name: "data.csv", conf: { key: "id" } });
    assert.equal(flat === 3, isFlat, record);
  }
});

Deno.test("one record that has to be parsed takes no other with it; many of them are not looked for in vain", async () => {
  const flat = (n: number) => Array.from({ length: n }, (_, i) => `{"id":"${i}"}\n`).join("");
  const odd = '{"id":"x","n":{}}\n';
  const of = (text: string) => alike(text, { conf: { key: "id" } });
  assert.equal(await of(flat(100) + odd + flat(100) + odd + flat(100)), 300);
  // behind each odd record twice as many are parsed
  assert.equal(await of((odd + flat(1)).repeat(100)), 0);
  // 2, 4, 8, 16 and 32 records were parsed, 22 of which need not have been; then one
  assert.equal(await of(odd.repeat(40) + flat(2_000) + odd + flat(100)), 2_078);
  const records = (n: number) => Array.from({ length: n }, (_, i) => `${i},a\n`).join("");
  const csv = (text: string) => alike(`id,n\n${text}`, { name: "data.csv", conf: { key: "id" } });
  assert.equal(await csv(`${records(100)}x,a""b\n${records(100)}`), 200);
  assert.equal(await csv(`x,a""b\n${records(1)}`.repeat(100)), 0);
});

Deno.test("a record whose names are others than those before keeps its escaped texts", async () => {
  const lines = [
    '{"id":"a","b":1}',
    '{"id":"\\u00e9","c":"\\u00e9\\u00e9"}',
    '{"id":"b","c":"\\u20ac","d":"\\u00e9"}',
    '{"id":"\\u00e9x"}',
  ];
  const text = `${lines.join("\n")}\n`;
  assert.equal(await alike(text, { conf: { key: "id" } }), 4);
});

/** A column's type, a value as JSON and as a cell, and whether its record need not be parsed. */
const VALUES: [type: string, json: string, isFlat: boolean][] = [
  ["text", '"a"', true],
  ["text", '""', true],
  ["text", '"ñ 🎉 日本語"', true],
  ["text", `"${"é".repeat(150)}"`, true],
  ["text", `"${"e".repeat(50)}"`, true],
  ["text", "17", true],
  ["text", "1.50", true],
  ["text", "null", true],
  ["text", "true", false],
  ["text", '"a\\n"', false],
  ["integer", "17", true],
  ["integer", "-17", true],
  ["integer", "123456789012345", true],
  ["integer", "9007199254740991", false],
  ["integer", "1.5", false],
  ["integer", '"17"', false],
  ["integer", "null", true],
  ["numeric", "17", true],
  ["numeric", "-1.25", true],
  ["numeric", "0.000001", true],
  ["numeric", "12345678901.345", true],
  ["numeric", '"17"', false],
  ["numeric(5,2)", "123.45", true],
  ["numeric(5,2)", "-123.40", true],
  ["numeric(5,2)", "0.25", true],
  ["numeric(5,2)", "1234", false],
  ["numeric(5,2)", "1.234", false],
  ["numeric(2,2)", "0.25", true],
  ["numeric(2,2)", "1", false],
  ["numeric(3)", "123", true],
  ["numeric(3)", "1.5", false],
  ["boolean", "true", true],
  ["boolean", "false", true],
  ["boolean", '"true"', false],
  ["boolean", "1", false],
  ["date", '"2026-01-31"', true],
  ["date", '"2026-02-30"', false],
  ["date", '"2026-01-31T00:00:00Z"', false],
  ["date", "20260131", false],
  ["timestamptz", '"2026-01-31T10:20:30Z"', true],
  ["timestamptz", '"2026-01-31 10:20:30.120+02"', true],
  ["timestamptz", '"2026-01-31"', true],
  ["timestamptz", '"2026-01-31T10:20:30.123456Z"', true],
  ["timestamptz", '"2026-01-31 10:20:30.123456Z"', false],
  ["timestamptz", '"2026-01-31T10:20:30.1234567Z"', false],
  ["timestamptz", '"2026-01-31T10:20:30.123456+02:00"', false],
  ["timestamptz", '"yesterday"', false],
  ["timestamptz", "1700000000", false],
  ["jsonb", '"a"', false],
  ["jsonb", "null", true],
];

Deno.test("a value that is plainly of its column's type is not parsed", async () => {
  for (const [type, json, isFlat] of VALUES) {
    const columns = { id: "text", v: type, w: "text" };
    const conf = { key: "id" };
    const line = `{"id":"a","v":${json}}\n`;
    assert.equal(await alike(line, { conf, columns }), isFlat ? 1 : 0, `${type} ${json}`);
    // in CSV what has no quotes may be a text, too
    const bare = json.replaceAll('"', "");
    if (bare.includes("\\") || json.startsWith('"') && bare !== "" && /^(true|\d+)$/.test(bare)) {
      continue;
    }
    const text = `id,v\na,${bare === "null" ? "" : bare}\n`;
    const flat = await alike(text, { name: "x.csv", conf, columns });
    assert.equal(flat, isFlat || bare === "" ? 1 : 0, `${type} ${bare}`);
  }
});

/** A declared column, a cell, and whether its record need not be parsed. */
const DECLARED: [column: unknown, cell: string, isFlat: boolean][] = [
  ["text", "17", true],
  ["text", "true", true],
  ["text", "ñ", true],
  ["text", "-0", true],
  ["integer", "-17", true],
  ["bigint", "17", true],
  ["integer", "1.0", false],
  ["integer", "-0", false],
  ["integer", "+1", false],
  ["integer", " 1", false],
  ["integer", "x", false],
  ["integer", "ñ", false],
  ["numeric", "19.90", true],
  ["number", "19.90", true],
  ["numeric", "007", false],
  ["numeric", "1e3", false],
  ["numeric(5,2)", "123.45", true],
  ["numeric(5, 2)", "1234.5", false],
  ["numeric(5,2)", "1.234", false],
  ["boolean", "true", true],
  ["boolean", "false", true],
  ["boolean", "yes", false],
  ["date", "2026-01-31", true],
  ["date", "2026-02-30", false],
  ["date", "31/01/2026", false],
  ["date", "2026-01-31T00:00:00", false],
  ["timestamptz", "2026-01-31T10:20:30.5Z", true],
  ["timestamptz", "2026-01-31 10:20:30", false],
  ["timestamptz", "2026-01-31T10:20:30.120Z", false],
  ["jsonb", "{}", false],
  ["jsonb", "", true],
  [{ type: "numeric" }, "1.5", true],
  [{ type: "text", column: "w" }, "1.5", true],
  [{ column: "w" }, "1.5", true],
  [{ type: "numeric", decimal: "," }, "1.5", false],
  [{ type: "text", null_values: ["x"] }, "x", false],
  [{ type: "date", format: "%Y-%m-%d" }, "2026-01-31", false],
];

Deno.test("a cell that its declared column takes as it stands there is not parsed", async () => {
  const flatOf = (conf: Record<string, unknown>, cell: string) =>
    alike(`id,v,w\na,${cell},x\n`, { name: "x.csv", conf: { key: "id", ...conf } });
  for (const [v, cell, isFlat] of DECLARED) {
    assert.equal(
      await flatOf({ columns: { v } }, cell),
      isFlat ? 1 : 0,
      `${JSON.stringify(v)} ${cell}`,
    );
  }
  assert.equal(await flatOf({ columns: { v: "boolean" }, true_values: ["true"] }, "true"), 0);
  assert.equal(await flatOf({ columns: { v: "boolean" }, false_values: ["no"] }, "true"), 0);
  assert.equal(await flatOf({ columns: { other: "integer" } }, "x"), 1);
  assert.equal(await flatOf({ null_values: ["x"] }, "x"), 0);
  // of other formats declared columns are read
  const conf = { key: "id", columns: { id: "integer" } };
  assert.equal(await alike('{"id":1}\n', { conf }), 0);
});

/** A key's types, a record, and whether it need not be parsed. */
const KEYS: [types: string[], line: string, isFlat: boolean][] = [
  [["text"], '{"a":"x"}', true],
  [["text"], '{"a":"ñ"}', true],
  [["text"], '{"a":""}', false],
  [["text"], '{"a":null}', false],
  [["text"], "{}", false],
  [["text"], `{"a":"${"x".repeat(2_000)}"}`, true],
  [["text"], `{"a":"${"x".repeat(2_001)}"}`, false],
  [["text"], `{"a":"${"é".repeat(1_001)}"}`, false],
  [["integer"], '{"a":7}', true],
  [["integer"], '{"a":"7"}', false],
  [["numeric"], '{"a":7.5}', true],
  [["numeric"], '{"a":10}', true],
  [["date"], '{"a":"2026-01-31"}', true],
  [["timestamptz"], '{"a":"2026-01-31T10:20:30Z"}', true],
  [["timestamptz"], '{"a":"2026-01-31T12:20:30+02"}', false],
  [["boolean"], '{"a":true}', true],
  [["text", "integer"], '{"a":"x","b":7}', true],
  [["text", "text"], '{"a":"x, {y}","b":"ñ"}', true],
  [["text", "text"], '{"a":"x","b":""}', false],
  [["text", "text"], '{"a":"x","b":null}', false],
  [["text", "text"], `{"a":"${"x".repeat(1_000)}","b":"${"y".repeat(993)}"}`, true],
  [["text", "text"], `{"a":"${"x".repeat(1_000)}","b":"${"y".repeat(994)}"}`, false],
];

Deno.test("a key that is written as it stands there is not parsed", async () => {
  for (const [types, line, isFlat] of KEYS) {
    const names = ["a", "b"].slice(0, types.length);
    const columns = Object.fromEntries(names.map((name, i) => [name, types[i]!]));
    const flat = await alike(`${line}\n`, { conf: { key: names }, columns });
    assert.equal(flat, isFlat ? 1 : 0, `${types} ${line}`);
  }
  // a number of CSV has the digits that stand there, but as a key it has one form
  const csv = (cell: string) =>
    alike(`a\n${cell}\n`, { name: "x.csv", conf: { key: "a" }, columns: { a: "numeric" } });
  assert.equal(await csv("1.5"), 1);
  assert.equal(await csv("10"), 1);
  assert.equal(await csv("1.50"), 0);
});

Deno.test("a record that is its own key is flat, and so are those beside blank lines", async () => {
  assert.equal(await alike('{"b":1,"a":"x"}\n\n  \n{"a":"x"}\n\r\n{"a":"y"}\r\n', { conf: {} }), 3);
  const text = "id,n\na,1\n\nb,2\n\r\nc,3\r\n";
  assert.equal(await alike(text, { name: "x.csv", conf: { key: "id" } }), 3);
});

Deno.test("a key of an events table is not parsed where it is written as it stands there", async () => {
  const conf = { key: ["a", "b"] };
  const long = (n: number) => `{"a":"${"x".repeat(1_000)}","b":"${"y".repeat(n)}"}`;
  for (
    const [line, isFlat] of [
      ['{"a":"x","b":7}', true],
      ['{"a":"ñ","b":"y"}', true],
      ['{"a":"ñ","b":"é"}', true],
      ['{"a":"x|","b":"y"}', false],
      ['{"a":"x","b":""}', false],
      ['{"a":"x","b":true}', false],
      ['{"a":"x","b":"\\n"}', false],
      ['{"a":"x"}', false],
      [long(999), true],
      [long(1_000), false],
    ] as Flatness[]
  ) assert.equal(await alike(`${line}\n`, { conf }), isFlat ? 1 : 0, line);
  const single = (key: string) => alike(`{"a":"${key}"}\n`, { conf: { key: "a" } });
  assert.equal(await single("x".repeat(2_000)), 1);
  assert.equal(await single("x".repeat(2_001)), 0);
});

Deno.test("types, times and versions that the mapping takes are not parsed", async () => {
  const of = (field: string, conf: Record<string, unknown>, values: Flatness[]) =>
    Promise.all(values.map(async ([value, isFlat]) => {
      const line = `{"id":"a","${field}":${value}}\n`;
      assert.equal(await alike(line, { conf: { key: "id", ...conf } }), isFlat ? 1 : 0, line);
    }));
  await of("t", { event_type: { field: "t" } }, [
    ['"sale"', true],
    ['" sale "', true],
    ["7", true],
    ["1.5", true],
    ["true", false],
    ['""', false],
    ['"  "', false],
    ["null", false],
    ['"\\n"', false],
    [`"${"é".repeat(200)}"`, true],
    [`"${"é".repeat(201)}"`, false],
  ]);
  await of("t", { occurred_at: "t" }, [
    ['"2026-01-31T10:20:30Z"', true],
    ['"2026-01-31 10:20:30.5+02:00"', true],
    ['"2026-01-31"', true],
    ['"31/01/2026"', false],
    ["1700000000", false],
    ["true", false],
    ["null", false],
    ['"2026-01-31\\n"', false],
  ]);
  await of("t", { occurred_at: { field: "t", format: "epoch_s" } }, [
    ["1700000000", true],
    ["1700000000.5", true],
    ['"1700000000"', true],
    ["true", false],
  ]);
  await of("t", { version: "t" }, [
    ["7", true],
    ["1.50", true],
    ['"7"', true],
    ['"2026-01-31T10:20:30Z"', true],
    [`"${"7".repeat(100)}"`, true],
    ['"seven"', false],
    ["null", false],
    ["true", false],
  ]);
});

Deno.test("types that are like each other are told apart", async () => {
  const types = ["ab1c", "ab2c", "ba1c", "abcc", "sale", "ssle", "sa", "s"];
  const lines = Array.from(
    { length: 200 },
    (_, i) => `{"id":${i},"t":"${types[(i * 7) % types.length]}"}\n`,
  );
  const conf = { key: "id", event_type: { field: "t" } };
  assert.equal(await alike(lines.join(""), { conf }), 200);
});

Deno.test("records of many shapes and of many names", async () => {
  const conf = { key: "id" };
  const names = (n: number) =>
    `{"id":"a",${Array.from({ length: n }, (_, i) => `"n${i}":${i}`).join(",")}}\n`;
  assert.equal(await alike(names(255), { conf }), 1);
  assert.equal(await alike(names(256), { conf }), 0);
  // of more shapes than are kept the first ones stay flat
  const shapes = Array.from({ length: 64 }, (_, i) => `{"id":"${i}","n${i}":1}\n`).join("");
  assert.equal(await alike(shapes, { conf }), 64);
  assert.equal(await alike(`${shapes}{"id":"x","other":1}\n`, { conf }), 64);
  assert.equal(await alike(shapes + shapes.replaceAll('"id":"', '"id":"b'), { conf }), 128);
});

Deno.test("a record as large as one may be is not parsed; a larger one is looked at", async () => {
  const conf = { key: "id" };
  // a byte of white space is none of the payload
  const line = (n: number) => `{"id":"${"x".repeat(n - 10)}" }\n`;
  assert.equal(await alike(line(101), { conf, maxRecordBytes: 102 }), 1);
  assert.equal(await alike(line(101), { conf, maxRecordBytes: 101 }), 0);
  assert.equal(await alike(line(101), { conf, maxRecordBytes: 100 }), 0);
  const wide = `{"id":"a","n":"${"é".repeat(40)}"}\n`;
  const columns = { id: "text", n: "text" };
  assert.equal(await alike(wide, { conf, columns, maxRecordBytes: 120 }), 1);
});

Deno.test("texts that take much memory are read alone", async () => {
  const conf = { key: "id" };
  const most = { conf, maxRecordBytes: 8 << 20 };
  const line = (bytes: number) => `{"id":"a","n":"${"x".repeat(bytes)}"}\n`;
  assert.equal(await alike(line(1 << 20), most), 1);
  assert.equal(await alike(line(1 << 21), most), 0);
  const csv = { ...most, name: "x.csv" };
  assert.equal(await alike(`id,n\na,${"x".repeat(1 << 20)}\n`, csv), 1);
  assert.equal(await alike(`id,n\na,${"x".repeat(1 << 21)}\n`, csv), 0);
  const parquet = (texts: string[]) =>
    alike(
      new Uint8Array(parquetWriteBuffer({
        columnData: [
          { name: "id", type: "INT32", data: [...texts.keys()] },
          { name: "n", type: "STRING", data: texts },
        ],
      })),
      { ...most, name: "x.parquet" },
    );
  assert.equal(await parquet(Array.from({ length: 10 }, (_, i) => `${i}`.repeat(300_000))), 10);
  const rows = (odd: number) =>
    parquet(Array.from({ length: 100 }, (_, i) => i === odd ? '"' : "x"));
  assert.equal(await rows(50), 99);
  assert.equal(await rows(-1), 100);
  assert.equal(await parquet(["a", "x".repeat((1 << 20) + 1), "b", "c"]), 2);
});

Deno.test("a row that cannot be told behind large texts is left to the reader of all rows, and those behind it are found", async () => {
  const column = (name: string, data: string[]): ColumnSource => ({
    name,
    data,
    type: "STRING",
    encoding: "PLAIN",
  });
  const large = (i: number) => `${i}`.repeat(600_000);
  const bytes = new Uint8Array(parquetWriteBuffer({
    columnData: [
      column("id", ["a", "b", "c", "d"]),
      column("v", [0, 1, 2, 3].map(large)),
      column("w", [4, 5, 6, 7].map(large)),
      column("t", ["ok", "bXXb", "ok", "ok"]),
    ],
    codec: "UNCOMPRESSED",
    statistics: false,
  }));
  const text = new TextDecoder("latin1").decode(bytes);
  bytes.set([0xff, 0xfe], text.indexOf("bXXb") + 1);
  const options = { name: "x.parquet", conf: { key: "id" }, maxRecordBytes: 8 << 20 };
  // two are read with the row that cannot be told
  assert.equal(await alike(bytes, options), 2);
});

Deno.test("spaces behind a quote that is a space are none", async () => {
  const conf = { key: "id", quote: " ", delimiter: "," };
  assert.equal(await alike("id,b\n a  ,b \n", { name: "x.csv", conf }), 0);
});

Deno.test("names that jsonb cannot hold, and values that cannot be told, are left to the reader of all rows", async () => {
  const of = (columnData: ColumnSource[]) =>
    alike(new Uint8Array(parquetWriteBuffer({ columnData })), {
      name: "x.parquet",
      conf: { key: "id" },
    });
  const id: ColumnSource = { name: "id", type: "STRING", data: ["a"] };
  assert.equal(await of([id, { name: "x\0y", type: "INT32", data: [1] }]), 0);
  assert.equal(await of([id, { name: "x", type: "INT32", data: [1] }]), 1);
});

Deno.test("members are sent in the order in which jsonb keeps them", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("x.ndjson", '{"ccc":3,"bb":1,"a":2,"ñ":4,"id":"x","z":5}\n');
  await Deno.mkdir(folder.ctx.spoolDir, { recursive: true });
  const source = { type: "file", path: "x.ndjson", name: "shop", key: "id" };
  await madeAlike({ source, ctx: folder.ctx }, "");
  const rows = new TextDecoder().decode(
    await Deno.readFile(`${folder.ctx.spoolDir}/3.rows`),
  );
  assert.ok(rows.includes('{"a":2,"z":5,"bb":1,"id":"x","ñ":4,"ccc":3}'), rows);
});

Deno.test("what is not UTF-8 is not flat, wherever it stands", async () => {
  const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
  const conf = { key: "id" };
  for (
    const line of [
      '"n":"\xff"',
      '"n":"\\u00e9\xff"',
      '"\xff":1',
      '"n":"\xed\xa0\x80"',
      '"n":"\xc0\xaf"',
    ]
  ) {
    assert.equal(await alike(bytes(`{"id":"a",${line}}\n`), { conf }), 0);
  }
  assert.equal(await alike(bytes("id,n\na,\xff\n"), { name: "x.csv", conf }), 0);
  // those before it are, in bytes that are
  assert.equal(await alike(bytes('{"id":"a"}\n{"id":"\xff"}\n'), { conf }), 1);
});

Deno.test("batches of many short records are flat, too", async () => {
  const lines = Array.from({ length: 6_000 }, (_, i) => `{"id":${i}}\n`);
  assert.equal(await alike(lines.join(""), { conf: { key: "id" } }), 6_000);
  const text = `id,n\n${Array.from({ length: 2_000 }, (_, i) => `${i},x\n`).join("")}`;
  assert.equal(await alike(text, { name: "x.csv", conf: { key: "id" } }), 2_000);
});

/** Whether a run makes rows of flat records. */
function takesFlat(
  source: Record<string, unknown>,
  { params = {}, ...options }: Partial<Omit<ChainOptions, "params">> & {
    params?: Record<string, unknown>;
  } = {},
): boolean {
  using chain = new RecordChain({
    sourceName: "shop",
    privacy: null,
    module: null,
    suite: null,
    maxPayloadBytes: 1_000,
    spillDir: "/nowhere",
    chunkNo: 0,
    orderRunId: "0198c0de-0000-7000-8000-000000000001",
    ...options,
    params: paramsSchema.parse({
      source: { type: "file", path: "x.ndjson", ...source },
      ...params,
    }),
  });
  return chain.takesFlat;
}

const TABLE: TypedTable = {
  source: "shop",
  key: ["id"],
  version: null,
  occurred_at: undefined,
  columns: [{ name: "id", path: "id", type: "text" }],
};

Deno.test("only runs in which nothing looks at records make rows of flat ones", () => {
  assert.equal(takesFlat({ key: "id" }), true);
  assert.equal(takesFlat({}), true);
  assert.equal(takesFlat({ key: "a\\.b", occurred_at: "at", version: "v" }), true);
  for (
    const source of [
      { key: "a.id" },
      { key: ["id", "a.b"] },
      { event_type: { field: "a.b" } },
      { occurred_at: "a.b" },
      { occurred_at: { field: "a.b", format: "iso" } },
      { version: "a.b" },
    ]
  ) assert.equal(takesFlat(source), false, JSON.stringify(source));
  assert.equal(takesFlat({ event_type: "é".repeat(200) }), true);
  assert.equal(takesFlat({ key: "id", version: "v" }, { params: { write: "history" } }), false);
  const deleted = { field: "gone", equals: true };
  assert.equal(takesFlat({ key: "id" }, { params: { deleted } }), false);
  assert.equal(takesFlat({ key: "id" }, { sourceName: "\ud800" }), false);
  assert.equal(
    takesFlat({ key: "id" }, { privacy: { exclude: ["a"], hash: [], key: "k" } as never }),
    false,
  );
  assert.equal(takesFlat({ key: "id" }, { suite: { name: "orders", expectations: [] } }), false);
  assert.equal(takesFlat({ key: "id" }, { module: {} as never }), false);
  assert.equal(takesFlat({ key: "id" }, { orderRunId: undefined } as never), false);
  assert.equal(takesFlat({ key: "id" }, { chunkNo: null }), false);
  assert.equal(takesFlat({ key: "id" }, { table: TABLE }), true);
  // while its columns are not known
  assert.equal(takesFlat({ key: "id" }, { typed: true }), false);
  assert.equal(takesFlat({}, { table: { ...TABLE, key: null } }), false);
  const nested = [...TABLE.columns, { name: "b", path: "a.b", type: "text" }];
  assert.equal(takesFlat({ key: "id" }, { table: { ...TABLE, columns: nested } }), false);
  const casts = { id: {} as never };
  assert.equal(takesFlat({ key: "id" }, { table: { ...TABLE, casts } }), false);
  assert.equal(takesFlat({ key: "id" }, { table: { ...TABLE, casts: {} } }), true);
});

Deno.test("what is too large to be looked at is read as any record is, and flat ones are looked for behind it", () => {
  const records = new FlatRecords();
  const looked = new Set<number>();
  const find = (from: number) => {
    assert.ok(!looked.has(from), `looked twice from ${from} on`);
    looked.add(from);
    records.clear(new Uint8Array(0));
    return { end: from, more: true };
  };
  const read: [number, number][] = [];
  const others = (from: number, to: number) => {
    read.push([from, to]);
    return [];
  };
  const batches = [...new MixedReader(records).batches({ from: 3, to: 20, find, others })];
  assert.equal(batches.length, read.length);
  assert.deepEqual(read, [[3, 5], [5, 9], [9, 17], [17, 20]]);
});

Deno.test("of a Parquet file texts and enumerations are flat as they are stored, bytes and JSON what they are", async () => {
  const bytes = (...units: number[]) => Uint8Array.from(units);
  const leaf = (name: string, converted_type?: "UTF8" | "ENUM" | "JSON") => ({
    name,
    type: "BYTE_ARRAY" as const,
    repetition_type: "OPTIONAL" as const,
    ...(converted_type === undefined ? {} : { converted_type }),
  });
  const of = (type: ReturnType<typeof leaf>, data: unknown[]) =>
    alike(
      new Uint8Array(parquetWriteBuffer({
        schema: [{ name: "root", num_children: 2 }, leaf("id", "UTF8"), type],
        columnData: [{ name: "id", data: data.map((_, i) => `ké${i}`) }, {
          name: "v",
          data,
        }] as ColumnSource[],
      })),
      { name: "x.parquet", conf: { key: "id" } },
    );
  const texts = [bytes(65), bytes(), null, bytes(0xc3, 0xa9), bytes(0xef, 0xbb, 0xbf, 65)];
  const odd = [[34], [92], [31], [0], [0xff], [0xed, 0xa0, 0x80], [0xc3]];
  for (const type of ["UTF8", "ENUM"] as const) {
    assert.equal(await of(leaf("v", type), texts), texts.length, type);
    for (const units of odd) {
      assert.equal(await of(leaf("v", type), [bytes(...units)]), 0, `${type} ${units}`);
    }
  }
  assert.equal(await of(leaf("v"), [bytes(65), bytes(0xff), bytes()]), 3);
  assert.equal(await of(leaf("v", "JSON"), ["a text", 1, { a: 1 }]), 2);
});
