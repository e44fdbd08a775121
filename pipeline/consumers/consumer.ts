import type { z } from "zod";
import type { Queryable } from "../../store/pg.ts";
import type { Log } from "../../telemetry/log.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";

/** What a run, or a consumer, has done to a dataset. */
export interface DatasetEvent {
  event_no: number;
  /** "schema.table" */
  dataset: string;
  /** Null where a consumer emitted the event. */
  run_id: string | null;
  /** etl_improved, or the name of the consumer that emitted it. */
  emitted_by: string;
  /** inserted, updated, unchanged, rejected, … of the run; what a consumer gave. */
  counts: Record<string, number>;
  /** Columns of a typed table as the run left them; null of a table of events, and of what a consumer emitted. */
  schema: { name: string; type: string }[] | null;
  /** Whether they are others than at the event before. */
  schema_changed: boolean;
  /** ISO 8601 */
  created_at: string;
}

/** What a consumer's `run` gets. */
export interface ConsumerContext<Params> {
  /** One for mode `each`, one or more, oldest first, for `batch`; none when started by hand. */
  events: DatasetEvent[];
  /** The consumer's parameters: defaults, or what it was started with by hand. */
  params: Params;
  /**
   * The connection of the transaction in which the events are ticked off: what
   * is written through it is written exactly once, or not at all.
   */
  db: Queryable;
  /** Emits an event of a dataset that the definition lists under `emits`. */
  emit(dataset: string, counts?: Record<string, number>): Promise<void>;
  log: Log;
  /** Aborted when the server stops: throw, and the events come again. */
  signal: AbortSignal;
}

export interface ConsumerOptions<Schema extends z.ZodObject> {
  /** Letters, digits and _, e.g. "daily_extract"; also its name in StatsD and in etl.deliveries. */
  name: string;
  /** "schema.table" of each dataset whose events start it; `postgres://etl_improved/table` is public.table. */
  datasets: string[];
  /** Its parameters; every one needs a default. */
  params: Schema;
  /** `each`: once for each event; `batch`: once for all that wait, at most 1,000. Default each. */
  mode?: "each" | "batch";
  /**
   * Milliseconds after an execution in which further events gather for the next one; the first of them after a rest
   * starts it at once. For mode `batch`. Default 0.
   */
  pauseMs?: number;
  /** Whether to leave out events that inserted and updated nothing. Default false. */
  skipUnchanged?: boolean;
  /** Datasets of which it may emit events itself. Default none. */
  emits?: string[];
  /** Milliseconds that one execution may take; then it is ended, which counts as a failure. Default 600,000. */
  timeoutMs?: number;
  /**
   * Hosts that it may reach, as "api.example.com:443"; they must be in
   * ETL_CONSUMER_HOSTS, too. Default none.
   */
  hosts?: string[];
  /**
   * What it does; what it answers is kept with the delivery. When it throws,
   * its writes are undone and the events come again, five times in all.
   */
  run(context: ConsumerContext<z.infer<Schema>>): Promise<unknown>;
}

/** What a consumer without a host of its own may have done, besides what {@linkcode ConsumerContext} has. */
export interface Execution {
  /** Executes a statement on the connection of `db` and drops its rows as they come. */
  execute(text: string, values: unknown[]): Promise<void>;
}

/** A consumer as the server runs it. */
export interface Consumer {
  readonly name: string;
  readonly datasets: readonly string[];
  readonly mode: "each" | "batch";
  readonly pauseMs: number;
  readonly skipUnchanged: boolean;
  readonly emits: readonly string[];
  readonly timeoutMs: number;
  readonly hosts: readonly string[];
  /** SHA-256 of its file, hexadecimal, where that is all that it is. */
  readonly sha256?: string;
  /** Checks parameters and fills in defaults. Throws a Problem that names what is wrong. */
  parseParams(given: unknown): Record<string, unknown>;
  run(context: ConsumerContext<Record<string, unknown>>, execution?: Execution): Promise<unknown>;
}

export const MAX_PAUSE_MS = 600_000;

/** "schema.table" of a dataset, whichever way it is written. */
export function datasetName(name: string): string {
  return name.replace(/^postgres:\/\/etl_improved\/(?=[^./]+$)/, "public.")
    .replace(/^postgres:\/\/etl_improved\//, "");
}

/**
 * Defines what starts when datasets change. Export the result from a file in
 * ETL_CONSUMERS_DIR, where it runs in a worker of its own; downstream_example.ts is one to copy.
 *
 * Throws a Problem where the definition cannot work.
 */
export function defineConsumer<Schema extends z.ZodObject>(
  options: ConsumerOptions<Schema>,
): Consumer {
  const { name, params } = options;
  const wrong = (detail: string) =>
    new TerminalProblem("invalid-conf", { detail: `Consumer ${name}: ${detail}` });
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
    throw wrong("the name must be lower-case letters, digits and _, starting with a letter.");
  }
  const datasets = options.datasets.map(datasetName);
  const emits = (options.emits ?? []).map(datasetName);
  const unqualified = [...datasets, ...emits].find((dataset) => !/^[^.]+\.[^.]+$/.test(dataset));
  if (unqualified !== undefined) {
    throw wrong(`a dataset is written schema.table, and "${unqualified}" is not.`);
  }
  const defaults = params.safeParse({});
  if (!defaults.success) {
    throw wrong(
      `every parameter needs a default: ${
        defaults.error.issues.map((issue) => issue.path.join(".")).join(", ")
      }.`,
    );
  }
  const parseParams = (given: unknown) => {
    const parsed = params.strict().safeParse(given);
    if (parsed.success) return parsed.data;
    const errors = parsed.error.issues.map((issue) => ({
      field: issue.path.join(".") || (issue.code === "unrecognized_keys" ? issue.keys[0]! : ""),
      message: issue.message,
    }));
    throw new Problem("invalid-conf", {
      detail: say("consumer-params", {
        name,
        errors: errors.map(({ field, message }) => `${field} ${message}`.trim()).join("; "),
      }),
      errors,
    });
  };
  const timeoutMs = options.timeoutMs ?? 600_000;
  if (!(timeoutMs >= 100 && timeoutMs <= 86_400_000)) {
    throw wrong("timeoutMs is from 100 to 86,400,000.");
  }
  const { mode = "each", pauseMs = 0 } = options;
  if (!(pauseMs >= 0 && pauseMs <= MAX_PAUSE_MS)) throw wrong("pauseMs is from 0 to 600,000.");
  if (pauseMs > 0 && mode !== "batch") {
    throw wrong("pauseMs is for mode batch: in mode each, every event starts it by itself.");
  }
  return {
    name,
    datasets,
    emits,
    timeoutMs,
    hosts: options.hosts ?? [],
    mode,
    pauseMs,
    skipUnchanged: options.skipUnchanged ?? false,
    parseParams,
    // whoever runs it has parsed them, and what a transform gave would not pass it again
    run: (context) => options.run(context as ConsumerContext<z.infer<Schema>>),
  };
}

type Link = Pick<Consumer, "name" | "datasets" | "emits">;

/** Refuses two consumers of one name, and chains in which one would start itself for ever. */
export function checkConsumers(consumers: readonly Link[]): void {
  const names = new Set<string>();
  for (const { name } of consumers) {
    if (names.has(name)) {
      throw new TerminalProblem("invalid-conf", {
        detail: `There are two consumers named ${name}.`,
      });
    }
    names.add(name);
  }
  const cycle = findCycle(consumers);
  if (cycle !== null) {
    throw new TerminalProblem("invalid-conf", {
      detail: `Consumers would start each other for ever: ${
        cycle.join(" → ")
      }. Take a dataset out of datasets or emits of one of them.`,
    });
  }
}

/** "dataset → consumer → dataset" of the first cycle, or null. */
function findCycle(consumers: readonly Link[]): string[] | null {
  const done = new Set<string>();
  const visit = (dataset: string, path: string[]): string[] | null => {
    const at = path.indexOf(dataset);
    if (at >= 0) return [...path.slice(at), dataset];
    if (done.has(dataset)) return null;
    for (const { name, datasets, emits } of consumers) {
      if (!datasets.includes(dataset)) continue;
      for (const emitted of emits) {
        const found = visit(emitted, [...path, dataset, name]);
        if (found !== null) return found;
      }
    }
    done.add(dataset);
    return null;
  };
  for (const { datasets } of consumers) {
    for (const dataset of datasets) {
      const found = visit(dataset, []);
      if (found !== null) return found;
    }
  }
  return null;
}
