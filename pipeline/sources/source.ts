import type { SourceConf } from "./schema.ts";

/**
 * A JSON value as the pipeline holds it: integers that a double cannot hold
 * exactly are bigint, everything else is as JSON.parse gives it.
 */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** What a source yields: a JSON object. */
export type SourceRecord = { [key: string]: Json };

/** A record that could not be read; it goes to the quarantine. */
export class Unreadable {
  constructor(
    /** The broken rule, e.g. `json_syntax`, `csv_columns`, `encoding`, `not_an_object`. */
    readonly rule: string,
    /** What is wrong, in words, with line or byte position where known. */
    readonly message: string,
    /** The raw text as far as it can be shown. */
    readonly raw: string,
  ) {}
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
  /** For the user: something looked odd but the run can go on. */
  warnings: string[];
}

export interface PlanContext {
  /** Records a chunk, when the conf gave it; else the source chooses (about 50,000 records or 16 MiB). */
  chunkSize?: number;
  /** At most so many records, when the conf gave a cap. */
  maxRecords?: number;
  /** A directory of this run on this server, kept until the run ends: for downloads and decompressed files. */
  spoolDir: string;
  /** ETL_DATA_DIR, resolved. */
  dataDir: string;
  /** The pin of an earlier attempt: the input must still be the same, else `source-changed`. */
  pin?: Plain;
  /** DSN by connection name. */
  connections: Record<string, string>;
  /** For the cursor of a postgres source: the stored position, if any and not full_refresh. */
  cursorPosition?: string;
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
  /** Hosts that may be fetched from: name, name:port, *.name, or * for any; default: any. */
  httpHosts?: string[];
  /** host or host:port entries that may be fetched although their address is private. */
  allowPrivateHosts: string[];
}

export interface ReadContext {
  spoolDir: string;
  dataDir: string;
  connections: Record<string, string>;
  /** Rows of a keyset page (db_page_size). */
  pageSize: number;
  limits: SourceLimits;
  signal: AbortSignal;
}

/**
 * One kind of source. Both functions run in a Web Worker and hold a bounded
 * number of records in memory.
 */
export interface SourceAdapter<C extends SourceConf> {
  plan(conf: C, ctx: PlanContext): Promise<Plan>;
  /** Yields the slice's records in order, in batches of about 1,000. */
  read(conf: C, slice: Slice, ctx: ReadContext): AsyncIterable<(SourceRecord | Unreadable)[]>;
}
