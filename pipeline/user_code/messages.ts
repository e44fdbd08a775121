import type { Consumer, DatasetEvent } from "../consumers/consumer.ts";
import type { MappingConf } from "../mapping.ts";
import type { Parameter } from "./consumer_calls.ts";
import type { PackedEvents, PackedRecords } from "./crossing.ts";

/** What a host is asked. */
export type ToHost =
  | {
    type: "load";
    /** File of the module. */
    path: string;
    mapping: MappingConf;
    sourceName: string;
    /** Milliseconds that loading, and then each batch, may take. */
    limitMs: number;
  }
  | { type: "batch"; start: number; records: PackedRecords }
  /** What consumers a file has. */
  | { type: "describe"; path: string; limitMs: number }
  | {
    type: "consume";
    path: string;
    /** Name of the consumer. */
    name: string;
    events: DatasetEvent[];
    params: unknown;
    limitMs: number;
  }
  /** Loads a source module, for what comes next. */
  | {
    type: "source";
    path: string;
    config: unknown;
    /** Position of the last successful run. */
    since: string | null;
    connections: string[];
    pageSize: number;
    maxRecordBytes: number;
    /** Milliseconds that loading may take. */
    limitMs: number;
    /** And what comes after it, each time. */
    batchMs: number;
  }
  | { type: "slice" }
  /** The first batch of a slice, as `sliced` had it; the others are asked for with `next`. */
  | { type: "read"; slice: string }
  | { type: "next" }
  | { type: "stop" }
  /** To a call of a consumer, or a request of a source: what came of it, or why not. */
  | { type: "answer"; id: number; result: unknown }
  | { type: "refusal"; id: number; error: Record<string, unknown> & { message: string } }
  /** A consumer is to end: its server stops. */
  | { type: "abort" };

/** What a host answers, once to each question; a `failed` is its last word. */
export type FromHost =
  | { type: "loaded"; exports: boolean; lines: Lines }
  | { type: "batch"; events: PackedEvents; lines: Lines }
  | { type: "described"; consumers: ConsumerDefinition[] }
  /** What a consumer asks its server for. */
  | { type: "query"; id: number; text: string; values: Parameter[] }
  | { type: "emit"; id: number; dataset: string; counts: Record<string, number> }
  | { type: "lines"; lines: Lines }
  /** With the JSON of what a consumer answered. */
  | { type: "consumed"; result: string | null; lines: Lines }
  | {
    type: "opened";
    hosts: string[];
    cursor: string | null;
    repeatable: boolean;
    steady: boolean;
    lines: Lines;
  }
  | { type: "misconfigured"; issues: { path: string; message: string }[]; lines: Lines }
  | { type: "sliced"; slices: string[]; position: string | null; lines: Lines }
  /** `bad` are those in whose place there is null: index, rule, what is wrong. */
  | {
    type: "records";
    text: string;
    bad: [number, string, string][];
    done: boolean;
    lines: Lines;
  }
  | { type: "stopped"; lines: Lines }
  /** What a source asks of a server of its own. */
  | { type: "request"; id: number; request: SourceRequest }
  | {
    type: "failed";
    why: "time" | "memory" | "load" | "error";
    message: string;
    position: number | null;
    /** The request whose failure this is. */
    request?: number | null;
    lines: Lines;
  };

/** What a source module asks of a server. */
export interface SourceRequest {
  /** Absolute, or relative to its connection's. */
  url: string;
  method: string;
  /** With names in lower case. */
  headers: Record<string, string>;
  body: string | null;
  connection: string | null;
}

/** Records that a source module hands over at once. */
export const MAX_RECORDS_A_BATCH = 1_000;

/** A consumer without its code. */
export type ConsumerDefinition = Pick<
  Consumer,
  "name" | "datasets" | "emits" | "mode" | "pauseMs" | "skipUnchanged" | "timeoutMs" | "hosts"
>;

/** What a module printed. */
export interface Lines {
  lines: Line[];
  /** Lines beyond what is kept. */
  dropped: number;
}

export interface Line {
  level: "debug" | "info" | "warn" | "error";
  text: string;
  /** The record that the module had in hand; null while it was loaded. */
  position: number | null;
}

/** Lines that are kept of a batch, and characters of a line. */
const MAX_LINES_A_BATCH = 20;
const MAX_LINE_LENGTH = 500;

const LEVELS = ["debug", "info", "warn", "error"] as const;

/** Lines as they came from a host, where the user's code may have put anything in them. */
export function readLines(value: unknown): Lines {
  const { lines, dropped } = (value ?? {}) as Partial<Lines>;
  return {
    dropped: typeof dropped === "number" ? dropped : 0,
    lines: (Array.isArray(lines) ? lines : []).slice(0, MAX_LINES_A_BATCH).map((line) => ({
      level: LEVELS.find((level) => level === line?.level) ?? "info",
      text: cut(textOf(line?.text), MAX_LINE_LENGTH + 1),
      position: typeof line?.position === "number" ? line.position : null,
    })),
  };
}

/** What came as text; an object that crossed may have what throws when it is made one. */
export function textOf(value: unknown): string {
  return typeof value === "object" && value !== null ? "(no text)" : String(value);
}

/** A text of at most `length` characters and …, which says that a secret in it may have been cut. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** Lines that are kept of a host in all. */
const MAX_LINES = 500;

const inspect = Deno.inspect;

/** Collects what a module prints, for the run's log. */
export class Printed {
  #lines: Line[] = [];
  #kept = 0;
  #dropped = 0;
  readonly #position: () => number | null;

  constructor(position: () => number | null) {
    this.#position = position;
  }

  add(level: Line["level"], values: unknown[]): void {
    if (this.#lines.length >= MAX_LINES_A_BATCH || this.#kept >= MAX_LINES) {
      this.#dropped++;
      return;
    }
    this.#kept++;
    const text = values.map((value) => typeof value === "string" ? value : shown(value)).join(" ");
    this.#lines.push({ level, text: cut(text, MAX_LINE_LENGTH), position: this.#position() });
  }

  take(): Lines {
    const taken = { lines: this.#lines, dropped: this.#dropped };
    this.#lines = [];
    this.#dropped = 0;
    return taken;
  }
}

function shown(value: unknown): string {
  try {
    return inspect(value, { depth: 3, iterableLimit: 20, strAbbreviateSize: 200 });
  } catch {
    return "(cannot be shown)";
  }
}

/** What was thrown, in words; a module may throw anything. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return "it threw what cannot be shown";
  }
}
