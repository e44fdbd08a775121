import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { DataFormat } from "./slice_packer.ts";

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
  arrow: "arrow",
  arrows: "arrow",
  feather: "arrow",
  ipc: "arrow",
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
  "application/vnd.apache.arrow.file": "arrow",
  "application/vnd.apache.arrow.stream": "arrow",
};

const BINARY: Partial<Record<DataFormat, string>> = {
  parquet: "a Parquet file",
  arrow: "an Arrow file or stream",
};

interface Foreign {
  signature: number[];
  name: string;
  /** What to do instead. */
  next: string;
}

/** What is known by its first bytes and not read. */
const FOREIGN: Foreign[] = [
  {
    signature: [0x50, 0x4b, 0x03, 0x04],
    name: say("of-zip", {}),
    next: say("next-zip", {}),
  },
  {
    signature: [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1],
    name: say("of-xls", {}),
    next: say("next-sheet", {}),
  },
  {
    // "BZh", the level and pi, with which each block starts
    signature: [0x42, 0x5a, 0x68],
    name: say("of-bzip2", {}),
    next: say("next-convert", { command: "bzcat" }),
  },
  {
    signature: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    name: say("of-xz", {}),
    next: say("next-convert", { command: "xzcat" }),
  },
  {
    signature: [0x4f, 0x62, 0x6a, 0x01],
    name: say("of-avro", {}),
    next: say("next-avro", {}),
  },
  {
    signature: [0x4f, 0x52, 0x43],
    name: say("of-orc", {}),
    next: say("next-parquet", {}),
  },
  {
    signature: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c],
    name: say("of-7z", {}),
    next: say("next-unpack", {}),
  },
  {
    signature: [0x04, 0x22, 0x4d, 0x18],
    name: say("of-lz4", {}),
    next: say("next-convert", { command: "lz4 -dc" }),
  },
  {
    signature: [0x46, 0x45, 0x41, 0x31],
    name: say("of-feather", {}),
    next: say("next-feather", {}),
  },
  {
    signature: [0x25, 0x50, 0x44, 0x46, 0x2d],
    name: say("of-pdf", {}),
    next: say("next-data", {}),
  },
];

/** The bytes after "BZh": the level and the mark of a block, so that text is not taken for it. */
const BZIP2 = /^BZh[1-9](?:1AY&SY|.rE8P)/s;

/** The start of an HTML page, after comments. */
const HTML =
  /^(?:\s|<!--[^]*?-->|<\?xml[^>]*>)*<(?:!doctype\s+html|html|head|body|title|script)[\s>]/i;

function startsWith(head: Uint8Array, signature: number[]): boolean {
  return signature.every((byte, i) => head[i] === byte);
}

/** Whether there is nothing but white space, of which a file is at most a few bytes. */
export function isEmpty(head: Uint8Array): boolean {
  return head.length < 1_024 && new TextDecoder().decode(head).trim() === "";
}

/** Whether a file is CSV or TSV by what is said of it. */
export function isSeparated({ format, name, contentType }: FormatHints): boolean {
  const said = format ?? BY_EXTENSION[extensionOf(name)] ?? BY_CONTENT_TYPE[mediaType(contentType)];
  return said === "csv" || said === "tsv";
}

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

export function isZstd(head: Uint8Array): boolean {
  return startsWith(head, [0x28, 0xb5, 0x2f, 0xfd]) ||
    // a skippable frame, as pzstd and seekable zstd begin with
    ((head[0]! & 0xf0) === 0x50 && startsWith(head.subarray(1), [0x2a, 0x4d, 0x18]));
}

/** An Arrow IPC file, or a stream, which begins with a message that is a schema. */
export function isArrow(head: Uint8Array): boolean {
  return startsWith(head, [0x41, 0x52, 0x52, 0x4f, 0x57, 0x31]) ||
    (startsWith(head, [0xff, 0xff, 0xff, 0xff]) && head.length >= 12 && head[6] === 0 &&
      head[7] === 0);
}

export function isParquet(head: Uint8Array): boolean {
  return startsWith(head, [0x50, 0x41, 0x52, 0x31]);
}

function isUtf16(head: Uint8Array): boolean {
  return startsWith(head, [0xff, 0xfe]) || startsWith(head, [0xfe, 0xff]);
}

/** Whether values do not stand as text in data that starts with `head`: it is compressed, binary or UTF-16. */
export function isPacked(head: Uint8Array): boolean {
  return isGzip(head) || isZstd(head) || isParquet(head) || isArrow(head) || isUtf16(head) ||
    foreignOf(head) !== undefined;
}

/**
 * The format of data that starts with `head` (decompressed, UTF-8): what the
 * conf says, else what the data cannot hide, else name and content type.
 *
 * @throws {Problem} `source-unreadable` when it cannot be told or is none of ours.
 */
export function detectFormat(head: Uint8Array, hints: FormatHints): DataFormat {
  const file = hints.label;
  refuseForeign(head, file);
  refuseHtml(head, hints);
  if (isUtf16(head) && hints.format !== "parquet") {
    throw refused(say("text-utf16", { file }));
  }
  const binary = isParquet(head) ? "parquet" : isArrow(head) ? "arrow" : undefined;
  if (hints.format !== undefined) {
    if (BINARY[hints.format] !== undefined && binary !== hints.format) {
      throw refused(say("format-not-as-said", { file, what: BINARY[hints.format]! }));
    }
    return hints.format;
  }
  if (binary !== undefined) return binary;
  const extension = extensionOf(hints.name);
  const type = mediaType(hints.contentType);
  const format = BY_EXTENSION[extension] ?? BY_CONTENT_TYPE[type];
  if (format !== undefined && BINARY[format] !== undefined) {
    throw refused(say("format-not-as-named", { file, what: BINARY[format]! }));
  }
  if (format !== undefined && format !== "json") return format;
  const text = new TextDecoder().decode(head).trimStart();
  if (format === "json" && hints.recordsPath !== undefined) return "json";
  if (text.startsWith("{") && isObjectLine(text, format === "json")) return "ndjson";
  if (format === "json" || text.startsWith("[")) return "json";
  if (text.startsWith("{")) return "json";
  throw refused(say("format-unknown", { file }));
}

function extensionOf(name: string): string {
  return /\.([a-z]+)(?:\.(?:gz|zst|zstd))?$/i.exec(name)?.[1]?.toLowerCase() ?? "";
}

/** Whether a file's name tells its format. */
export function hasKnownExtension(name: string): boolean {
  return BY_EXTENSION[extensionOf(name)] !== undefined;
}

const refused = (detail: Message): Problem => new Problem("source-unreadable", { detail });

function refuseForeign(head: Uint8Array, file: string): void {
  const foreign = foreignOf(head);
  if (foreign === undefined) return;
  throw refused(say("format-foreign", { file, what: foreign.name, next: foreign.next }));
}

function foreignOf(head: Uint8Array): Foreign | undefined {
  return FOREIGN.find(({ signature, name }) => {
    if (!startsWith(head, signature)) return false;
    const start = String.fromCharCode(...head.subarray(0, 10));
    if (start.startsWith("BZh")) return BZIP2.test(start);
    // a text may begin so: a header "ORC", a name "Obj"
    return name !== "an ORC file" || head.subarray(0, 64).includes(0);
  });
}

/** A page instead of data: mostly a form to sign in, or a portal's. */
function refuseHtml(head: Uint8Array, hints: FormatHints): void {
  const type = mediaType(hints.contentType);
  const text = new TextDecoder().decode(head);
  const page = HTML.test(text);
  const declared = type === "text/html" || type === "application/xhtml+xml";
  // frameworks call everything text/html; who names the format knows better
  if (!page && (!declared || (hints.format !== undefined && !text.trimStart().startsWith("<")))) {
    return;
  }
  const title = /<title[^>]*>([^]*?)<\/title>/i.exec(text)?.[1]?.replace(/\s+/g, " ").trim();
  const told = declared ? type : say("by-its-content", {});
  const how = title
    ? say("html-titled", { how: told, title: JSON.stringify(title.slice(0, 100)) })
    : told;
  throw refused(say("format-html", { file: hints.label, how }));
}

function mediaType(contentType: string | undefined): string {
  return contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
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
