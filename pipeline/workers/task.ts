import type { Message } from "../../vocabulary/messages.ts";
import type { ValidationResult } from "../expectations/expectations.ts";
import type { ForeignRows, KeysOfFiles } from "../../store/event_keys.ts";
import type { Comparison } from "../stages/resolve.ts";
import type { Params } from "../params.ts";
import type { Privacy } from "../private_fields.ts";
import type { Outcome } from "../../store/runs.ts";
import type { TypedTable } from "../../store/row_layout.ts";
import type { KindsSeen, TypesSeen } from "../typed_rows.ts";
import type { ProblemDetails } from "../../vocabulary/problem.ts";
import type { FileStart, SpillMeta } from "../spill/layout.ts";
import type { Stage } from "../../vocabulary/words.ts";
import type { Lines } from "../user_code/messages.ts";
import type { SourceLine } from "../user_code/source_client.ts";
import type {
  CursorPosition,
  Plain,
  Plan,
  Slice,
  SourceLimits,
  Target,
} from "../sources/source.ts";

/** What a worker needs to know of a run; sent once a run, as plain data. */
export interface RunContext {
  runId: string;
  attempt: number;
  /** When it began, by the database's clock, in ms since 1970. */
  startedAt: number;
  /** This server. */
  serverId: string;
  /** Where several servers work on the run: this one's right to chunks; null: one server has all of them. */
  holder: string | null;
  /** Whether it replays rejected records of another run. */
  isReplay: boolean;
  /** The run as which its rows count in the order of requests: itself, or the first of a chain of replays. */
  orderRunId: string;
  /** A later request has put rows there since: what is missing is added, and nothing changed. */
  late: boolean;
  /** That one has replaced or mirrored: what is missing is missing. */
  superseded: boolean;
  /** Of a run that is executed in any order: how often rows of its source had been deleted from the dataset; null: not beside it. */
  deletions: { dataset: string; source: string; times: number } | null;
  /** `write: append`: rows that are there stay as they are. */
  appends: boolean;
  /** `write: replace`: this run's rows are the table's, whatever their versions. */
  replaces: boolean;
  /** `write: replace` and `mirror`: all is published in the transaction that ends the run. */
  atOnce: boolean;
  /** Whether the destination has the column for rows that are marked as gone. */
  marks: boolean;
  /** Whether keys of the dataset have been deleted by a feed, or may be by this run. */
  buries: boolean;
  /** Whether Citus distributes the destination, and its manifest with it. */
  distributed: boolean;
  params: Params;
  /** The personal data of its records, with the secret that hashes it; null where there is none. */
  privacy: Privacy | null;
  /** Owner of the rows. */
  sourceName: string;
  /** The destination's columns, where it is typed and they are known; null: the events table. */
  table: TypedTable | null;
  /** chunk_size and batch_size where the request gave them, for the source to obey. */
  chunkSize: number | null;
  maxRecords: number | null;
  /** The input as the first attempt saw it. */
  pin: Plain | null;
  cursorPosition: CursorPosition | null;
  /** This run's directory on this server's disk. */
  spillDir: string;
  /** Where request bodies stand that this server has stored a moment ago; null: nowhere. */
  bodiesDir: string | null;
  dataDir: string;
  /** Directory of the user's transform modules. */
  transformsDir: string;
  /** Directory of the user's source modules. */
  sourcesDir: string;
  connections: Record<string, string>;
  /** What its source is read from over HTTP, with the secrets of its connection. */
  target: Target | undefined;
  limits: SourceLimits;
  /** Compiled by each worker; null where there is no suite. */
  suite: Plain | null;
  traceparent: string | null;
}

/** What resolve decided for one chunk; the positions themselves are on the spill's disk. */
export interface ChunkDecision {
  chunkNo: number;
  events: number;
  /** Events that lost against another version of their key in this run. */
  duplicates: number;
  /** Rows that are not in the destination yet. */
  inserts: number;
  /** Rows that replace another content. */
  updates: number;
  /** Deletions: of rows that are there, of keys without a row, and those that something newer has passed. */
  deletes: number;
  buries: number;
  stales: number;
  /** Rows that a late run leaves as they are, though its content is another. */
  heldBack: number;
  /** Deletions that lost against no other event of their key. */
  deletions: number;
  /** Rows that go, or are marked. */
  deleted: number;
  marked: number;
}

/** What publishing at once came to. */
export interface AtOnce {
  decisions: ChunkDecision[];
  /** What the user is told. */
  warnings: Message[];
  /** Whether the run has ended with it; false for a dry run. */
  ended: boolean;
}

/** A prepared chunk of a run that is published at once. */
export interface AtOnceChunk {
  chunkNo: number;
  events: number;
  deletions: number;
  recordsRead: number;
  /** Rejected records whose key could not be read. */
  keyless: number;
  /** Whether there are others. */
  present: boolean;
  files?: FileStart[];
}

export interface PrepareResult {
  meta: SpillMeta;
  /** Whether an earlier attempt's spill was used. */
  reused: boolean;
}

/** The only chunk of a run: what `resolve` would be asked about it. */
export interface AloneChunk {
  chunk: Tasks["resolve"]["input"]["chunks"][number];
  comparison: "none" | "lookup";
  destinationRows: number;
}

export interface PublishResult {
  /** False where the chunk had been published before; the counts are the stored ones then. */
  published: boolean;
  /** What was decided of a chunk `alone`, where it had not been published before. */
  heldBack?: number;
  keysOfFiles?: KeysOfFiles | undefined;
  inserted: number;
  updated: number;
  unchanged: number;
  duplicates: number;
  /** Rows that a constraint, a type or a trigger of the table has refused. */
  refused: number;
  elapsedMs: number;
}

/** The work that crosses to a worker, by kind: what it takes and what it gives. */
export interface Tasks {
  plan: { input: Record<never, never>; output: Plan };
  /** Which types the values of a slice's first records have; for the first load of a typed table. */
  types: {
    input: { slice: Slice; slices: number };
    output: { types: TypesSeen; kinds: KindsSeen };
  };
  prepare: {
    input: {
      chunkNo: number;
      slice: Slice;
      /** The chunk's stored state: the spill of a planned one is not used, its counters are not stored. */
      state: "planned" | "prepared" | "published";
      /** Whether the run is compared by a join, so that the manifest must be filled. */
      fillManifest: boolean;
      /** Whether another server may have put keys of the chunk there already; default false. */
      again?: boolean;
    };
    output: PrepareResult;
  };
  /** The verdict of the suite over the batch, from the chunks' states. */
  judge: { input: { states: Plain[] }; output: ValidationResult };
  resolve: {
    input: {
      /** `deletions` are among the events. */
      chunks: { chunkNo: number; events: number; deletions?: number; files?: FileStart[] }[];
      comparison: Comparison;
      /** What PostgreSQL thinks the destination has. */
      destinationRows: number;
    };
    /** Without `compared`, each chunk is still to be looked up. */
    output: {
      decisions: ChunkDecision[];
      compared: boolean;
      /** Keys that several files have, with different contents, where no version says which is newest. */
      keysOfFiles?: KeysOfFiles | undefined;
    };
  };
  /** Looks the keys of one chunk up in the destination. */
  lookup: {
    input: { decision: ChunkDecision; destinationRows: number };
    output: { decision: ChunkDecision; foreign: ForeignRows | null };
  };
  publish: {
    /** A decision of `resolve` or `lookup`; `alone`: the only chunk of a run, which is compared in the same transaction. */
    input: { decision: ChunkDecision } | { alone: AloneChunk };
    output: PublishResult;
  };
  /** Publishes all chunks and ends the run with this outcome, in one transaction; without one it only says what it would do. */
  publishAtOnce: {
    input: {
      chunks: AtOnceChunk[];
      /** Whether the destination holds rows. */
      filled: boolean;
      outcome: Outcome | null;
    };
    output: AtOnce;
  };
  /** Compares the rows of a dry run with those of its table, value by value, and stores what it finds. */
  compare: { input: { decisions: ChunkDecision[]; rejected: number }; output: null };
}

export type TaskKind = keyof Tasks;

export type ToWorker =
  | { type: "start"; config: WorkerConfig }
  | { type: "open"; context: RunContext }
  /** The line to the host of the run's transform module, before its first chunk. */
  | { type: "host"; runId: string; port: MessagePort }
  /** The lines to the host of the run's source module, before it is planned or read. */
  | { type: "source"; runId: string; line: SourceLine }
  | { type: "close"; runId: string }
  | { type: "abort"; runId: string }
  | { type: "task"; id: number; runId: string; kind: TaskKind; input: unknown }
  /** Lets go of its runs and its connection; another `start` may follow. */
  | { type: "stop" };

export type FromWorker =
  | { type: "ready" }
  | { type: "stopped" }
  | { type: "done"; id: number; output: unknown }
  | { type: "failed"; id: number; error: WireError }
  | { type: "retry"; runId: string; retry: Retry }
  | { type: "lines"; runId: string; lines: ModuleLines };

/** A database operation that failed transiently and is tried again. */
export interface Retry {
  kind: TaskKind;
  /** The tries so far. */
  attempt: number;
  message: string;
}

/** What a module of the user's printed. */
export type ModuleLines = Lines & { module: string; chunkNo: number | null };

/** An error as it crosses from a worker. */
export type WireError =
  & { stage: Stage | null }
  & (
    | { problem: ProblemDetails; transient: boolean }
    | { message: string; stack: string; code: string | null; transient: boolean }
  );

export interface WorkerConfig {
  dsn: string;
  name: string;
  /** Milliseconds between two looks whether a silent connection is still there. */
  probeMs?: number | undefined;
  /** Whether its connection may keep plans of statements; default false. */
  keepPlans?: boolean | undefined;
}
