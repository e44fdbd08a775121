import assert from "node:assert/strict";
import fc from "fast-check";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { compileMapping } from "../../pipeline/mapping.ts";
import { mappingOf } from "../../pipeline/sources/adapters.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { Transformer } from "../../pipeline/stages/transform.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

type Conf = Record<string, unknown>;

async function read(content: string, conf: Conf = {}) {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv", content);
  return await readAll({ type: "file", path: "a.csv", ...conf }, folder.ctx);
}

/** The canonical payloads of a file: what its rows hold. */
async function payloads(content: string, conf: Conf = {}): Promise<string[]> {
  const { records, unreadable } = await read(content, conf);
  assert.deepEqual(unreadable, []);
  return records.map((record) => new Canonicalizer().text(record));
}

function keysOf(records: SourceRecord[], key: string): string[] {
  const { eventId } = compileMapping({ key });
  return records.map((record) => eventId!(record));
}

/** JSON of one cell by the rule of docs/values.md, written down once more: as slow and plain as it can be. */
function expectedCell(text: string): string {
  if (text === "") return "null";
  if (text === "true" || text === "false") return text;
  const digits = (part: string) => part !== "" && [...part].every((c) => c >= "0" && c <= "9");
  const bare = text.startsWith("-") ? text.slice(1) : text;
  const [whole, fraction, ...more] = bare.split(".");
  const number = more.length === 0 && digits(whole!) && (whole === "0" || whole![0] !== "0") &&
    (fraction === undefined || digits(fraction));
  return number ? text : JSON.stringify(text);
}

const cell = fc.oneof(
  fc.constantFrom("", "true", "false", "True", "null", "02134", "+5", "1e3", ".5", "5.", "-", "-0"),
  fc.constantFrom("19.90", "250.0", "1.10", "-0.00", "1E5", "0.0000001", "NaN", " 1", "1 "),
  fc.stringMatching(/^-?[0-9]{1,40}$/),
  fc.stringMatching(/^-?[0-9]{1,30}\.[0-9]{1,30}$/),
  fc.double({ noNaN: true }).map(String),
  fc.bigInt().map(String),
  fc.string({ maxLength: 5 }).filter((text) => !/[\r\n",\ufeff\ud800-\udfff]/.test(text)),
);

Deno.test("CSV: every cell becomes what itself says, with its digits, whatever stands around it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 12 }),
      fc.constantFrom("\n", "\r\n"),
      fc.boolean(),
      async (rows, end, quoted) => {
        const write = (text: string) => quoted ? `"${text}"` : text;
        const content = "a,b" + end + rows.map((row) => row.map(write).join(",") + end).join("");
        assert.deepEqual(
          await payloads(content),
          rows.map(([a, b]) => `{"a":${expectedCell(a)},"b":${expectedCell(b)}}`),
        );
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("CSV: a key is its cell's own text, alone and beside others", async () => {
  const number = fc.stringMatching(/^-?(?:0|[1-9][0-9]{0,20})(?:\.[0-9]{1,20})?$/);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(number, cell), { minLength: 1 }), async (codes) => {
      const keyed = codes.filter((code) => code !== "");
      const { records } = await read("code,n\n" + keyed.map((code) => `${code},1\n`).join(""));
      assert.deepEqual(keysOf(records, "code"), keyed);
    }),
    { numRuns: 100 },
  );
  const { records } = await read("code,name\n250.0,a\n250.00,b\n1.1,c\n1.10,d\n2.5,e\n");
  assert.deepEqual(keysOf(records, "code"), ["250.0", "250.00", "1.1", "1.10", "2.5"]);
  // a number that JSON would write with an exponent
  const long = `1${"0".repeat(45)}`;
  const { records: longs } = await read(`code,name\n${long},a\n1e+45,b\n`);
  assert.deepEqual(keysOf(longs, "code"), [long, "1e+45"]);
});

/** Keys and fingerprints of a file's events. */
async function events(content: string, conf: Conf = {}): Promise<string[]> {
  const { records } = await read(content, conf);
  const source = sourceConf({ type: "file", path: "a.csv", ...conf });
  const transformer = new Transformer({ mapping: mappingOf(source), sourceName: "s" });
  return transformer.batch(records, 0).events
    .map(({ eventId, fingerprint }) => `${eventId} ${fingerprint}`);
}

Deno.test("CSV: rows that other files or other rows change nothing in stay as they are", async () => {
  const monday = "zip,city\n10001,New York\n90210,Beverly Hills\n";
  const tuesday = `${monday}02134,Boston\n`;
  assert.deepEqual((await events(tuesday)).slice(0, 2), await events(monday));
  const keyed = { key: "city" };
  assert.deepEqual((await events(tuesday, keyed)).slice(0, 2), await events(monday, keyed));
  const codes = await events("code,name\n250.0,D\n401.10,H\n", { key: "code" });
  const more = await events("code,name\n250.0,D\n401.10,H\nV10.1,X\n", { key: "code" });
  assert.deepEqual(more.slice(0, 2), codes);
});

Deno.test("CSV: without a key, records that are written differently are different records", async () => {
  const [a, b] = await events("v\n1.10\n1.1\n");
  assert.notEqual(a!.split(" ")[0], b!.split(" ")[0]);
});

Deno.test("CSV: a number of too many digits is rejected, and says what to do", async () => {
  const { records, unreadable } = await read(
    `id,n\n1,${"9".repeat(200_000)}\n2,${"9".repeat(900)}\n`,
  );
  assert.equal(records.length, 1);
  assert.equal(records[0]!.n, BigInt("9".repeat(900)));
  assert.deepEqual(unreadable.map(({ rule, field }) => [rule, field]), [["number_digits", "n"]]);
  assert.match(unreadable[0]!.message, /^line 2 of a\.csv: .*200000 characters.*declare/);
  const text = await read(`id,n\n1,${"9".repeat(2_000)}\n`, { columns: { n: "text" } });
  assert.equal((text.records[0]!.n as string).length, 2_000);
});

const TYPED = {
  columns: {
    price: "numeric(12,2)",
    sold: { type: "date", format: "%d/%m/%Y" },
    amount: { type: "numeric", decimal: ",", thousands: "." },
    zip: "text",
    ok: "boolean",
    n: "integer",
    at: "timestamptz",
    extra: "jsonb",
  },
  null_values: ["NA"],
  delimiter: ";",
};
const HEADER = "price;sold;amount;zip;ok;n;at;extra\n";

Deno.test("CSV: a date may have a midnight, and no other time, which would be lost", async () => {
  const columns = { columns: { d: "date" } };
  assert.deepEqual((await read("d\n2026-01-31T00:00:00\n2026-02-01\n", columns)).records, [
    { d: "2026-01-31" },
    { d: "2026-02-01" },
  ]);
  const { unreadable } = await read("d\n2026-01-31T10:00:00\n", columns);
  assert.deepEqual(unreadable.map(({ rule, field }) => [rule, field]), [["column_type", "d"]]);
});

Deno.test("CSV: declared columns are read as declared", async () => {
  assert.deepEqual(
    await payloads(
      HEADER +
        '19.90;31/01/2026;1.234.567,50;02134;Y;007;2026-01-31T23:59:59+01:00;"{""a"": [1]}"\n' +
        "+5;01/02/2026;-0,5;1e3;0;-12.0;2026-02-01;null\n" +
        ";;NA;NA;;;;\n",
      TYPED,
    ),
    [
      '{"amount":1234567.50,"at":"2026-01-31T22:59:59Z","extra":{"a":[1]},"n":7,"ok":true,' +
      '"price":19.90,"sold":"2026-01-31","zip":"02134"}',
      '{"amount":-0.5,"at":"2026-02-01T00:00:00Z","extra":null,"n":-12,"ok":false,"price":5,' +
      '"sold":"2026-02-01","zip":"1e3"}',
      '{"amount":null,"at":null,"extra":null,"n":null,"ok":null,"price":null,"sold":null,"zip":null}',
    ],
  );
});

Deno.test("CSV: a number of a declared column keeps its digits, alone in a jsonb cell and beyond what a double holds", async () => {
  assert.deepEqual(
    await payloads(
      'n;doc\n1e400;12345678901234567890.10\n-1e400;" 1e400"\n1e-400;[1.10,12345678901234567.10]\n',
      { delimiter: ";", columns: { n: "numeric", doc: "jsonb" } },
    ),
    [
      `{"doc":12345678901234567890.10,"n":1${"0".repeat(400)}}`,
      `{"doc":1${"0".repeat(400)},"n":-1${"0".repeat(400)}}`,
      `{"doc":[1.1,12345678901234567.10],"n":1e-400}`,
    ],
  );
});

Deno.test("CSV: a cell that does not fit is quarantined with its field, itself and what would be right", async () => {
  const row = ["1", "31/01/2026", "1,5", "z", "t", "1", "2026-01-31", "1"];
  const wrong: [column: number, cell: string, right: RegExp][] = [
    [0, "1.005", /numeric\(12,2\).*round/],
    [0, "12345678901.00", /numeric\(12,2\)/],
    [0, "abc", /numeric\(12,2\) such as 1234\.50/],
    [1, "2026-01-31", /date of the form %d\/%m\/%Y/],
    [1, "30/02/2026", /date/],
    [2, "1.5", /numeric such as 1\.234,50/],
    [2, "1.2.345", /numeric/],
    [4, "maybe", /boolean: true, t, yes/],
    [5, "1.5", /integer/],
    [5, "9223372036854775808", /integer.*64 bits/],
    [6, "yesterday", /timestamptz such as 2026/],
    [6, "2026-01-31T10:00:00.1234567Z", /more than 6 decimals.*timestamptz/],
    [7, "{", /JSON/],
    [7, '[{"a": {"b": 1, "b": 2}}]', /the name "b" twice/],
  ];
  for (const [column, cell, right] of wrong) {
    const cells = row.with(column, cell).join(";");
    const { records, unreadable } = await read(HEADER + cells + "\n", TYPED);
    assert.deepEqual(records, [], cell);
    const [bad] = unreadable;
    assert.equal(bad!.rule, "column_type");
    assert.equal(bad!.field, HEADER.trim().split(";")[column]);
    assert.ok(bad!.message.startsWith(`line 2 of a.csv: column ${bad!.field}: `), bad!.message);
    assert.ok(bad!.message.includes(JSON.stringify(cell)), bad!.message);
    assert.match(bad!.message, right);
  }
});

Deno.test("declared columns are read in JSON as well; numbers keep what they are", async () => {
  await using folder = await SourceFolder.create();
  await folder.write(
    "a.ndjson",
    [
      '{"p":"1.234,50","q":2.5,"z":7}',
      '{"p":"x","q":1,"z":"a"}',
      '{"q":1,"z":0.12345678901234567891}',
      "",
    ]
      .join("\n"),
  );
  const { records, unreadable } = await readAll({
    type: "file",
    path: "a.ndjson",
    columns: { p: { type: "numeric", decimal: ",", thousands: "." }, z: "text" },
  }, folder.ctx);
  assert.deepEqual(records.map((record) => new Canonicalizer().text(record)), [
    '{"p":1234.50,"q":2.5,"z":"7"}',
    '{"q":1,"z":"0.12345678901234567891"}',
  ]);
  assert.deepEqual(unreadable.map(({ field }) => field), ["p"]);
});

Deno.test("words for yes and no are those of the column, else of the source, else the usual ones", async () => {
  const text = "a,b,c\nja,si,YES\nnein,no,off\nyes,ja,ja\n";
  const { records, unreadable } = await read(text, {
    columns: {
      a: "boolean",
      b: { type: "boolean", true_values: ["si"], false_values: ["no"] },
      c: "text",
    },
    true_values: ["ja"],
    false_values: ["nein"],
  });
  assert.deepEqual(records, [{ a: true, b: true, c: "YES" }, { a: false, b: false, c: "off" }]);
  assert.deepEqual(unreadable.map(({ field }) => field), ["a"]);
  const usual = await read("a\nYES\nOff\n1\nja\n", { columns: { a: "boolean" } });
  assert.deepEqual(usual.records, [{ a: true }, { a: false }, { a: true }]);
  assert.equal(usual.unreadable.length, 1);
});

Deno.test("a declaration that cannot be read is refused; one of no column is warned of", async () => {
  await assert.rejects(
    read("a\n1\n", { columns: { a: { type: "date", format: "%H:%M" } } }),
    /says no whole day/,
  );
  await assert.rejects(read("a\n1\n", { columns: { a: { type: "date", format: "%Q" } } }), /%Q/);
  await assert.rejects(read("a\n1\n", { columns: { a: "varchar" } }), /text, integer, numeric/);
  const { plan } = await read("a\n1\n", { columns: { b: "text" } });
  assert.match(plan.warnings.join(), /declares b, which is the name of no column/);
});
