import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { SourceLimits } from "../source.ts";
import { type CsvLayout, splitRecord } from "./csv_dialect.ts";
import { fill, type Ranges, windows } from "./ranges.ts";
import { recordBlocks } from "./record_blocks.ts";
import { csvScanner } from "./record_scanner.ts";
import { isEmptyLine } from "./text_plan.ts";

const BLOCK_BYTES = 262_144;
/** Columns that a file may have; PostgreSQL's own tables have at most 1,600. */
export const MAX_COLUMNS = 10_000;
const NEWLINE = 10;

/** The head of a CSV file. */
export interface CsvHead {
  names: string[];
  /** First byte of the first record. */
  start: number;
  /** Fields in quotes that the dialect does not take for quotes, if the first records look like it. */
  looksQuoted: boolean;
}

export interface CsvHeadOptions {
  layout: CsvLayout;
  /** The columns of a file without header, where the conf names them; default: column_1, column_2, … */
  names?: string[] | undefined;
  size: number;
  label: string;
  limits: SourceLimits;
  signal: AbortSignal;
}

const refused = (detail: Message): Problem => new Problem("source-unreadable", { detail });

function tooMany(label: string, count: string): Problem {
  return refused(say("csv-many-fields", { file: label, count, most: MAX_COLUMNS }));
}

function checkNames(names: string[], { label, layout }: CsvHeadOptions): void {
  const seen = new Set<string>();
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    if (name === "") {
      throw refused(say("column-without-name", { file: label, n: i + 1 }));
    }
    if (seen.has(name)) {
      throw refused(say("column-twice", { file: label, column: name }));
    }
    seen.add(name);
  }
  if (names.some((name) => name.includes("\u0000"))) {
    throw refused(say("header-nul", { file: label }));
  }
  if (seen.has("__proto__")) throw refused(say("csv-reserved-column", { file: label }));
  const found = names.length === 1 && layout.delimiter === "," ? /[;\t|]/.exec(names[0]!) : null;
  if (found !== null) {
    const delimiter = JSON.stringify(found[0]);
    throw new Problem("source-unreadable", {
      detail: say("other-delimiter", { file: label, delimiter }),
      errors: [{
        field: "source.delimiter",
        message: say("another-delimiter", { file: label }),
        expected: found[0],
      }],
    });
  }
}

/**
 * Finds the first record and the names of the columns; undefined when the file
 * holds no row at all.
 *
 * @throws {Problem} `source-unreadable` for a header that cannot name the columns.
 */
export async function readCsvHead(
  file: Ranges,
  options: CsvHeadOptions,
): Promise<CsvHead | undefined> {
  const { layout, size, label, names } = options;
  const from = await skipLines(file, layout.skip_lines, size);
  const blocks = recordBlocks(file, {
    start: from,
    end: size,
    scanner: csvScanner(layout),
    maxRecordBytes: options.limits.maxRecordBytes,
    label,
    signal: options.signal,
    blockBytes: BLOCK_BYTES,
  });
  for await (const { bytes, offset, ends, oversized } of blocks) {
    if (oversized !== undefined) {
      throw refused(
        say(layout.header ? "csv-long-header" : "csv-long-first", {
          file: label,
          n: options.limits.maxRecordBytes,
        }),
      );
    }
    for (let i = 0, at = 0; at < bytes.length; i++) {
      let to = ends === undefined ? bytes.indexOf(NEWLINE, at) + 1 : ends[i] ?? bytes.length;
      if (to === 0) to = bytes.length;
      const record = bytes.subarray(at, to);
      const start = offset + at;
      at = to;
      if (isSkipped(record, layout)) continue;
      const rest = bytes.subarray(at, Math.min(bytes.length, at + 4_096));
      const looksQuoted = layout.quote === null && /(?:^|[\t,;|\n])"[^"\n]*"(?=[\t,;|\r\n]|$)/
        .test(new TextDecoder().decode(layout.header ? rest : record));
      if (layout.header) {
        const found = headerNames(record, options);
        return { names: found, start: offset + to, looksQuoted };
      }
      if (names !== undefined) {
        checkNames(names, options);
        return { names, start, looksQuoted };
      }
      const fields = decodeRow(record, layout);
      const count = typeof fields === "object" ? fields.length : 1;
      if (count > MAX_COLUMNS) throw tooMany(label, count.toLocaleString("en-US"));
      return {
        names: Array.from({ length: count }, (_, column) => `column_${column + 1}`),
        start,
        looksQuoted,
      };
    }
  }
  return undefined;
}

/** Whether the bytes of a record hold none: an empty line, or a comment. */
function isSkipped(record: Uint8Array, { comment }: CsvLayout): boolean {
  return isEmptyLine(record, 0, record.length) ||
    (comment !== null && record[0] === comment.charCodeAt(0));
}

function headerNames(record: Uint8Array, options: CsvHeadOptions): string[] {
  const { label, layout } = options;
  const delimiter = layout.delimiter.charCodeAt(0);
  let delimiters = 0;
  for (let i = record.indexOf(delimiter); i >= 0; i = record.indexOf(delimiter, i + 1)) {
    delimiters++;
  }
  if (delimiters > MAX_COLUMNS * 10) throw tooMany(label, delimiters.toLocaleString("en-US"));
  const fields = decodeRow(record, layout);
  if (fields === "bare_cr") {
    throw refused(say("csv-lines-of-cr", { file: label }));
  }
  if (typeof fields === "string") {
    throw refused(say("csv-bad-header", { file: label }));
  }
  if (fields.length > MAX_COLUMNS) throw tooMany(label, fields.length.toLocaleString("en-US"));
  const names = fields.map((name) => name.trim());
  checkNames(names, options);
  return names;
}

/** The first byte after the byte order mark and the lines that the conf skips. */
async function skipLines(file: Ranges, lines: number, size: number): Promise<number> {
  let at = await markLength(file, size);
  if (lines === 0) return at;
  let left = lines;
  for await (const block of windows(file, at, size)) {
    for (let i = block.indexOf(NEWLINE); i >= 0; i = block.indexOf(NEWLINE, i + 1)) {
      if (--left === 0) return at + i + 1;
    }
    at += block.length;
  }
  return size;
}

/** Bytes of the byte order mark of UTF-8 at the beginning, if it has one. */
export async function markLength(file: Ranges, size: number): Promise<number> {
  const mark = new Uint8Array(3);
  await fill(file, mark, { start: 0, end: size });
  return mark[0] === 0xef && mark[1] === 0xbb && mark[2] === 0xbf ? 3 : 0;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeRow(record: Uint8Array, layout: CsvLayout): string[] | string {
  try {
    return splitRecord(strict.decode(record).replace(/\r?\n$/, ""), layout);
  } catch {
    return "encoding";
  }
}
