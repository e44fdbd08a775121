import { type Plain, refuseManySlices } from "../source.ts";
import type { Ranges } from "./ranges.ts";

const MAX_RECORDS = 50_000;
const MAX_BYTES = 16 * 1024 * 1024;
/** Slices that an input of some size has at least, so that every worker has something to do until the end. */
const MIN_SLICES = 4;
/** What is not worth dividing: some ten thousand records. */
const MIN_BYTES = 1.5 * 1024 * 1024;

export interface SlicePackerOptions {
  /** Records a slice, exactly. Default: at most about 50,000 records and 16 MiB. */
  chunkSize?: number | undefined;
  /** Records in all. Default: no cap. */
  maxRecords?: number | undefined;
  /** Bytes of a slice where `chunkSize` is not given; default 16 MiB. */
  targetBytes?: number | undefined;
}

/** Collects parts of files into slices; small files share one. */
export class SlicePacker {
  /** Whether records must be counted while planning. */
  readonly counts: boolean;
  readonly #chunkSize: number;
  #maxBytes: number;
  #targetBytes: number;
  #left: number;
  #open: Part[] = [];
  #openRecords = 0;
  #openBytes = 0;
  #records = 0;
  #bytes = 0;
  #slices: PartsSlice[] = [];

  constructor(options: SlicePackerOptions = {}) {
    this.counts = options.chunkSize !== undefined || options.maxRecords !== undefined;
    this.#chunkSize = options.chunkSize ?? MAX_RECORDS;
    this.#targetBytes = options.targetBytes ?? MAX_BYTES;
    this.#maxBytes = options.chunkSize === undefined ? this.#targetBytes : Infinity;
    this.#left = options.maxRecords ?? Infinity;
  }

  /** Divides an input of so many bytes in all into several slices, where `chunkSize` is not given. */
  divide(bytes: number): void {
    if (this.counts) return;
    this.#targetBytes = Math.min(
      this.#targetBytes,
      Math.max(MIN_BYTES, Math.ceil(bytes / MIN_SLICES)),
    );
    this.#maxBytes = this.#targetBytes;
  }

  /** Records that the open slice can still take; 0 when the cap on all records is reached. */
  get room(): number {
    return Math.min(this.#chunkSize - this.#openRecords, this.#left);
  }

  /** Bytes that the open slice can still take; at least 1. */
  get roomBytes(): number {
    return Math.max(1, this.#maxBytes - this.#openBytes);
  }

  /** Records of all parts so far; estimated where they are not counted. */
  get records(): number {
    return this.#records;
  }

  get full(): boolean {
    return this.#left <= 0;
  }

  /** Bytes that a part should have when a record has about `recordBytes`; uncounted planning. */
  targetBytes(recordBytes: number): number {
    return Math.max(1, Math.min(this.#targetBytes, Math.floor(MAX_RECORDS * recordBytes)));
  }

  /** Adds a part of so many records (estimated when they are not counted) and bytes. */
  add(part: Part, { records, bytes }: { records: number; bytes: number }): void {
    if (
      !this.counts && this.#open.length > 0 &&
      (this.#openRecords + records > this.#chunkSize || this.#openBytes + bytes > this.#maxBytes)
    ) {
      this.#close();
    }
    this.#open.push(part);
    this.#openRecords += records;
    this.#openBytes += bytes;
    this.#records += records;
    this.#bytes += bytes;
    this.#left -= records;
    if (this.#openRecords >= this.#chunkSize || this.#openBytes >= this.#maxBytes || this.full) {
      this.#close();
    }
  }

  /** The slices, the number of records when they were counted, and what they are about. */
  finish() {
    this.#close();
    return {
      slices: this.#slices,
      records: this.counts ? this.#records : undefined,
      estimate: { records: Math.round(this.#records), bytes: Math.round(this.#bytes) },
    };
  }

  #close(): void {
    if (this.#open.length > 0) this.#slices.push({ parts: this.#open });
    refuseManySlices(this.#slices.length);
    this.#open = [];
    this.#openRecords = 0;
    this.#openBytes = 0;
  }
}

export type DataFormat = "csv" | "tsv" | "ndjson" | "json" | "parquet" | "arrow";

/** Which directory a path is below: ETL_DATA_DIR or the run's spool directory; or it is read from where it is. */
export type Root = "data" | "spool" | "elsewhere";

/** What a chunk reads: one range of one file. A slice of a file source is a list of these. */
export interface Part {
  [key: string]: number | string;
  root: Root;
  path: string;
  /** What messages call the file. */
  label: string;
  size: number;
  /** 0 where the time says nothing: of a spooled file, and of one elsewhere, which has an `etag`. */
  mtime_ms: number;
  format: "ndjson" | "csv" | "parquet";
  /** First byte, or first row of a Parquet file. */
  start: number;
  /** Byte or row after the last. */
  end: number;
}

/** The slice of a source that reads files. */
export interface PartsSlice extends Plain {
  parts: Part[];
}

/** A file to plan over, found and, where needed, already spooled. */
export type InputFile = FilePlace & {
  /** Its lines are ours, made of a document: they say nothing of the file's. */
  made?: true;
  /** The types that the source has for its columns, as batches tell them. */
  types?: Record<string, string>;
  /** Only a beginning, for a preview: its last record may be cut off. */
  truncated?: boolean;
};

interface Described {
  path: string;
  label: string;
  size: number;
  mtime_ms: number;
}

/** Where a file is: in a directory, or elsewhere. */
type FilePlace =
  | Described & {
    root: "data" | "spool";
    /** Where to open it. */
    absolutePath: string;
  }
  | Described & {
    root: "elsewhere";
    /** How to read it. */
    ranges: Ranges;
    /** The strong validator that says which content it is. */
    etag: string;
  };

/** What a part says of its file. */
export function placeOf(input: InputFile) {
  const { root, path, label, size, mtime_ms } = input;
  return {
    root,
    path,
    label,
    size,
    mtime_ms,
    ...(input.root === "elsewhere" ? { etag: input.etag } : {}),
  };
}
