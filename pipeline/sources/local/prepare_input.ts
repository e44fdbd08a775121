import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { ColumnsConf } from "../columns.ts";
import type { PlanContext } from "../source.ts";
import type { CsvConf } from "./csv_dialect.ts";
import {
  detectFormat,
  isArrow,
  isEmpty,
  isGzip,
  isParquet,
  isSeparated,
  isZstd,
} from "./detect_format.ts";
import { type Encoding, hasMark, textEncoding } from "./encoding.ts";
import { jsonArrayToNdjson } from "./json_document.ts";
import { windows } from "./ranges.ts";
import type { DataFormat, InputFile } from "./slice_packer.ts";
import { findSpooled, spool, type SpoolFile, spoolName } from "./spool.ts";
import {
  type Compression,
  decompress,
  fileBytes,
  limitBytes,
  takeBytes,
  toUtf8,
} from "./streams.ts";

const HEAD_BYTES = 65_536;
/** Enough to know a format by its first bytes. */
const SIGNATURE_BYTES = 16;
/** Bytes of text that a preview reads at most. */
export const PREVIEW_BYTES = 1 << 20;

/** A file as it was found or fetched. */
export type RawFile = InputFile & {
  /** File name, for its format. */
  name: string;
  /** Says which content it is, so that what is made of it can be found again. */
  identity: string;
  contentType?: string | undefined;
  /** What a server has compressed it with on its way, the last one first. */
  contentEncodings?: Compression[] | undefined;
};

/** How the conf says that files are to be read. */
export interface ParsingConf extends CsvConf, ColumnsConf {
  format?: DataFormat | undefined;
  records_path?: string | undefined;
  encoding?: Encoding | undefined;
}

export interface PreparedInput {
  input: InputFile;
  /** JSON documents and Arrow tables have become NDJSON. */
  format: Exclude<DataFormat, "json" | "arrow">;
  warnings: Message[];
  /** There may be more than was read, since a preview reads the beginning of a compressed or fetched text. */
  beginning: boolean;
}

export interface PrepareOptions {
  ctx: PlanContext;
  /** Only so many records are wanted; less is unpacked then. */
  previewRecords?: number | undefined;
}

/**
 * Makes a file readable in place: decompresses it, turns its text into UTF-8
 * and a JSON document into lines, in the spool directory and in bounded
 * memory. Plain UTF-8 CSV and NDJSON and Parquet stay where they are.
 */
export async function prepareInput(
  raw: RawFile,
  conf: ParsingConf,
  options: PrepareOptions,
): Promise<PreparedInput> {
  const { ctx, previewRecords } = options;
  const { spoolDir, limits } = ctx;
  const preview = previewRecords !== undefined;
  const mark = preview ? ":preview" : "";
  const spooled = async (
    name: string,
    make: () => AsyncIterable<Uint8Array>,
    truncated: boolean,
  ): Promise<InputFile> => {
    const file = await findSpooled(spoolDir, name) ??
      await spool(
        spoolDir,
        name,
        abortable(
          limitBytes(make(), { maxBytes: limits.maxSpoolBytes, label: raw.label }),
          ctx.signal,
        ),
      );
    return asInput(raw, file, truncated);
  };

  let input: InputFile = raw;
  const truncated = raw.truncated === true;
  const layers = await layersOf(raw);
  const unpacked = () =>
    layers.reduce<AsyncIterable<Uint8Array>>(
      (bytes, layer) => decompress(bytes, layer, { label: raw.label, truncated }),
      bytesOf(raw),
    );
  let head = await firstBytes(unpacked());
  const binary = isParquet(head) || isArrow(head) || conf.format === "parquet" ||
    conf.format === "arrow";
  const warnings: Message[] = [];
  let beginning = truncated;
  const encoding = binary ? "utf-8" : encodingOf(raw, { conf, head, warnings });
  const transcode = encoding !== "utf-8";
  if (layers.length > 0 || transcode) {
    const make = () => {
      let bytes = unpacked();
      // A Parquet file has its index at the end, so a preview needs all of it too.
      if (preview && !binary) bytes = takeBytes(bytes, PREVIEW_BYTES, () => beginning = true);
      return transcode ? toUtf8(bytes, { encoding, label: raw.label }) : bytes;
    };
    const name = spoolName(`${raw.identity}:${encoding}${mark}`, "data");
    input = await spooled(name, make, truncated || preview);
    head = await firstBytes(bytesOf(input));
  }
  const hints = {
    format: conf.format,
    name: raw.name,
    contentType: raw.contentType,
    label: raw.label,
    recordsPath: conf.records_path,
  };
  if (isEmpty(head) && !isSeparated(hints)) {
    warnings.push(say("file-empty", { file: raw.label }));
    return { input, format: "ndjson", warnings, beginning };
  }
  const format = detectFormat(head, hints);
  if (format === "arrow") {
    const source = input;
    // loaded here: few runs read such a file, and every worker would load it
    const { arrowToNdjson, arrowTypes } = await import("./arrow.ts");
    const arrow = {
      label: raw.label,
      maxRecords: previewRecords,
      maxBatchBytes: limits.maxSpoolBytes,
    };
    const lines = await spooled(
      spoolName(`${raw.identity}:arrow${mark}`, "ndjson"),
      () => arrowToNdjson(() => bytesOf(source), arrow),
      false,
    );
    const types = await arrowTypes(bytesOf(source), arrow);
    return {
      input: { ...lines, made: true, types },
      format: "ndjson",
      warnings,
      beginning: false,
    };
  }
  if (format !== "json") {
    const asLines = format === "ndjson" && conf.format === undefined && /json$/i.test(raw.name) &&
      !/nd\.?json$|ldjson$/i.test(raw.name);
    if (asLines) warnings.push(say("read-as-ndjson", { file: raw.label }));
    return { input, format, warnings, beginning };
  }
  const recordsPath = conf.records_path ?? "";
  const name = spoolName(`${raw.identity}:${encoding}:${recordsPath}${mark}`, "ndjson");
  const source = input;
  const lines = await spooled(
    name,
    () =>
      jsonArrayToNdjson(bytesOf(source), {
        recordsPath,
        label: raw.label,
        maxTokenBytes: limits.maxRecordBytes + (1 << 20),
        maxRecords: previewRecords,
        truncated: source.truncated === true,
        onWarning: (warning) => warnings.push(warning),
      }),
    source.truncated === true,
  );
  return { input: { ...lines, made: true }, format: "ndjson", warnings, beginning };
}

function asInput(raw: RawFile, file: SpoolFile, truncated: boolean): InputFile {
  return {
    root: "spool",
    path: file.path,
    label: raw.label,
    size: file.size,
    mtime_ms: 0,
    absolutePath: file.absolutePath,
    truncated,
  };
}

/** The compressions around the data, outermost first: the server's own, then the file's. */
async function layersOf(raw: RawFile): Promise<Compression[]> {
  const layers: Compression[] = [];
  const head = async () => {
    const bytes = layers.reduce<AsyncIterable<Uint8Array>>(
      (inner, layer) => decompress(inner, layer, { label: raw.label, truncated: true }),
      bytesOf(raw),
    );
    return await firstBytes(bytes, SIGNATURE_BYTES);
  };
  for (const coding of raw.contentEncodings ?? []) {
    const signed = coding === "gzip" || coding === "zstd";
    // some servers say so of what they have unpacked
    if (signed && compressionOf(await head()) !== coding) continue;
    layers.push(coding);
  }
  const own = compressionOf(await head());
  if (own !== undefined) layers.push(own);
  return layers;
}

function compressionOf(head: Uint8Array): Compression | undefined {
  return isGzip(head) ? "gzip" : isZstd(head) ? "zstd" : undefined;
}

interface EncodingHints {
  conf: ParsingConf;
  head: Uint8Array;
  warnings: Message[];
}

/** The encoding of text as TextDecoder calls it: the conf's, else by its mark, else the server's, else UTF-8. */
function encodingOf(raw: RawFile, { conf, head, warnings }: EncodingHints): string {
  const { label } = raw;
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(raw.contentType ?? "")?.[1];
  // ASCII is UTF-8, and a byte order mark knows better than a server's default
  if (
    conf.encoding !== undefined || charset === undefined || hasMark(head) ||
    /^(?:us-)?ascii$/i.test(charset)
  ) {
    return textEncoding(head, { declared: conf.encoding, label });
  }
  let declared: string;
  try {
    declared = /^utf-16$/i.test(charset) ? "utf-16" : new TextDecoder(charset).encoding;
  } catch (error) {
    throw new Problem("source-unreadable", {
      detail: say("charset-unknown", { file: label, charset: charset.slice(0, 40) }),
      cause: error,
    });
  }
  const encoding = textEncoding(head, { declared, label });
  if (encoding !== "utf-8") {
    warnings.push(say("read-as-charset", { file: label, charset }));
  }
  return encoding;
}

/** All bytes of a file, wherever it is. */
async function* bytesOf(input: InputFile): AsyncGenerator<Uint8Array, void, void> {
  if (input.root !== "elsewhere") return yield* fileBytes(input.absolutePath);
  for await (const bytes of windows(input.ranges, 0, input.size)) yield bytes.slice();
}

async function firstBytes(
  source: AsyncIterable<Uint8Array>,
  count = HEAD_BYTES,
): Promise<Uint8Array> {
  const head = new Uint8Array(count);
  let length = 0;
  for await (const chunk of source) {
    const piece = chunk.subarray(0, count - length);
    head.set(piece, length);
    length += piece.length;
    if (length === count) break;
  }
  return head.subarray(0, length);
}

async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
