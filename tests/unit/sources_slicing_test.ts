import assert from "node:assert/strict";
import fc from "fast-check";
import { TerminalProblem } from "../../vocabulary/problem.ts";
import { readCsv } from "../../pipeline/sources/local/csv.ts";
import { csvLayout } from "../../pipeline/sources/local/csv_dialect.ts";
import { readNdjson } from "../../pipeline/sources/local/ndjson.ts";
import {
  type InputFile,
  type Part,
  SlicePacker,
} from "../../pipeline/sources/local/slice_packer.ts";
import { FileRanges } from "../../pipeline/sources/local/ranges.ts";
import { OpenFile } from "../../pipeline/sources/local/streams.ts";
import { recordBlocks } from "../../pipeline/sources/local/record_blocks.ts";
import {
  CsvScanner,
  LineScanner,
  type RecordScanner,
} from "../../pipeline/sources/local/record_scanner.ts";
import {
  isEmptyLine,
  lineCut,
  planText,
  type TextCut,
} from "../../pipeline/sources/local/text_plan.ts";
import { type Json, type SourceRecord, Unreadable } from "../../pipeline/sources/source.ts";
import { type SourceContext, SourceFolder } from "../helpers/sources.ts";

const PARAMETERS = { numRuns: 200 };

/** Text of pieces that matter to a scanner, well-formed or not. */
const csvText = fc.array(
  fc.constantFrom('"', '"', ",", "\n", "\r\n", "\r", "a", "é", "\ufeff", " ", "1", '"x"', '""'),
  { maxLength: 40 },
).map((pieces) => pieces.join(""));

const ndjsonText = fc.array(
  fc.oneof(
    fc.json({ maxDepth: 1, stringUnit: fc.constantFrom("a", "é", "\n") }),
    fc.constantFrom("", " ", "{", '{"a":"é"}', '{"a":1}\r', "\t", '{"big":12345678901234567890}'),
  ),
  { maxLength: 6 },
).chain((lines) => fc.constantFrom("", "\n").map((end) => lines.join("\n") + end));

async function inputOf(folder: SourceFolder, content: string) {
  const path = "data.txt";
  await folder.write(path, content);
  const absolutePath = `${folder.ctx.dataDir}/${path}`;
  const { size, mtime } = await Deno.stat(absolutePath);
  return {
    root: "data" as const,
    path,
    label: path,
    size,
    mtime_ms: mtime!.getTime(),
    absolutePath,
  };
}

function csvCut(): TextCut {
  return {
    part: { format: "csv", layout: JSON.stringify(LAYOUT) },
    scanner: () => new CsvScanner(LAYOUT),
    sequential: true,
    isBlank: isEmptyLine,
    start: HEADER.length,
    line: 0,
  };
}

const LAYOUT = csvLayout({}, { format: "csv" });
const HEADER = "x,y,z\n";

async function plan(
  input: InputFile,
  cut: TextCut,
  options: { packer: SlicePacker; ctx: SourceContext },
): Promise<Part[][]> {
  await planText(input, cut, { packer: options.packer, context: options.ctx });
  return options.packer.finish().slices.map((slice) => slice.parts);
}

type Shown = SourceRecord | { rule: string; raw: string };

async function read(parts: Part[], ctx: SourceContext): Promise<Shown[]> {
  const records: Shown[] = [];
  for (const part of parts) {
    const reader = part.format === "csv" ? readCsv(part, ctx) : readNdjson(part, ctx);
    for await (const batch of reader) {
      for (const record of batch) {
        records.push(
          record instanceof Unreadable ? { rule: record.rule, raw: record.raw } : record,
        );
      }
    }
  }
  return records;
}

/** Slices by size and by count in every way, and compares with the file read in one go. */
async function assertSlicing(
  folder: SourceFolder,
  content: string,
  cut: () => TextCut,
): Promise<void> {
  const { ctx } = folder;
  const input = await inputOf(folder, content);
  const whole = (await plan(input, cut(), { packer: new SlicePacker(), ctx })).flat();
  const expected = await read(whole, ctx);
  for (let targetBytes = 1; targetBytes <= input.size + 1; targetBytes++) {
    const slices = await plan(input, cut(), { packer: new SlicePacker({ targetBytes }), ctx });
    assert.deepEqual(await read(slices.flat(), ctx), expected, `targetBytes ${targetBytes}`);
  }
  for (let chunkSize = 1; chunkSize <= expected.length + 1; chunkSize++) {
    const slices = await plan(input, cut(), { packer: new SlicePacker({ chunkSize }), ctx });
    const read_ = await Promise.all(slices.map((parts) => read(parts, ctx)));
    assert.deepEqual(read_.flat(), expected, `chunkSize ${chunkSize}`);
    for (const records of read_.slice(0, -1)) assert.equal(records.length, chunkSize);
  }
  const maxRecords = Math.ceil(expected.length / 2) || 1;
  const capped = await plan(input, cut(), { packer: new SlicePacker({ maxRecords }), ctx });
  assert.deepEqual(await read(capped.flat(), ctx), expected.slice(0, maxRecords));
}

Deno.test("a slice has at most about 50,000 records, however small they are", async () => {
  await using folder = await SourceFolder.create();
  const input = await inputOf(folder, "{}\n".repeat(120_000));
  const slices = await plan(input, lineCut(0), { packer: new SlicePacker(), ctx: folder.ctx });
  assert.equal(slices.length, 3);
});

Deno.test("NDJSON sliced at any byte and any count gives the same records", async () => {
  await using folder = await SourceFolder.create();
  await fc.assert(
    fc.asyncProperty(ndjsonText, (content) => assertSlicing(folder, content, () => lineCut(0))),
    { numRuns: 40 },
  );
});

Deno.test("CSV sliced at any byte and any count gives the same records", async () => {
  await using folder = await SourceFolder.create();
  await fc.assert(
    fc.asyncProperty(csvText, (text) => assertSlicing(folder, HEADER + text, csvCut)),
    PARAMETERS,
  );
});

Deno.test("CSV that is written by the book reads back as it was, in any slices", async () => {
  await using folder = await SourceFolder.create();
  const cell = fc.string({
    unit: fc.constantFrom("a", '"', ",", "\n", "\r", "é", "𝄞", " ", "\t"),
    maxLength: 6,
  });
  const rows = fc.array(fc.tuple(cell, cell, cell), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(rows, fc.constantFrom("\n", "\r\n"), fc.nat(60), async (rows, eol, size) => {
      const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
      const content = HEADER + rows.map((row) => row.map(quote).join(",") + eol).join("");
      const input = await inputOf(folder, content);
      const packer = new SlicePacker({ targetBytes: size + 1 });
      const slices = await plan(input, csvCut(), { packer, ctx: folder.ctx });
      const orNull = (text: string): Json => text === "" ? null : text;
      assert.deepEqual(
        await read(slices.flat(), folder.ctx),
        rows.map(([x, y, z]) => ({ x: orNull(x), y: orNull(y), z: orNull(z) })),
      );
    }),
    PARAMETERS,
  );
});

/** The records as recordBlocks() cuts them. */
async function cutRecords(
  path: string,
  options: { scanner: RecordScanner; blockBytes: number; maxRecordBytes: number; size: number },
): Promise<string[]> {
  using file = await OpenFile.open(path);
  const records: string[] = [];
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const { size, ...rest } = options;
  let expectedOffset = 0;
  const signal = new AbortController().signal;
  const blocks = recordBlocks(new FileRanges(file, size), {
    ...rest,
    start: 0,
    end: size,
    label: "x",
    signal,
    line: 1,
  });
  for await (const { bytes, offset, ends, oversized } of blocks) {
    assert.equal(offset, expectedOffset);
    expectedOffset += oversized ?? bytes.length;
    if (oversized !== undefined) {
      records.push(`oversized ${oversized}`);
      continue;
    }
    for (let i = 0, from = 0; from < bytes.length; i++) {
      const newline = bytes.indexOf(10, from) + 1;
      const to = ends?.[i] ?? (newline === 0 ? bytes.length : newline);
      records.push(decoder.decode(bytes.subarray(from, to)));
      from = to;
    }
  }
  assert.equal(expectedOffset, size);
  return records;
}

Deno.test("recordBlocks() cuts the same records whatever its block size", async () => {
  await using folder = await SourceFolder.create();
  const maxRecordBytes = fc.constantFrom(3, 8, 1_000);
  await fc.assert(
    fc.asyncProperty(csvText, maxRecordBytes, fc.boolean(), async (text, limit, csv) => {
      const { absolutePath, size } = await inputOf(folder, text);
      const cut = (blockBytes: number) =>
        cutRecords(absolutePath, {
          scanner: csv ? new CsvScanner(LAYOUT) : new LineScanner(),
          blockBytes,
          maxRecordBytes: limit,
          size,
        });
      const size_ = (record: string) => new TextEncoder().encode(record).length;
      const tooLong = (record: string) =>
        size_(record) > limit && !record.startsWith("oversized")
          ? `oversized ${size_(record)}`
          : record;
      const expected = (await cut(size + 1)).map(tooLong);
      for (let blockBytes = 1; blockBytes <= size; blockBytes++) {
        assert.deepEqual((await cut(blockBytes)).map(tooLong), expected, `block ${blockBytes}`);
      }
    }),
    PARAMETERS,
  );
});

Deno.test("recordBlocks() keeps a quoted newline that a block's border follows", async () => {
  await using folder = await SourceFolder.create();
  const { absolutePath, size } = await inputOf(folder, '"\n"\r\n');
  const scanner = new CsvScanner(LAYOUT);
  const records = await cutRecords(absolutePath, {
    scanner,
    blockBytes: 1,
    maxRecordBytes: 1_000,
    size,
  });
  assert.deepEqual(records, ['"\n"\r\n']);
});

Deno.test("planText() refuses an unclosed quote rather than lose the rest", async () => {
  await using folder = await SourceFolder.create();
  const input = await inputOf(folder, `${HEADER}1,2,3\n4,"5,6\n7,8,9\n`);
  const cut: TextCut = {
    ...csvCut(),
    onUnclosedQuote: (offset) => {
      throw new TerminalProblem("source-unreadable", { detail: `at ${offset}` });
    },
  };
  const packer = new SlicePacker();
  await assert.rejects(plan(input, cut, { packer, ctx: folder.ctx }), { message: /^at \d+$/ });
});
