import { type Message, say } from "../../vocabulary/messages.ts";
import type { Json, SourceRecord } from "../numbers.ts";
import type { FlatRecords } from "./flat_records.ts";
import type { MappingConf } from "../mapping.ts";
import type { HttpConnection, HttpTarget } from "./http/connection.ts";
import type { S3Connection } from "./s3/connection.ts";
import type { SourceConf } from "./schema.ts";
import type { SourceClient } from "../user_code/source_client.ts";
import { Problem } from "../../vocabulary/problem.ts";

export type { Json, SourceRecord };

/** A record that could not be read; it goes to the quarantine. */
export class Unreadable {
  constructor(
    /** The broken rule, e.g. `json_syntax`, `csv_columns`, `encoding`, `not_an_object`. */
    readonly rule: string,
    /** What is wrong, in words, with line or byte position where known. */
    readonly message: Message,
    /** The raw text as far as it can be shown; a batch that tells origins has it whole. */
    readonly raw: string,
    /** The column or field that is wrong, where it is one. */
    readonly field: string | null = null,
  ) {}
}

/** Where a record stands in its source, and what stands there. */
export interface Origin {
  /** The file or URL, without credentials; null where there is none. */
  file: string | null;
  /** Line of the file where the record begins, from 1, as an editor counts; null where there are none. */
  line: number | null;
  /** Line of the slice where the record begins, from 1, while nobody knows that of the file; default: `line` is known, or there is none. */
  sliceLine?: number;
  /** The record's bytes as they stand in the file, up to the record limit; null: the record as JSON is it. */
  raw: Uint8Array | null;
  /** JSON of the record, to be read again, where `raw` is no JSON (CSV); null where it could not be read. */
  record: string | null;
}

/** The type of columns of bytes, whose values are base64: text, but in a column of bytes. */
export const BYTES = "base64";

/** Records in source order. Where one stands is asked only of those that are rejected or shown. */
export interface RecordBatch extends Array<SourceRecord | Unreadable> {
  /** The file or URL of all its records, where there is one. */
  file?: string;
  /** Of the record at an index of this batch; valid until the next batch is asked for. */
  origin?: (index: number) => Origin;
  /** Records in which an object has a name twice, of which the last was read: how many, and the first. */
  repeatedNames?: { records: number; example: string };
  /**
   * Types of `source.columns` that hold all values of its columns, by name, where the source itself has types: those of other
   * columns are told by their values. Bytes, whose text is base64, are `BYTES`.
   */
  types?: Record<string, string>;
  /** Whether its records are cells of text (CSV), of which 1.10 and 1.1 are two keys. */
  cells?: true;
  /**
   * Its records, where they need not be parsed: then it has no others. `rest` reads them from one on as it reads any.
   */
  unparsed?: { records: FlatRecords; rest: (from: number) => RecordBatch };
  /** The highest position among its records, of a source that finds it while it reads. */
  position?: string;
  /** Records whose value is no position, as it lies in the future: how many, and one of the values. */
  noPositions?: { records: number; example: string };
}

/** A plain JSON object: crosses to workers and into etl.chunks unchanged. */
export type Plain = {
  [key: string]: null | boolean | number | string | Plain | Plain[] | string[];
};

/** Where one chunk's records are found. */
export type Slice = Plain;

/** What planning a source gives. The same input gives the same plan, on every server. */
export interface Plan {
  /**
   * What identifies the input as it was when the run first saw it (size and
   * mtime, ETag, upper bound of the cursor). Stored with the run.
   */
  pin: Plain;
  /** In source order; each holds about a chunk of records. May be empty. */
  slices: Slice[];
  /** Number of records where it is known without reading. */
  records?: number;
  /** About how many records the slices have, and bytes as text, where that is known: for what they take on disk. */
  estimate?: { records: number; bytes: number };
  /** For the user: something looked odd but the run can go on. */
  warnings: Message[];
}

/** What `ETL_CONNECTION_<NAME>` and the environment say of servers that are read over HTTP, by name. */
export interface Remotes {
  http: Record<string, HttpConnection>;
  s3: Record<string, S3Connection>;
  /** For s3 sources that name no connection. */
  s3Environment: S3Connection | null;
}

/** Where a source is read from over HTTP: holds secrets, for the workers that read only. */
export type Target = HttpTarget | S3Connection;

/** Where an incremental source has got to. */
export interface CursorPosition {
  /** Value of the cursor column, as text. */
  position: string;
  /** The oldest transaction that was open then, where the mode `exact` has noted it. */
  snapshot: string | null;
}

export interface PlanContext {
  /** Records a chunk, when the conf gave it; else the source chooses (about 50,000 records or 16 MiB). */
  chunkSize?: number;
  /** At most so many records, when the conf gave a cap. */
  maxRecords?: number;
  /** Whether the run takes what it does not find for gone (`replace`, `mirror`); default false. */
  whole?: boolean;
  /** A directory of this run on this server, kept until the run ends: for downloads and decompressed files. */
  spoolDir: string;
  /** ETL_DATA_DIR, resolved. */
  dataDir: string;
  /** The pin of an earlier attempt: the input must still be the same, else `source-changed`. */
  pin?: Plain;
  /** DSN by connection name. */
  connections: Record<string, string>;
  /** What the adapter's `target` gave. */
  target?: Target | undefined;
  /** Of an incremental source: the stored position, if any and not full_refresh. */
  cursorPosition?: CursorPosition;
  /** The host of a source module, where the conf names one that needs it. */
  module?: SourceClient | null;
  /** Where request bodies stand that this server has stored a moment ago; default: nowhere. */
  bodiesDir?: string | null;
  /** The bytes of a stored request body. */
  readUpload?: (uploadId: string) => AsyncIterable<Uint8Array>;
  limits: SourceLimits;
  signal: AbortSignal;
}

export interface SourceLimits {
  /** Bytes that a download or a decompressed file may have. */
  maxSpoolBytes: number;
  /** Bytes of one record's text; a longer one is quarantined. */
  maxRecordBytes: number;
  /** Bytes that a worker may hold between two batches; default: any number. */
  maxWorkerBytes?: number;
  /** Hosts that may be fetched from: name, name:port, *.name, or * for any; default: any. */
  httpHosts?: string[];
  /** host or host:port entries that may be fetched although their address is private. */
  allowPrivateHosts: string[];
}

/** How lines of files elsewhere are counted, by who reads them. */
export interface LineCount {
  /** Line of the byte that is read next, from 1. */
  next: number;
  /** Counted from the beginning of the slice, as nobody knows the line of the file in which it begins. */
  ofSlice: boolean;
}

export interface ReadContext {
  spoolDir: string;
  dataDir: string;
  connections: Record<string, string>;
  /** What the adapter's `target` gave. */
  target?: Target | undefined;
  /** Rows of a keyset page (db_page_size). */
  pageSize: number;
  /** As the plan had it. */
  cursorPosition?: CursorPosition;
  /** The host of a source module, where the conf names one that needs it. */
  module?: SourceClient | null;
  /** When the run began, by the database's clock, in ms since 1970; default: now, by this server's. */
  now?: number;
  /** Whether who reads takes flat records (flat_records.ts); default false. */
  flat?: boolean;
  /** Counts lines of files elsewhere on, for those behind the slice; default: a count that nobody sees. */
  lines?: LineCount | undefined;
  limits: SourceLimits;
  signal: AbortSignal;
}

/**
 * One kind of source: what it can and what it needs. `plan`, `read` and `first` run in a Web Worker and hold a bounded
 * number of records in memory; the rest are facts, asked anywhere.
 */
export interface SourceAdapter<C extends SourceConf> {
  /** How its records become events where the conf does not say otherwise. */
  mapping?: MappingConf;
  /** Owner of its rows where the conf names none; default: the run_label. */
  defaultName?: string;
  /** It has no end of its own: batch_size says how many records it has. */
  endless?: true;
  /** Its records are at hand, so that chunk_size counts whoever set it; else the source knows better. */
  atHand?: true;
  /**
   * How other servers come to these slices, planned with this pin: where they are ("there"), or by unpacking the same on their disks,
   * which planning does ("unpacked"); null, the default: not at all.
   */
  everywhere?(
    slices: Slice[],
    options: { dataShared: boolean; pin?: Plain | null },
  ): "there" | "unpacked" | null;
  /** Whether this server has what another one has pinned, of what is in directories; default: it has. */
  isHere?(pin: Plain, options: { dataDir: string }): Promise<boolean>;
  /** The request body that holds its records, where one does; a large one is read as a file is. */
  upload?(conf: C): string | undefined;
  /** The column of an incremental conf that grows with every change; undefined where it is not incremental. */
  cursor?(conf: C): string | undefined;
  /** It may have a position without a column: `cursor_upper` of its pin, or `position` of its batches. */
  incremental?: true;
  /** The named connection whose database is read. */
  connection?(conf: C): string | undefined;
  /** From where it is read over HTTP, with the secrets of its connection; default: from nowhere. */
  target?(conf: C, remotes: Remotes): Target;
  /** What it has elsewhere, found or downloaded before it is planned; default: nothing. */
  fetch?: {
    /**
     * Puts it, or for a preview its beginning, into the spool directory, where `plan` finds it, unless it can be read from
     * where it is. Says why it was downloaded, where that is worth to be known.
     */
    download(
      conf: C,
      ctx: Pick<PlanContext, "spoolDir" | "limits" | "signal" | "pin">,
      options: { preview: boolean; target: Target },
    ): Promise<string | null>;
  };
  /** The first records without a plan; default: those of the first slices. */
  first?(conf: C, ctx: PlanContext, count: number): Promise<RecordBatch>;
  /** Plans the first records, which may be a few more; pins nothing. Default: plan, with maxRecords. */
  planFirst?(conf: C, ctx: PlanContext, count: number): Promise<Plan>;
  plan(conf: C, ctx: PlanContext): Promise<Plan>;
  /** Yields the slice's records in order, in batches of about 1,000. */
  read(conf: C, slice: Slice, ctx: ReadContext): AsyncIterable<RecordBatch>;
}

/** Characters of raw text that are kept of a record that cannot be read, where its batch does not tell its origin. */
export const RAW_LIMIT = 65_536;

const lenient = new TextDecoder();

/** Where a record was found, for the words of an error. */
export interface Position {
  /** The file or URL, without credentials. */
  label: string;
  /** Line number, from 1, where it is known. */
  line?: number | undefined;
  /** Byte offset in the (decompressed) text. */
  byte: number;
  /** The line is the number of a record in its document. */
  derived?: boolean;
}

/** What is wrong at "line 12 of flights.csv", or at the byte where lines were not counted. */
function placed({ label: file, line, byte, derived }: Position, what: Message): Message {
  if (line === undefined) return say("byte-place", { n: byte, file, what });
  return derived
    ? say("record-place", { n: line, file, what })
    : say("place", { line, file, what });
}

/** An Unreadable whose message starts with its position and whose raw text is bounded. */
export function unreadable(
  rule: string,
  what: Message,
  where: { at: Position; raw: string | Uint8Array; field?: string | null },
): Unreadable {
  const raw = typeof where.raw === "string"
    ? where.raw.slice(0, RAW_LIMIT)
    : lenient.decode(where.raw.subarray(0, RAW_LIMIT));
  return new Unreadable(rule, placed(where.at, what), raw, where.field);
}

/** Chunks that a run may have: the plan of all of them is in memory once. */
const MAX_SLICES = 1_000_000;

/** Refuses a plan of more slices than a server can hold. */
export function refuseManySlices(count: number): void {
  if (count <= MAX_SLICES) return;
  throw new Problem("invalid-conf", {
    detail: say("many-slices", { n: MAX_SLICES.toLocaleString("en-US") }),
    errors: [{ field: "chunk_size", message: "makes too many chunks", expected: "a larger one" }],
  });
}
