import type { PlanContext } from "../source.ts";
import { detectFormat, isGzip, isParquet } from "./detect_format.ts";
import { jsonArrayToNdjson } from "./json_document.ts";
import type { DataFormat, InputFile } from "./part.ts";
import { findSpooled, spool, type SpoolFile, spoolName } from "./spool.ts";
import { fileBytes, gunzip, limitBytes, takeBytes, toUtf8 } from "./streams.ts";

const HEAD_BYTES = 65_536;
/** Bytes of text that a preview reads at most. */
export const PREVIEW_BYTES = 1 << 20;

/** A file as it was found or fetched. */
export interface RawFile extends InputFile {
  /** File name, for its format. */
  name: string;
  /** Says which content it is, so that what is made of it can be found again. */
  identity: string;
  contentType?: string | undefined;
}

/** How the conf says that files are to be read. */
export interface ParsingConf {
  format?: DataFormat | undefined;
  records_path?: string | undefined;
  delimiter?: string | undefined;
  encoding: "utf-8" | "latin1" | "utf-16le";
}

export interface PreparedInput {
  input: InputFile;
  /** JSON documents have become NDJSON. */
  format: Exclude<DataFormat, "json">;
  warnings: string[];
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
  let head = await readHead(raw.absolutePath);
  const gzip = isGzip(head);
  // A Parquet file has its index at the end, so a preview needs all of it too.
  const parquet = conf.format === "parquet" || /\.(parquet|pq)\.gz$/i.test(raw.name);
  const transcode = conf.encoding !== "utf-8" && !parquet && !isParquet(head);
  if (gzip || transcode) {
    const truncated = raw.truncated === true;
    const make = () => {
      let bytes: AsyncIterable<Uint8Array> = fileBytes(raw.absolutePath);
      if (gzip) bytes = gunzip(bytes, { label: raw.label, truncated });
      if (preview && !parquet) bytes = takeBytes(bytes, PREVIEW_BYTES);
      return transcode ? toUtf8(bytes, { encoding: conf.encoding, label: raw.label }) : bytes;
    };
    const name = spoolName(`${raw.identity}:${conf.encoding}${mark}`, "data");
    input = await spooled(name, make, truncated || preview);
    head = await readHead(input.absolutePath);
  }
  const format = detectFormat(head, {
    format: conf.format,
    name: raw.name,
    contentType: raw.contentType,
    label: raw.label,
    recordsPath: conf.records_path,
  });
  if (format !== "json") {
    const asLines = format === "ndjson" && conf.format === undefined && /json$/i.test(raw.name) &&
      !/nd\.?json$|ldjson$/i.test(raw.name);
    return {
      input,
      format,
      warnings: asLines ? [`${raw.label}: read as NDJSON, one object a line.`] : [],
    };
  }
  const recordsPath = conf.records_path ?? "";
  const name = spoolName(`${raw.identity}:${conf.encoding}:${recordsPath}${mark}`, "ndjson");
  const source = input;
  const lines = await spooled(
    name,
    () =>
      jsonArrayToNdjson(fileBytes(source.absolutePath), {
        recordsPath,
        label: raw.label,
        maxTokenBytes: limits.maxRecordBytes + (1 << 20),
        maxRecords: previewRecords,
        truncated: source.truncated === true,
      }),
    source.truncated === true,
  );
  return { input: lines, format: "ndjson", warnings: [] };
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

async function readHead(path: string): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const head = new Uint8Array(HEAD_BYTES);
  let length = 0;
  while (length < head.length) {
    const got = await file.read(head.subarray(length));
    if (got === null) break;
    length += got;
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
