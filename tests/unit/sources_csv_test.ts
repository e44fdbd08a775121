import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { type ReadAll, readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

async function read(
  content: string | Uint8Array,
  conf: Record<string, unknown> = {},
  maxRecordBytes = 1 << 20,
): Promise<ReadAll> {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv", content);
  folder.ctx.limits.maxRecordBytes = maxRecordBytes;
  return await readAll({ type: "file", path: "a.csv", ...conf }, folder.ctx);
}

async function refused(content: string, conf: Record<string, unknown> = {}): Promise<string> {
  const error = await read(content, conf).then(() => assert.fail("was read"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error.message;
}

Deno.test("CSV: header, quotes, newlines in quotes, BOM and CRLF", async () => {
  const { records, unreadable } = await read(
    '\ufeffid, "name" ,note\r\n1,"a, ""b""","x\r\ny"\r\n\r\n2,plain 5" pipe,\r\n3,"","z"',
  );
  assert.deepEqual(unreadable, []);
  assert.deepEqual(records, [
    { id: 1, '"name"': 'a, "b"', note: "x\r\ny" },
    { id: 2, '"name"': 'plain 5" pipe', note: null },
    { id: 3, '"name"': null, note: "z" },
  ]);
});

Deno.test("CSV: a ragged row is quarantined, with its line and text", async () => {
  const { records, unreadable } = await read('a,b\n1,"x\ny"\n3\n4,5,6\n7,8\n');
  assert.deepEqual(records, [{ a: 1, b: "x\ny" }, { a: 7, b: 8 }]);
  assert.deepEqual(unreadable.map(({ rule, raw }) => [rule, raw]), [["csv_columns", "3"], [
    "csv_columns",
    "4,5,6",
  ]]);
  assert.equal(unreadable[0]!.message, "line 4 of a.csv: 1 field, the header has 2");
  assert.equal(unreadable[1]!.message, "line 5 of a.csv: 3 fields, the header has 2");
});

Deno.test("CSV: text after a closing quote is quarantined", async () => {
  const { records, unreadable } = await read('a,b\n"x"y,1\n"ok",2\n"x"y",3\n');
  assert.deepEqual(records, [{ a: "ok", b: 2 }]);
  assert.deepEqual(unreadable.map(({ rule, raw }) => [rule, raw]), [["csv_quotes", '"x"y,1'], [
    "csv_quotes",
    '"x"y",3',
  ]]);
});

Deno.test("CSV: invalid UTF-8 costs its own record only", async () => {
  const bytes = Uint8Array.from("a,b\nx,é\ny,z\n", (c) => c.charCodeAt(0));
  const { records, unreadable } = await read(bytes);
  assert.deepEqual(records, [{ a: "y", b: "z" }]);
  assert.equal(unreadable[0]!.rule, "encoding");
  assert.deepEqual((await read(bytes, { encoding: "latin1" })).records[0], { a: "x", b: "é" });
});

Deno.test("CSV: a record beyond the limit is quarantined", async () => {
  const long = `"${"x\n".repeat(2 << 20)}"`;
  const { records, unreadable } = await read(`a,b\n1,2\n${long},3\n4,5\n`, {}, 100_000);
  assert.deepEqual(records, [{ a: 1, b: 2 }, { a: 4, b: 5 }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["record_too_long"]);
});

Deno.test("CSV: what cannot be a table is refused with the reason", async () => {
  assert.match(await refused("a,b,a\n1,2,3\n"), /names the column "a" twice/);
  assert.match(
    await refused("a,,c\n1,2,3\n"),
    /column 2 of the header has no name.*source\.skip_lines 1/,
  );
  assert.match(await refused("a;b\n1;2\n"), /Set source\.delimiter to ";"/);
  assert.deepEqual((await read("a;b,c\n1,2\n")).records, [{ "a;b": 1, c: 2 }]);
  assert.match(await refused("a,b\r1,2\r3,4\r"), /lines end in CR alone/);
  assert.match(
    await refused('a,b\n1,"2\n3,4\n'),
    /a quoted field that begins in line 2 is never closed/,
  );
  assert.match(await refused("a,__proto__\n1,2\n"), /__proto__/);
  assert.match(await refused("a,b\n", { delimiter: '"' }), /source\.delimiter must be/);
});

Deno.test("CSV: delimiters of one's own, and TSV", async () => {
  assert.deepEqual((await read("a;b\n1;x,y\n", { delimiter: ";" })).records, [{ a: 1, b: "x,y" }]);
  assert.deepEqual((await read("a\tb\n\t\n1\t2\n", { format: "tsv" })).records, [
    { a: null, b: null },
    { a: 1, b: 2 },
  ]);
});

Deno.test("CSV: a file without rows has no records, an empty one is warned of", async () => {
  const bare = await read("a,b\n");
  assert.deepEqual(bare.plan.slices, []);
  assert.match(bare.plan.warnings.join(), /^a\.csv: a header \(a, b…\) and no records/);
  assert.deepEqual((await read("")).plan.warnings, ["a.csv: the file is empty."]);
});

Deno.test("CSV: a header that stands among the records is none of them, whatever spaces or mark it has", async () => {
  const again = async (text: string, conf: Record<string, unknown> = {}) => {
    const { records, unreadable } = await read(text, conf);
    return [records.length, ...unreadable.map(({ rule }) => rule)];
  };
  assert.deepEqual(await again("a,b\n1,2\na,b\n"), [1, "csv_header_repeated"]);
  assert.deepEqual(await again("a,b\n1,2\n a , b\n"), [1, "csv_header_repeated"]);
  assert.deepEqual(await again('a,b\n1,2\n"a","\ufeffb"\n'), [1, "csv_header_repeated"]);
  assert.deepEqual(await again("1,2\na,b\n", { header: ["a", "b"] }), [1, "csv_header_repeated"]);
  assert.deepEqual(await again("a,b\n1,2\na,c\n"), [2]);
  assert.deepEqual(await again("column_1,column_2\n", { header: false }), [1]);
});

Deno.test("CSV: lines that begin with the comment sign are no records, beside bytes that are no text either", async () => {
  const bytes = Uint8Array.from("a,b\n#é\n1,2\nx,é\n# 3,4\n", (c) => c.charCodeAt(0));
  const { records, unreadable } = await read(bytes, { comment: "#" });
  assert.deepEqual(records, [{ a: 1, b: 2 }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["encoding"]);
});

Deno.test("CSV: of a piece of the file beyond the limit each record is looked at for itself", async () => {
  const text = `a,b\n${"1,2\n".repeat(100)}${"x".repeat(40)},3\n`;
  const { records, unreadable } = await read(text, {}, 40);
  assert.equal(records.length, 100);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["record_too_long"]);
});

Deno.test("CSV: a record of one quoted field may end in CR LF, and an empty one be all that stands before it", async () => {
  const { records, unreadable } = await read('a\r\n"x\r\ny"\r\n\n\r\n"z"\n');
  assert.deepEqual(unreadable, []);
  assert.deepEqual(records, [{ a: "x\r\ny" }, { a: "z" }]);
});

Deno.test("CSV: with spaces between the fields, one in quotes ends where its quotes do", async () => {
  const { records, unreadable } = await read('a b c\n"x y" "" "z"\n', { delimiter: " " });
  assert.deepEqual(unreadable, []);
  assert.deepEqual(records, [{ a: "x y", b: null, c: "z" }]);
  assert.deepEqual((await read('a,b\n"x"  ,1\n')).records, [{ a: "x", b: 1 }]);
});

Deno.test("CSV: before anything but a quote or itself the escape is an ordinary sign", async () => {
  const { records } = await read('a,b\n"x\\n","\\"q\\\\"\n', { escape: "\\" });
  assert.deepEqual(records, [{ a: "x\\n", b: '"q\\' }]);
});

Deno.test("CSV: a file that changes while it is read fails, also at its end", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv", `a,b\n${"1,2\n".repeat(10_000)}`);
  const conf = sourceConf({ type: "file", path: "a.csv" });
  const { slices } = await planSource(conf, folder.ctx);
  const failing = async (change: () => Promise<unknown>) => {
    const reading = readSource(conf, slices[0]!, folder.ctx)[Symbol.asyncIterator]();
    await reading.next();
    await change();
    try {
      while ((await reading.next()).done !== true);
    } catch (error) {
      return (error as Problem).type;
    }
    return "was read";
  };
  const path = `${folder.ctx.dataDir}/a.csv`;
  const before = await Deno.stat(path);
  const touch = (ms: number) =>
    Deno.utime(path, before.atime!, new Date(before.mtime!.getTime() + ms));
  assert.equal(await failing(() => touch(0)), "was read");
  assert.equal(await failing(() => touch(5_000)), "source-changed", "it is newer");
  await touch(0);
  assert.equal(await failing(() => touch(-5_000)), "source-changed", "it is older");
  await touch(0);
  assert.equal(
    await failing(() => Deno.writeTextFile(path, "3,4\n", { append: true })),
    "source-changed",
  );
});

Deno.test("CSV: lines before the header, empty ones and comments are passed, wherever the bytes are cut", async () => {
  const long = "x".repeat(400_000);
  for (const [before, skip_lines] of [["one\ntwo\n", 2], [`${long}\n${long}\n`, 2]] as const) {
    const conf = { skip_lines, comment: "#" };
    const { records } = await read(`${before}\n# no header\na,b\n# no record\n1,2\n`, conf);
    assert.deepEqual(records, [{ a: 1, b: 2 }]);
  }
  const { records } = await read("\ufeffone\na\n1\n", { skip_lines: 1 });
  assert.deepEqual(records, [{ a: 1 }]);
  assert.equal((await read("one\na", { skip_lines: 2 })).records.length, 0);
});

Deno.test("CSV: a header that cannot name columns is refused with the reason, a first record beyond the limit as one", async () => {
  assert.match(await refused("a,b\u0000\n1,2\n"), /NUL|U\+0000|\\u0000/);
  for (const delimiter of [";", "\t", "|"]) {
    assert.match(await refused(`a${delimiter}b\n1${delimiter}2\n`), /delimiter/);
  }
  const many = (n: number, header: boolean) =>
    `${Array.from({ length: n }, (_, i) => `c${i}`).join(",")}\n`.repeat(header ? 1 : 2);
  assert.match(await refused(many(10_001, true)), /10,001/);
  assert.match(await refused(many(10_001, false), { header: false }), /10,001/);
  assert.equal((await read(many(10_000, false), { header: false })).records.length, 2);
  const wide = (conf: Record<string, unknown>) =>
    read(`${"a".repeat(600_000)}\n1\n`, conf, 100_000).then(() => "", ({ message }) => message);
  const [header, first] = [await wide({}), await wide({ header: false })];
  assert.match(header, /header/);
  assert.notEqual(first, header);
});

Deno.test("TSV: a first record in quotes is warned of where there is no header, unless the quotes are meant", async () => {
  const warnings = async (content: string, conf: Record<string, unknown>) =>
    (await read(content, { format: "tsv", ...conf })).plan.warnings.join();
  assert.match(await warnings('"a"\t"b"\n1\t2\n', { header: false }), /quotes/);
  assert.match(await warnings('a\tb\n"1"\t2\n', {}), /quotes/);
  assert.equal(await warnings('"a"\tb\n1\t2\n', {}), "", "names may have quotes");
  assert.equal(await warnings('a\tb\n"1"\t2\n', { quote: false }), "");
});

Deno.test("CSV: comments and empty lines count as no record where slices have so many", async () => {
  const conf = { comment: "#" };
  await using folder = await SourceFolder.create({ chunkSize: 2 });
  await folder.write("a.csv", "a\n# x\n1\n\n# y\n2\n3\n\r\n# z\n4\n");
  const { slices } = await readAll({ type: "file", path: "a.csv", ...conf }, folder.ctx);
  assert.deepEqual(slices, [[{ a: 1 }, { a: 2 }], [{ a: 3 }, { a: 4 }]]);
  await folder.write("a.ndjson", '{"a":1}\n\t\n \r\n{"a":2}\n{"a":3}\n');
  const lines = await readAll({ type: "file", path: "a.ndjson" }, folder.ctx);
  assert.deepEqual(lines.slices, [[{ a: 1 }, { a: 2 }], [{ a: 3 }]]);
});

Deno.test("a declared column that no file has is warned of, where all files were looked at and all have names", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("1.csv", "a\n1\n2\n");
  await folder.write("2.csv", "a,b\n3,4\n");
  await folder.write("3.ndjson", '{"c":1}\n');
  await folder.write("empty.csv", "");
  const warnings = async (path: string, columns: Record<string, string>, previewRecords?: number) =>
    (await planSource(sourceConf({ type: "file", path, columns }), {
      ...folder.ctx,
      ...(previewRecords === undefined ? {} : { previewRecords }),
    })).warnings.filter((warning) => /columns|column/.test(warning)).join();
  assert.match(await warnings("*.csv", { z: "integer" }), /z/);
  assert.equal(await warnings("*.csv", { b: "integer" }), "");
  assert.equal(await warnings("*", { z: "integer" }), "", "the fields of NDJSON are not known");
  assert.equal(await warnings("empty.csv", { z: "integer" }), "");
});
