import { Problem } from "../../problem.ts";
import type { SourceLimits } from "../source.ts";
import { parseCsv } from "./csv_text.ts";
import { type ColumnType, columnType } from "./csv_values.ts";
import { recordBlocks } from "./record_blocks.ts";
import { CsvScanner } from "./record_scanner.ts";
import { isEmptyLine } from "./text_plan.ts";

const SAMPLE_RECORDS = 1_000;
const SAMPLE_BYTES = 262_144;

/** The head of a CSV file. */
export interface CsvHead {
  names: string[];
  /** What the first records say about each column. */
  types: ColumnType[];
  /** First byte after the header, and its line. */
  start: number;
  line: number;
}

export interface CsvHeadOptions {
  delimiter: string;
  size: number;
  label: string;
  limits: SourceLimits;
  signal: AbortSignal;
  /** Records to look at for the columns' types; default 1,000. */
  sampleRecords?: number;
}

function refuse(label: string, what: string, next: string): Problem {
  return new Problem("source-unreadable", { detail: `${label}: ${what}. ${next}` });
}

function checkNames(names: string[], { label, delimiter }: CsvHeadOptions): void {
  const empty = names.findIndex((name) => name === "");
  if (empty >= 0) {
    throw refuse(
      label,
      `column ${empty + 1} of the header has no name`,
      "Each column needs a name in the first row.",
    );
  }
  const duplicate = names.find((name, i) => names.indexOf(name) !== i);
  if (duplicate !== undefined) {
    throw refuse(
      label,
      `the header names the column "${duplicate}" twice`,
      "Rename one of them, or one would hide the other.",
    );
  }
  if (names.some((name) => name.includes("\r"))) {
    throw refuse(
      label,
      "lines end in CR alone",
      "Convert the file to LF or CRLF line ends.",
    );
  }
  if (names.includes("__proto__")) {
    throw refuse(label, 'a column is called "__proto__"', "Rename it.");
  }
  if (names.length === 1 && delimiter === "," && /[;\t|]/.test(names[0]!)) {
    const found = /[;\t|]/.exec(names[0]!)![0];
    throw refuse(
      label,
      "the header has one column only, and holds another usual delimiter",
      `Set source.delimiter to ${JSON.stringify(found)}.`,
    );
  }
}

/**
 * Reads the header row and up to 1,000 records after it; undefined when the
 * file holds no row at all.
 *
 * @throws {Problem} `source-unreadable` for a header that cannot name the columns.
 */
export async function readCsvHead(
  file: Deno.FsFile,
  options: CsvHeadOptions,
): Promise<CsvHead | undefined> {
  const { delimiter, size, label } = options;
  const sampleRecords = options.sampleRecords ?? SAMPLE_RECORDS;
  const bom = await hasBom(file);
  const start = bom ? 3 : 0;
  let head: CsvHead | undefined;
  const rows: string[][] = [];
  let line = 1;
  let sampled = 0;
  const blocks = recordBlocks(file, {
    start,
    end: size,
    scanner: new CsvScanner(delimiter),
    maxRecordBytes: options.limits.maxRecordBytes,
    label,
    signal: options.signal,
    blockBytes: SAMPLE_BYTES,
  });
  for await (const { bytes, offset, ends, oversized } of blocks) {
    if (oversized !== undefined) {
      if (head !== undefined) break;
      throw refuse(
        label,
        `the header is longer than ${options.limits.maxRecordBytes} bytes`,
        "Is this a CSV file?",
      );
    }
    for (let i = 0, from = 0; from < bytes.length; i++) {
      let to = ends === undefined ? bytes.indexOf(10, from) + 1 : ends[i] ?? bytes.length;
      if (to === 0) to = bytes.length;
      const record = bytes.subarray(from, to);
      from = to;
      if (head === undefined) {
        for (let at = record.indexOf(10); at >= 0; at = record.indexOf(10, at + 1)) line++;
      }
      if (isEmptyLine(record, 0, record.length)) continue;
      const row = decodeRow(record, delimiter);
      if (head === undefined) {
        if (row === undefined) {
          throw refuse(
            label,
            "the header is not valid UTF-8 or has a malformed quoted name",
            "Set source.encoding, or mend the first row.",
          );
        }
        const names = row.map((name) => name.trim());
        checkNames(names, options);
        head = { names, types: [], start: offset + to, line };
        if (sampleRecords === 0) return head;
      } else {
        if (row?.length === head.names.length) rows.push(row);
        if (++sampled >= sampleRecords) return withTypes(head, rows);
      }
    }
    if (head !== undefined && offset + bytes.length >= SAMPLE_BYTES) break;
  }
  return head && withTypes(head, rows);
}

function withTypes(head: CsvHead, rows: string[][]): CsvHead {
  return {
    ...head,
    types: head.names.map((_, column) => columnType(rows.map((row) => row[column]!))),
  };
}

async function hasBom(file: Deno.FsFile): Promise<boolean> {
  const bytes = new Uint8Array(3);
  await file.seek(0, Deno.SeekMode.Start);
  return await file.read(bytes) === 3 && bytes[0] === 0xef && bytes[1] === 0xbb &&
    bytes[2] === 0xbf;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeRow(record: Uint8Array, delimiter: string): string[] | undefined {
  try {
    const { rows, ok } = parseCsv(strict.decode(record).replace(/\r?\n$/, ""), delimiter);
    return ok && rows.length === 1 ? rows[0] : undefined;
  } catch {
    return undefined;
  }
}
