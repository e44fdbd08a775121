import assert from "node:assert/strict";
import fc from "fast-check";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { naturalOrder } from "../../pipeline/sources/file.ts";
import { MAX_COLUMNS } from "../../pipeline/sources/local/csv_header.ts";
import { textEncoding } from "../../pipeline/sources/local/encoding.ts";
import { splitRecord } from "../../pipeline/sources/local/csv_dialect.ts";
import { Unreadable } from "../../pipeline/sources/source.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

async function read(content: string | Uint8Array, conf: Record<string, unknown> = {}) {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv", content);
  folder.ctx.limits.maxRecordBytes = 16 << 20;
  return await readAll({ type: "file", path: "a.csv", ...conf }, folder.ctx);
}

interface Shown {
  record: unknown;
  line: number | null;
  raw: string;
}

/** Every record of a file with its origin, read in slices of so many records. */
async function origins(
  folder: SourceFolder,
  conf: Record<string, unknown>,
  chunkSize: number | undefined,
): Promise<Shown[]> {
  const source = sourceConf({ type: "file", ...conf });
  const ctx = chunkSize === undefined ? folder.ctx : { ...folder.ctx, chunkSize };
  const shown: Shown[] = [];
  for (const slice of (await planSource(source, ctx)).slices) {
    for await (const batch of readSource(source, slice, ctx)) {
      batch.forEach((record, i) => {
        const { line, raw, file } = batch.origin!(i);
        assert.equal(file, conf.path);
        shown.push({
          record: record instanceof Unreadable ? record.rule : { ...record },
          line,
          raw: new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw!),
        });
      });
    }
  }
  return shown;
}

const dialects = fc.record({
  delimiter: fc.constantFrom(",", ";", "\t", "|"),
  quote: fc.constantFrom('"', "'", false as const),
  escape: fc.constantFrom(undefined, "\\"),
  comment: fc.constantFrom(undefined, "#"),
  header: fc.constantFrom(true, ["x", "y"]),
  skip_lines: fc.constantFrom(0, 2),
  end: fc.constantFrom("\n", "\r\n"),
});
const cell = fc.array(
  fc.constantFrom("a", "é", "\\", '"', "'", ",", ";", "\t", "|", "#", "\n", "\r\n", " ", "𝄞"),
  { maxLength: 5 },
).map((parts) => `z${parts.join("")}`);

Deno.test("CSV: what a dialect writes is read back, with line and bytes of each record, in any slices", async () => {
  await using folder = await SourceFolder.create();
  await fc.assert(
    fc.asyncProperty(
      dialects,
      fc.array(fc.tuple(cell, cell, fc.boolean()), { minLength: 1, maxLength: 8 }),
      fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      async ({ end, ...dialect }, drawn, chunkSize) => {
        const { delimiter, quote, comment } = dialect;
        const escape = quote === false ? undefined : dialect.escape;
        const write = (text: string) => {
          if (quote === false) return text;
          if (escape === undefined) return quote + text.replaceAll(quote, quote + quote) + quote;
          return quote + text.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) + quote;
        };
        // without quotes a cell cannot hold what separates
        const rows = drawn.map(([x, y, marked]) =>
          quote === false
            ? [x, y].map((text) => text.replaceAll(delimiter, "").replace(/[\r\n]/g, ""))
              .concat(marked ? "m" : "")
            : [x, y, marked ? "m" : ""]
        );
        let content = "";
        let line = 1;
        const put = (text: string) => {
          content += text + end;
          line += (text + end).split("\n").length - 1;
        };
        for (let i = 0; i < dialect.skip_lines; i++) put(`exported "yesterday' ${i}`);
        if (dialect.header === true) put(["x", "y"].map(write).join(delimiter));
        const expected: Shown[] = [];
        for (const [x, y, marked] of rows) {
          if (marked === "m") put("");
          if (marked === "m" && comment !== undefined) put(`# not "a' record${delimiter}"`);
          const raw = [x!, y!].map(write).join(delimiter);
          expected.push({ record: { x, y }, line, raw });
          put(raw);
        }
        await folder.write("d.csv", content);
        const conf = { path: "d.csv", ...dialect, ...(escape === undefined ? { escape } : {}) };
        assert.deepEqual(await origins(folder, conf, chunkSize), expected, content);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("NDJSON: each record tells its line and its own text, in any slices", async () => {
  await using folder = await SourceFolder.create();
  const line = fc.constantFrom(
    '{"a": 1.50}',
    "{",
    '{"b":\t"é"}\r',
    "",
    "  ",
    '{ "c" : [ 1 ] }',
    "7",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { minLength: 1 }),
      fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      async (lines, chunkSize) => {
        await folder.write("d.ndjson", lines.join("\n") + "\n");
        const shown = await origins(folder, { path: "d.ndjson" }, chunkSize);
        assert.deepEqual(
          shown.map(({ line, raw }) => [line, raw]),
          lines.flatMap((text, i) => text.trim() === "" ? [] : [[i + 1, text.replace("\r", "")]]),
        );
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("CSV: a file without a header has the names that are given, or numbered ones", async () => {
  assert.deepEqual((await read("1,a\n2,b\n", { header: false })).records, [
    { column_1: 1, column_2: "a" },
    { column_1: 2, column_2: "b" },
  ]);
  const named = await read("1,a\n2,b\nid,name\n", { header: ["id", "name"] });
  assert.deepEqual(named.records, [{ id: 1, name: "a" }, { id: 2, name: "b" }]);
  assert.deepEqual(named.unreadable.map(({ rule }) => rule), ["csv_header_repeated"]);
});

Deno.test("CSV: an unclosed quote is told by the line in which it opens", async () => {
  const rows = Array.from({ length: 50_000 }, (_, i) => `${i},"x\ny"\n`).join("");
  for (
    const [content, line] of [['a,b\n1,2\n3,"4\n5,6\n', 3], [`a,b\n${rows}1,"z\n7,8\n`, 100_002]]
  ) {
    await assert.rejects(
      read(content as string),
      new RegExp(`a quoted field that begins in line ${line} is never closed`),
    );
  }
});

Deno.test("CSV: signs that cannot be told apart are refused", async () => {
  for (
    const conf of [{ quote: ",", delimiter: "," }, { quote: "é" }, { comment: '"' }, {
      escape: ",",
    }]
  ) {
    await assert.rejects(read("a,b\n1,2\n", conf), /source\.\w+ must/);
  }
  await assert.rejects(read("a\n", { quote: false, escape: "\\" }), /source\.escape needs a quote/);
});

Deno.test("CSV: a mark in the middle is where files were joined, not a part of a value", async () => {
  const { records } = await read("\ufeffa,b\n1,2\n\ufeff3,4\n");
  assert.deepEqual(records, [{ a: 1, b: 2 }, { a: 3, b: 4 }]);
});

Deno.test("TSV: fields in quotes are warned of", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("q.tsv", 'id\tt\n1\t"a b"\n');
  const { records, plan } = await readAll({ type: "file", path: "q.tsv" }, folder.ctx);
  assert.deepEqual(records, [{ id: 1, t: '"a b"' }]);
  assert.match(plan.warnings.join(), /set source\.quote to "\\""/);
});

Deno.test("CSV: a header of 500,000 names is refused at once, 10,000 are read", async () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `c${i}`).join(",");
  const start = performance.now();
  for (const conf of [{}, { header: false }]) {
    await assert.rejects(read(names(500_000) + "\n1\n", conf), /limit is 10000 columns/);
  }
  const wide = await read(`${names(MAX_COLUMNS)}\n${names(MAX_COLUMNS)}x\n`);
  assert.equal(Object.keys(wide.records[0]!).length, MAX_COLUMNS);
  assert.ok(performance.now() - start < 5_000);
});

Deno.test("what a quote inside a field is to be written as follows the dialect", async () => {
  for (
    const [conf, written] of [[{}, '""'], [{ escape: "\\" }, '\\"'], [
      { quote: "'" },
      "''",
    ]] as const
  ) {
    const q = "quote" in conf ? conf.quote : '"';
    const { unreadable: [record] } = await read(`id,a\n1,${q}e${q}f${q}\n`, conf);
    assert.match(record!.rule, /csv_quotes/);
    assert.ok(record!.message.endsWith(`a field as ${written}`), record!.message);
  }
});

Deno.test("UTF-16 is told by its mark; what cannot be the declared encoding is refused, whatever it is", async () => {
  const wide = (text: string, order: "le" | "be") => {
    const bytes = new Uint8Array(Uint16Array.from(text, (c) => c.charCodeAt(0)).buffer);
    return order === "le" ? bytes : bytes.map((_, i) => bytes[i ^ 1]!);
  };
  const text = "id,name\n1,Ana\n2,Zoë\n";
  const narrow = Uint8Array.from(text, (c) => c.charCodeAt(0));
  for (const order of ["le", "be"] as const) {
    for (const encoding of [undefined, "utf-16", "utf-16le", "utf-16be"]) {
      const { records } = await read(wide("\ufeff" + text, order), { encoding });
      assert.deepEqual(records[1], { id: 2, name: "Zoë" });
    }
    const { records } = await read(wide(text, order), { encoding: `utf-16${order}` });
    assert.deepEqual(records[1], { id: 2, name: "Zoë" });
    const other = order === "le" ? "be" : "le";
    for (const encoding of [undefined, `utf-16${other}`, "latin1"]) {
      await assert.rejects(
        read(wide(text, order), { encoding }),
        new RegExp(`UTF-16${order.toUpperCase()}.*"utf-16${order}"`),
      );
    }
    await assert.rejects(read(narrow, { encoding: `utf-16${order}` }), /not UTF-16/);
    await assert.rejects(
      read(wide("ид,имя\n1,Анна\n", order), { encoding: `utf-16${other}` }),
      new RegExp(`"utf-16${order}"`),
    );
  }
  // some U+0000 beside a delimiter or line end make no UTF-16 of a text
  for (const order of ["le", "be"] as const) {
    const bytes = wide("идентификатор;имя\nпервый;Анна Сергеевна\n", order);
    assert.throws(
      () => textEncoding(bytes, { declared: undefined, label: "a.csv" }),
      new RegExp(`"utf-16${order}"`),
    );
  }
  for (const encoding of [undefined, "utf-8", "latin1"]) {
    for (const zeros of ["id,name\n1,Ana\0\n2,Zoe\n", "id,names\n1,Ana\0\n2,Zoe\n"]) {
      assert.equal((await read(zeros, { encoding })).records.length, 2);
    }
  }
  await assert.rejects(read("\ufffe" + text), /U\+FFFE/);
  await assert.rejects(read("\ufeff" + text, { encoding: "utf-16le" }), /mark of UTF-8/);
  for (const encoding of [undefined, "utf-16le", "latin1"]) {
    const utf32 = Uint8Array.from([..."\ufeffid,n\n1,x\n"].flatMap((c) => {
      const code = c.codePointAt(0)!;
      return [code & 255, code >> 8, 0, 0];
    }));
    await assert.rejects(read(utf32, { encoding }), /UTF-32.*iconv/);
  }
});

Deno.test("files of a glob come in natural order, the same everywhere", async () => {
  const names = ["part-10", "part-9", "part-1", "part-09", "b", "a/2", "a/10", "part-1.5", "B"];
  assert.deepEqual(names.toSorted(naturalOrder), [
    "B",
    "a/2",
    "a/10",
    "b",
    "part-1",
    "part-1.5",
    "part-09",
    "part-9",
    "part-10",
  ]);
  await using folder = await SourceFolder.create();
  for (const n of [1, 10, 11, 2, 9]) await folder.write(`part-${n}.csv`, `id\n${n}\n`);
  const { records } = await readAll({ type: "file", path: "part-*.csv" }, folder.ctx);
  assert.deepEqual(records.map(({ id }) => id), [1, 2, 9, 10, 11]);
});

Deno.test("CSV: a field keeps its quotes, however many there are", () => {
  const dialect = { delimiter: ",", quote: '"', escape: '"', comment: null };
  for (const quotes of [1, 999, 1_000, 20_001]) {
    for (const between of ["", "ab\ud83d\ude00"]) {
      const value = `${between}"`.repeat(quotes);
      const text = `a,"${value.replaceAll('"', '""')}",b`;
      assert.deepEqual(splitRecord(text, dialect), ["a", value, "b"]);
    }
  }
});
