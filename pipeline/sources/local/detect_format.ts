import { Problem } from "../../problem.ts";
import type { DataFormat } from "./part.ts";

export interface FormatHints {
  /** What the conf says; wins over everything. */
  format?: DataFormat | undefined;
  /** File name or last part of a URL's path. */
  name: string;
  contentType?: string | undefined;
  label: string;
  /** The conf names a path inside a document. */
  recordsPath?: string | undefined;
}

const BY_EXTENSION: Record<string, DataFormat> = {
  csv: "csv",
  tsv: "tsv",
  tab: "tsv",
  ndjson: "ndjson",
  jsonl: "ndjson",
  ldjson: "ndjson",
  json: "json",
  geojson: "json",
  parquet: "parquet",
  pq: "parquet",
};

const BY_CONTENT_TYPE: Record<string, DataFormat> = {
  "text/csv": "csv",
  "application/csv": "csv",
  "text/tab-separated-values": "tsv",
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "application/x-jsonlines": "ndjson",
  "application/json": "json",
  "application/geo+json": "json",
  "application/vnd.apache.parquet": "parquet",
  "application/parquet": "parquet",
};

const ARCHIVES: [signature: number[], name: string][] = [
  [[0x50, 0x4b, 0x03, 0x04], "a zip archive"],
  [[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd"],
  [[0x42, 0x5a, 0x68], "compressed with bzip2"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "compressed with xz"],
  [[0x41, 0x52, 0x52, 0x4f, 0x57, 0x31], "an Arrow file"],
];

function startsWith(head: Uint8Array, signature: number[]): boolean {
  return signature.every((byte, i) => head[i] === byte);
}

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

export function isParquet(head: Uint8Array): boolean {
  return startsWith(head, [0x50, 0x41, 0x52, 0x31]);
}

/**
 * The format of data that starts with `head` (decompressed, UTF-8): what the
 * conf says, else what the data cannot hide, else name and content type.
 *
 * @throws {Problem} `source-unreadable` when it cannot be told or is none of ours.
 */
export function detectFormat(head: Uint8Array, hints: FormatHints): DataFormat {
  const refuse = (what: string, next: string) =>
    new Problem("source-unreadable", { detail: `${hints.label}: ${what}. ${next}` });
  for (const [signature, name] of ARCHIVES) {
    if (startsWith(head, signature)) {
      throw refuse(
        `the data is ${name}`,
        "Convert it to CSV, NDJSON, JSON or Parquet (gzip is fine).",
      );
    }
  }
  if (
    (startsWith(head, [0xff, 0xfe]) || startsWith(head, [0xfe, 0xff])) &&
    hints.format !== "parquet"
  ) {
    throw refuse(
      "the text is UTF-16",
      'Set source.encoding to "utf-16le", or convert it to UTF-8.',
    );
  }
  const parquet = isParquet(head);
  if (hints.format !== undefined) {
    if (hints.format === "parquet" && !parquet) {
      throw refuse("not a Parquet file", "Correct source.format.");
    }
    return hints.format;
  }
  if (parquet) return "parquet";
  const extension = /\.([a-z]+)(?:\.gz)?$/i.exec(hints.name)?.[1]?.toLowerCase() ?? "";
  const type = hints.contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  const format = BY_EXTENSION[extension] ?? BY_CONTENT_TYPE[type];
  if (format === "parquet") throw refuse("not a Parquet file", "Set source.format to what it is.");
  if (format !== undefined && format !== "json") return format;
  const text = new TextDecoder().decode(head).trimStart();
  if (format === "json" && hints.recordsPath !== undefined) return "json";
  if (text.startsWith("{") && isObjectLine(text, format === "json")) return "ndjson";
  if (format === "json" || text.startsWith("[")) return "json";
  if (text.startsWith("{")) return "json";
  throw refuse(
    "its format cannot be told from name or content",
    "Set source.format to csv, tsv, ndjson, json or parquet.",
  );
}

/** Whether the first line is an object by itself; `another` wants a second one to follow. */
function isObjectLine(text: string, another: boolean): boolean {
  const newline = text.indexOf("\n");
  const line = newline < 0 ? text : text.slice(0, newline);
  try {
    JSON.parse(line);
  } catch {
    return false;
  }
  return !another || (newline >= 0 && text.slice(newline).trimStart().startsWith("{"));
}
