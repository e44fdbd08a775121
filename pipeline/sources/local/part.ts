import type { Plain } from "../source.ts";

export type DataFormat = "csv" | "tsv" | "ndjson" | "json" | "parquet" | "arrow";

/** What a chunk reads: one range of one file. A slice of a file source is a list of these. */
export interface Part {
  [key: string]: number | string;
  /** Which directory `path` is below: ETL_DATA_DIR or the run's spool directory. */
  root: "data" | "spool";
  path: string;
  /** What messages call the file. */
  label: string;
  size: number;
  /** 0 for a spooled file, whose time says nothing. */
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
export interface InputFile {
  root: "data" | "spool";
  path: string;
  label: string;
  size: number;
  mtime_ms: number;
  /** Where to open it. */
  absolutePath: string;
  /** Its lines are ours, made of a document: they say nothing of the file's. */
  made?: true;
  /** Only a beginning, for a preview: its last record may be cut off. */
  truncated?: boolean;
}
