import assert from "node:assert/strict";
import fc from "fast-check";
import type { CsvDialect } from "../../pipeline/sources/local/csv_dialect.ts";
import { csvScanner } from "../../pipeline/sources/local/record_scanner.ts";

interface Found {
  /** Offsets after each record's end. */
  ends: number[];
  /** Where the quoted field begins in which the text ends; null outside of one. */
  open: number | null;
}

/** What CsvScanner has to find, a byte at a time. */
function expected(text: string, { delimiter, quote, escape, comment }: CsvDialect): Found {
  const ends: number[] = [];
  let state: "record" | "field" | "plain" | "quoted" | "escaped" | "quote" | "comment" = "record";
  let opened = 0;
  for (const [i, c] of [...text].entries()) {
    if (state === "escaped") {
      state = "quoted";
      if (c === quote || c === escape) continue;
    }
    if (state === "quoted") {
      if (escape !== null && escape !== quote && c === escape) state = "escaped";
      else if (c === quote) state = escape === null || escape === quote ? "quote" : "plain";
      continue;
    }
    if (state === "quote" && c === quote) state = "quoted";
    else if (c === "\n") {
      ends.push(i + 1);
      state = "record";
    } else if (state === "comment") continue;
    else if (state === "record" && c === comment) state = "comment";
    else if ((state === "record" || state === "field") && c === quote) {
      opened = i;
      state = "quoted";
    } else state = c === delimiter ? "field" : "plain";
  }
  return { ends, open: state === "quoted" || state === "escaped" ? opened : null };
}

/** What it finds in blocks of these sizes, each behind what the last one has left. */
function found(text: string, dialect: CsvDialect, sizes: number[]): Found {
  const scanner = csvScanner(dialect);
  const bytes = new TextEncoder().encode(text);
  const ends: number[] = [];
  let begin = 0;
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const to = Math.min(bytes.length, at + (sizes[i % sizes.length] ?? 1));
    const block = bytes.subarray(begin, to);
    const { last, each } = scanner.scan(block, at - begin);
    const own = each ?? [...block.keys()].filter((k) => block[k] === 10).map((k) => k + 1);
    assert.equal(last, own.at(-1) ?? 0);
    ends.push(...own.map((end) => begin + end));
    begin += last;
    at = to;
  }
  return { ends, open: scanner.quoted ? scanner.openedAt : null };
}

Deno.test("CSV: records end where they do byte by byte, however their bytes arrive, in every dialect", () => {
  const dialects: CsvDialect[] = [
    { delimiter: ",", quote: '"', escape: null, comment: null },
    { delimiter: ",", quote: '"', escape: '"', comment: "#" },
    { delimiter: ";", quote: "'", escape: "\\", comment: "#" },
    { delimiter: ";", quote: "'", escape: "\\", comment: null },
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...dialects),
      fc.array(fc.constantFrom("q", "q", "d", "n", "n", "e", "c", "x"), { maxLength: 24 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
      (dialect, kinds, sizes) => {
        const of: Record<string, string> = {
          ...{ q: dialect.quote!, d: dialect.delimiter, n: "\n", e: dialect.escape ?? "\\" },
          ...{ c: dialect.comment ?? "#", x: "x" },
        };
        const text = kinds.map((each) => of[each]).join("");
        assert.deepEqual(
          found(text, dialect, sizes),
          expected(text, dialect),
          JSON.stringify(text),
        );
      },
    ),
    { numRuns: 5_000, seed: 42 },
  );
});

Deno.test("CSV: records end where they do, in blocks of any size, whatever quotes a comment has", () => {
  const dialect: CsvDialect = { delimiter: ",", quote: '"', escape: '"', comment: "#" };
  const records = [
    ...["a,b\n", '# it"s of use\n', '1,"x\n""y"\n', "3,z\n", '#,"\n', "\n", '2,5" pipe\n'],
    ...['# and "more\n', '"#",3\n'],
  ];
  const text = records.join("");
  let end = 0;
  const ends = records.map((record) => end += record.length);
  for (let block = 1; block <= text.length; block++) {
    assert.deepEqual(found(text, dialect, [block]), { ends, open: null }, `blocks of ${block}`);
  }
});

Deno.test("without quotes, each newline ends a record", () => {
  const dialect: CsvDialect = { delimiter: "\t", quote: null, escape: null, comment: "#" };
  for (const sizes of [[1], [2, 3], [100]]) {
    assert.deepEqual(found('#"a\nb\t"c\n\nd', dialect, sizes), { ends: [4, 9, 10], open: null });
  }
});
