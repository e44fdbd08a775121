import assert from "node:assert/strict";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { compileMapping } from "../../pipeline/mapping.ts";
import { normalNumber, setDigits } from "../../pipeline/numbers.ts";
import { addRepeated } from "../../pipeline/sources/repeated_names.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { gzipSync } from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import type { Params } from "../../pipeline/params.ts";
import { preview } from "../../pipeline/preview.ts";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { type ReadAll, readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

async function read(content: string | Uint8Array, maxRecordBytes = 1 << 20): Promise<ReadAll> {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", content);
  folder.ctx.limits.maxRecordBytes = maxRecordBytes;
  return await readAll({ type: "file", path: "a.ndjson" }, folder.ctx);
}

Deno.test("NDJSON: blank lines, CRLF, a BOM and a missing last newline are no records", async () => {
  const { records, unreadable } = await read('\ufeff{"a":1}\r\n\r\n \t\n{"a":2}\n\n{"a":3}');
  assert.deepEqual(records, [{ a: 1 }, { a: 2 }, { a: 3 }]);
  assert.deepEqual(unreadable, []);
});

Deno.test("NDJSON: an empty file has no records", async () => {
  const { plan, records } = await read("");
  assert.deepEqual([plan.slices, records], [[], []]);
});

/** A record whose numbers were written with other digits than their doubles print. */
function withDigits(record: SourceRecord, digits: Record<string, string>): SourceRecord {
  for (const [name, text] of Object.entries(digits)) {
    setDigits(record, name, text, { byValue: true });
  }
  return record;
}

Deno.test("NDJSON: every digit of a number is kept, into payload and key", async () => {
  const texts = [
    ...["883406386745030.3", "9007199254740993.5", "50000.0000000000000001"],
    ...["0.12345678901234567890", "12345678901234567.89", "1234567899517.12991", "1e-400"],
    ...["123456789012345678e0", "-0.1000000000000000055511151231257827", "9007199254740991.4"],
    ...["1e400", "12e-30", "5e-324", "4.9e-324"],
  ];
  const { records } = await read(texts.map((text) => `{"v":${text},"l":[1,${text}]}\n`).join(""));
  const canonical = new Canonicalizer();
  for (const [i, text] of texts.entries()) {
    const written = canonical.text(records[i]!);
    const [, first, second] = /"l":\[1,(.*)\],"v":(.*)\}$/.exec(written)!;
    for (const own of [first!, second!]) assert.equal(normalNumber(own), normalNumber(text), text);
  }
  // what a double prints as it is written, or with fewer zeros, is today's text
  const { records: plain } = await read('{"a":12.0,"b":0.30000000000000004,"c":1.50,"d":-0.0}\n');
  assert.equal(canonical.text(plain[0]!), '{"a":12,"b":0.30000000000000004,"c":1.5,"d":0}');
});

Deno.test("NDJSON: one number is one key however it is written, a text is itself", () => {
  const { eventId } = compileMapping({ key: "k" });
  const key = (json: string) => eventId!(parseJson(`{"k":${json}}`) as SourceRecord);
  const one = (...numbers: string[]) => {
    assert.deepEqual([...new Set(numbers.map(key))], [normalNumber(numbers[0]!)]);
  };
  one("1", "1.0", "1.00", "1e0", "10e-1", "1.00000000000000000000");
  one("1e21", "1000000000000000000000", "1000000000000000000000.0", "10E20");
  one("0.1234567890123456789", "0.12345678901234567890", "1234567890123456789e-19");
  one("1e-7", "0.0000001");
  one("0", "-0.0", "0e7");
  one("1e50", `1${"0".repeat(50)}`, `1${"0".repeat(50)}.0`);
  one("12345678901234567.89", "12345678901234567.890");
  assert.equal(key("1e21"), "1000000000000000000000");
  assert.equal(key("1e50"), "1e+50");
  assert.equal(key("1.5e-60"), "1.5e-60");
  assert.equal(key(`${"7".repeat(77)}0`), `${"7".repeat(77)}0`);
  for (const text of ["1.0", "1e21", " a", "007", "-0"]) {
    assert.equal(key(JSON.stringify(text)), text);
  }
});

Deno.test("NDJSON: integers keep every digit, also as keys of slow lines", async () => {
  const { records } = await read(
    '{"a":9007199254740993,"b":[-12345678901234567890],"c":{"d":9007199254740992}}\n' +
      '{"a": 1e21, "b": 0.12345678901234567890, "c": "12345678901234567890", "d": 9007199254740991}\n',
  );
  assert.deepEqual(records, [
    { a: 9007199254740993n, b: [-12345678901234567890n], c: { d: 9007199254740992n } },
    withDigits(
      { a: 1e21, b: 0.12345678901234568, c: "12345678901234567890", d: 9007199254740991 },
      { b: "0.12345678901234567890" },
    ),
  ]);
  // what a number is does not depend on its neighbours
  for (const neighbour of ["", '{"x":0.12345678901234567890}\n']) {
    const { records: own } = await read(`${neighbour}{"a":9007199254740992,"b":1e22}\n`);
    assert.deepEqual(own.at(-1), { a: 9007199254740992n, b: 1e22 });
  }
});

Deno.test("NDJSON: numbers that are not finite are quarantined, not turned to null", async () => {
  const huge = "9".repeat(400);
  const { records, unreadable } = await read(
    `{"a":1e1400}\n{"a":-1E+2999}\n{"a":1e308}\n{"a":NaN}\n{"a":${huge}}\n{"a":[ 12e3456 ]}\n` +
      `{"a":1.5e400}\n{"a":${"9".repeat(1_001)}}\n{"a":1e-2000}\n{"a":${huge}.5}\n`,
  );
  assert.deepEqual(records, [
    { a: 1e308 },
    { a: BigInt(huge) },
    { a: 15n * 10n ** 399n },
  ]);
  assert.deepEqual(
    unreadable.map(({ rule }) => rule),
    ["number_range", "number_range", "json_syntax", ...Array(4).fill("number_range")],
  );
  assert.match(unreadable[0]!.message, /^line 1 of a\.ndjson: number 1e1400 is out of range/);
});

Deno.test("NDJSON: what is no JSON object says where and why, and keeps its text", async () => {
  const { records, unreadable } = await read('{"a":1}\n{"a":\n[1]\n"x"\nnull\n{"a":2}\n');
  assert.deepEqual(records, [{ a: 1 }, { a: 2 }]);
  assert.deepEqual(
    unreadable.map(({ rule, raw }) => [rule, raw]),
    [["json_syntax", '{"a":'], ["not_an_object", "[1]"], ["not_an_object", '"x"'], [
      "not_an_object",
      "null",
    ]],
  );
  assert.deepEqual(unreadable.map(({ message }) => message), [
    "line 2 of a.ndjson: not valid JSON: Unexpected end of JSON input",
    "line 3 of a.ndjson: a record must be a JSON object, this is an array",
    "line 4 of a.ndjson: a record must be a JSON object, this is a string",
    "line 5 of a.ndjson: a record must be a JSON object, this is null",
  ]);
  // what other programs take for blank is no JSON, and the place within a line is none of the file
  const odd = await read('\f\n\u00a0\n{"a" 1}\r\n');
  assert.deepEqual(odd.unreadable.map(({ rule, raw }) => [rule, raw]), [
    ["json_syntax", "\f"],
    ["json_syntax", "\u00a0"],
    ["json_syntax", '{"a" 1}\r'],
  ]);
  for (const { message } of odd.unreadable) assert.doesNotMatch(message, /line 1 column/);
});

Deno.test("NDJSON: invalid UTF-8 costs its own line only", async () => {
  const bytes = Uint8Array.from([
    ...new TextEncoder().encode('{"a":"é"}\n \t\r\n{"a":"'),
    0xe9,
    ...new TextEncoder().encode('"}\n{"a":"ü"}\n'),
  ]);
  const { records, unreadable } = await read(bytes);
  assert.deepEqual(records, [{ a: "é" }, { a: "ü" }]);
  assert.equal(unreadable[0]!.rule, "encoding");
  assert.deepEqual(unreadable.length, 1);
  assert.match(unreadable[0]!.message, /^line 3 of a\.ndjson/);
});

Deno.test("NDJSON: hostile keys change nothing but their own record", async () => {
  const { records } = await read(
    '{"__proto__":{"polluted":1},"constructor":2}\n{"a":1,"a":2}\n' +
      '{"__proto__":1,"n":12345678901234567890}\n',
  );
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.deepEqual(Object.keys(records[0]!), ["__proto__", "constructor"]);
  assert.deepEqual(records[1], { a: 2 });
  assert.deepEqual(Object.keys(records[2]!), ["__proto__", "n"]);
});

Deno.test("NDJSON: a line beyond the limit is quarantined without being held", async () => {
  const long = JSON.stringify({ text: "x".repeat(5 << 20) });
  const { records, unreadable } = await read(`{"a":1}\n${long}\n{"a":2}\n${long}`, 10_000);
  assert.deepEqual(records, [{ a: 1 }, { a: 2 }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["record_too_long", "record_too_long"]);
  assert.match(unreadable[0]!.message, /a record of 52428\d\d bytes; the limit is 10000/);
  assert.ok(unreadable[0]!.raw.length <= 4_096);
});

Deno.test("NDJSON: a line of exactly the limit is read", async () => {
  const [line, longer] = [6_000, 6_001].map((n) => JSON.stringify({ text: "x".repeat(n) }));
  const { records, unreadable } = await read(`${line}\n${longer}\n${line}\n`, line!.length);
  assert.equal(records.length, 2);
  assert.deepEqual(unreadable.map(({ rule, raw }) => [rule, raw.length]), [[
    "record_too_long",
    4_096,
  ]]);
});

Deno.test("NDJSON: a file that changes while it is read fails, also at its end", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", '{"a":1}\n'.repeat(10_000));
  const conf = sourceConf({ type: "file", path: "a.ndjson" });
  const { slices } = await planSource(conf, folder.ctx);
  const path = `${folder.ctx.dataDir}/a.ndjson`;
  let read = 0;
  await assert.rejects(async () => {
    for await (const batch of readSource(conf, slices[0]!, folder.ctx)) {
      if (read === 0) await Deno.writeTextFile(path, '{"a":2}\n', { append: true });
      read += batch.length;
    }
  }, (error: Problem) => error.type === "source-changed");
  assert.equal(read, 10_000);
});

Deno.test("NDJSON: a later slice knows its lines, too", async () => {
  await using folder = await SourceFolder.create();
  const line = `${JSON.stringify({ text: "x".repeat(1_000) })}\n`;
  const lines = line.repeat(40_000);
  await folder.write("big.ndjson", `${lines}broken\n`);
  const { plan, unreadable } = await readAll({ type: "file", path: "big.ndjson" }, folder.ctx);
  assert.ok(plan.slices.length > 1);
  assert.match(unreadable[0]!.message, /^line 40001 of big\.ndjson/);
});

Deno.test("NDJSON: slices without chunk_size hold at most about 50,000 records or 16 MiB", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("small.ndjson", '{"a":1}\n'.repeat(200_000));
  const small = await readAll({ type: "file", path: "small.ndjson" }, folder.ctx);
  assert.equal(small.records.length, 200_000);
  for (const slice of small.slices) assert.ok(slice.length <= 51_000, String(slice.length));
  assert.ok(small.slices.length <= 5);
});

Deno.test("NDJSON: many small files share a slice, and keep their order", async () => {
  await using folder = await SourceFolder.create();
  for (let i = 0; i < 30; i++) {
    await folder.write(`d/${String(i).padStart(2, "0")}.ndjson`, `{"i":${i}}\n{"i":${i}.5}`);
  }
  const { slices, records } = await readAll({ type: "file", path: "d/*.ndjson" }, folder.ctx);
  assert.equal(slices.length, 1);
  assert.deepEqual(
    records.map(({ i }) => i),
    Array.from({ length: 60 }, (_, i) => i / 2).map((x) =>
      Number.isInteger(x) ? x : Math.floor(x) + 0.5
    ),
  );
  const counted = await readAll({ type: "file", path: "d/*.ndjson" }, {
    ...folder.ctx,
    chunkSize: 7,
  });
  assert.deepEqual(counted.slices.map((slice) => slice.length), [7, 7, 7, 7, 7, 7, 7, 7, 4]);
  assert.deepEqual(counted.records, records);
  assert.equal(counted.plan.records, 60);
});

Deno.test("gzip: read whole, several members too; truncated or damaged data fails the run", async () => {
  await using folder = await SourceFolder.create();
  const member = gzipSync('{"a":1}\n');
  const long = gzipSync(Array.from({ length: 1_000 }, (_, i) => `{"a":${i}}`).join("\n"));
  await folder.write("ok.ndjson.gz", new Uint8Array([...member, ...member]));
  await folder.write("cut.ndjson.gz", long.subarray(0, long.length - 20));
  const damaged = Uint8Array.from(long);
  damaged.fill(0xff, 100, 120);
  await folder.write("bad.ndjson.gz", damaged);

  const { records } = await readAll({ type: "file", path: "ok.ndjson.gz" }, folder.ctx);
  assert.deepEqual(records, [{ a: 1 }, { a: 1 }]);
  const failing = (path: string, message: RegExp) =>
    assert.rejects(
      readAll({ type: "file", path }, folder.ctx),
      (error) =>
        error instanceof Problem && error.type === "source-unreadable" &&
        message.test(error.message),
    );
  await failing("cut.ndjson.gz", /^cut\.ndjson\.gz: the gzip data ends too early/);
  await failing("bad.ndjson.gz", /^bad\.ndjson\.gz: the gzip data is damaged/);
});

Deno.test("gzip: data that unpacks beyond the limit is refused, and leaves nothing behind", async () => {
  await using folder = await SourceFolder.create();
  folder.ctx.limits.maxSpoolBytes = 1 << 20;
  await folder.write("bomb.ndjson.gz", gzipSync(new Uint8Array(50 << 20)));
  await assert.rejects(
    readAll({ type: "file", path: "bomb.ndjson.gz" }, folder.ctx),
    (error) =>
      error instanceof Problem && /more than 1048576 bytes when unpacked/.test(error.message),
  );
  assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.ctx.spoolDir)), []);
});

Deno.test("text of another encoding is read as what the conf says", async () => {
  await using folder = await SourceFolder.create();
  await folder.write(
    "latin.ndjson",
    Uint8Array.from('{"a":"é€"}\n', (c) => c === "€" ? 0x80 : c.charCodeAt(0)),
  );
  const utf16 = new Uint8Array(
    new Uint16Array([...'\ufeff{"a":"é"}\n'].map((c) => c.charCodeAt(0))).buffer,
  );
  await folder.write("utf16.ndjson", utf16);
  const latin = await readAll(
    { type: "file", path: "latin.ndjson", encoding: "latin1" },
    folder.ctx,
  );
  assert.deepEqual(latin.records, [{ a: "é€" }]);
  await folder.write("P.csv", Uint8Array.from("Prénom\nZoé\n", (c) => c.charCodeAt(0)));
  const csv = await readAll({ type: "file", path: "P.csv", encoding: "latin1" }, folder.ctx);
  assert.deepEqual(csv.records, [{ "Prénom": "Zoé" }]);
  const wide = await readAll(
    { type: "file", path: "utf16.ndjson", encoding: "utf-16le" },
    folder.ctx,
  );
  assert.deepEqual(wide.records, [{ a: "é" }]);
  const told = await readAll({ type: "file", path: "utf16.ndjson" }, folder.ctx);
  assert.deepEqual(told.records, [{ a: "é" }]);
  await folder.write("unmarked.ndjson", utf16.subarray(2));
  await assert.rejects(
    readAll({ type: "file", path: "unmarked.ndjson" }, folder.ctx),
    (error) => error instanceof Problem && /Set source\.encoding to "utf-16le"/.test(error.message),
  );
});

const paramsOf = (source: Record<string, unknown>) =>
  ({ source: sourceConf(source), run_label: "test", transform: null }) as unknown as Params;

Deno.test("NDJSON: a name that an object has twice is counted, and told with its line", async () => {
  await using folder = await SourceFolder.create();
  const repeated = async (content: string) => {
    await folder.write("a.ndjson", content);
    const conf = sourceConf({ type: "file", path: "a.ndjson" });
    const { slices } = await planSource(conf, folder.ctx);
    const batches = [];
    for (const slice of slices) {
      for await (const batch of readSource(conf, slice, folder.ctx)) batches.push(batch);
    }
    return batches.map(({ repeatedNames }) => repeatedNames).reduce(addRepeated, undefined);
  };
  const texts = [
    '{"foo":0}',
    '{"foo":1,"bar":2,"foo":3}',
    '{"foo" \t: 2, "bar":[{"a":1},{"a":2}]}',
    '{"foo":9,"k":{"a":1,"\\u0061":2}}',
    '{"text":"\\":\\",\\"foo\\":1","foo":":"}',
    '{"broken":1,"broken":',
    '{"a":[[{"x":1,"x" :2}]],"__proto__":1,"__proto__":2}',
  ];
  const example = '"foo" in line 2 of a.ndjson';
  assert.deepEqual(await repeated(texts.join("\n")), { records: 3, example });
  assert.deepEqual(await repeated([texts[0], texts[2], texts[4]].join("\n")), undefined);
  // lines that are looked at one by one
  assert.deepEqual(
    await repeated(`{"t":"${"x".repeat(2 << 20)}"}\n${texts[1]}\n`),
    { records: 1, example },
  );
  const { warnings } = await preview({
    mostRecords: null,
    privacy: null,
    suite: null,
    params: paramsOf({ type: "file", path: "a.ndjson" }),
    transformsDir: folder.path,
    sourcesDir: folder.path,
    source: folder.ctx,
  }, null);
  assert.match(warnings.join(), /1 record has a name twice in one object.*"foo" in line 2/);
});

Deno.test("NDJSON: nesting beyond every limit is quarantined with the text of the file", async () => {
  await using folder = await SourceFolder.create();
  const deep = (levels: number) =>
    `{"id":1,"d":${"[".repeat(levels)}0.12345678901234567890${"]".repeat(levels)}}`;
  const lines = [deep(1_500), deep(200_000), `{"id":2,"d":"${"é".repeat(10)}\\u0000"}`, '{"id":3}'];
  await folder.write("deep.ndjson", lines.join("\n"));
  const { rejected, counts } = await preview({
    mostRecords: null,
    privacy: null,
    suite: null,
    params: paramsOf({ type: "file", path: "deep.ndjson", key: "id" }),
    transformsDir: folder.path,
    sourcesDir: folder.path,
    source: folder.ctx,
  }, null);
  assert.equal(counts.events, 1);
  assert.deepEqual(
    rejected.map(({ line, file }) => [line, file]),
    [1, 2, 3].map((line) => [line, "deep.ndjson"]),
  );
  for (const [i, { raw }] of rejected.entries()) {
    assert.ok(raw === lines[i] || raw === `${lines[i]!.slice(0, 2_000)}…`, raw.slice(0, 100));
  }
});
