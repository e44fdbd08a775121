import { basename } from "node:path";
import { z } from "zod";
import { Connection } from "../../store/connection.ts";
import { newestEvent } from "../../store/datasets.ts";
import { deliveryWindow, limitStatements, openChanges } from "../../store/deliveries.ts";
import { errorCode } from "../../store/errors.ts";
import { firstRowsOf } from "../../store/pg.ts";
import type { Log } from "../../telemetry/log.ts";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { say, verbatim } from "../../vocabulary/messages.ts";
import {
  type Consumer,
  type ConsumerContext,
  datasetName,
  defineConsumer,
  type Execution,
  MAX_PAUSE_MS,
} from "./consumer.ts";
import { writesOnly } from "./sql_writes.ts";
import { type Place, readStatements, SqlTextError, type Statement } from "./sql_text.ts";

/** What a statement may ask for by `:name`, with the type of each; all null when it was started by hand, but `since`. */
const SQL_PARAMETERS = {
  /** The run that wrote the event; null where a consumer emitted it. */
  run_id: "uuid",
  /** No row that the model has not seen was written before; -infinity at first and by hand. */
  since: "timestamptz",
  /** "schema.table" of the event. */
  dataset: "text",
  /** Number of the event. */
  event_id: "bigint",
} as const;
type ParameterName = keyof typeof SQL_PARAMETERS;

const dataset = z.string().transform(datasetName)
  .refine((name) => /^[^.\s]+\.[^.\s]+$/.test(name), "is written schema.table");

/** The header of a SQL file: `-- name: value` in the comment that it begins with. */
const headerSchema = z.strictObject({
  listens: z.string().transform((text) => text.split(",").map((each) => each.trim()))
    .pipe(z.array(dataset)),
  writes: dataset,
  mode: z.enum(["each", "latest"]).default("each"),
  skip_unchanged: z.enum(["true", "false"]).default("false").transform((text) => text === "true"),
  pause_ms: z.string().regex(/^[0-9]+$/, "is a whole number").transform(Number)
    .pipe(z.number().max(MAX_PAUSE_MS)).default(0),
  timeout_ms: z.string().regex(/^[0-9]+$/, "is a whole number").transform(Number)
    .pipe(z.number().min(100).max(86_400_000)).default(600_000),
});
type Header = z.infer<typeof headerSchema>;

/** Characters of a file: it is read where everything else of a server waits. */
const MAX_CHARACTERS = 200_000;

/**
 * The consumer in a .sql file, called as the file is. Its statements are executed in the transaction in which its
 * events are ticked off; what it did to the table under `writes` is that dataset's event.
 *
 * Throws a Problem that names file, line and column.
 */
export async function sqlConsumer(path: string): Promise<Consumer> {
  const file = basename(path);
  const wrong = (message: string, at?: Place) =>
    new TerminalProblem("invalid-conf", { detail: `${located(file, at)}: ${message}` });
  const name = file.replace(/\.sql$/, "");
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
    throw wrong(
      "its name is the consumer's: lower-case letters, digits and _, starting with a letter, and .sql",
    );
  }
  const bytes = await Deno.readFile(path);
  const text = decode(bytes);
  if (text === null) throw wrong("it is not UTF-8");
  if (text.length > MAX_CHARACTERS) {
    throw wrong(
      `it has more than ${MAX_CHARACTERS} characters: divide it, or make functions of parts of it`,
    );
  }
  const header = readHeader(text, wrong);
  let statements: Statement<ParameterName>[];
  try {
    statements = await readStatements(text, SQL_PARAMETERS, writesOnly(header.writes));
  } catch (error) {
    if (error instanceof SqlTextError) throw wrong(error.message, error.at);
    throw error;
  }
  if (statements.length === 0) throw wrong("it has no statement");
  const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  const consumer = defineConsumer({
    name,
    datasets: header.listens,
    emits: [header.writes],
    mode: header.mode === "latest" ? "batch" : "each",
    pauseMs: header.pause_ms,
    skipUnchanged: header.skip_unchanged,
    timeoutMs: header.timeout_ms,
    params: z.object({}),
    run: () => Promise.reject(new Error("it is SQL")),
  });
  return {
    ...consumer,
    sha256,
    run: (context, execution) =>
      runStatements({ file, name, header, statements, sha256 }, context, execution!),
  };
}

/** What a try did, and undid. */
export interface Tried extends SqlResult {
  /** The event that it was tried with: the newest of what it listens to; null where there is none. */
  event_no: number | null;
  elapsed_ms: number;
}

/** Longer than that nobody waits for a try. */
const TRY_MS = 60_000;

/**
 * Executes a consumer as its file is now, with the newest event of what it listens to, in a transaction that is
 * rolled back: nothing of it stays but what PostgreSQL never takes back (numbers of sequences).
 *
 * Throws a Problem that says what is wrong, with its place in the file; also after `limitMs`, default a minute.
 */
export async function trySqlConsumer(
  path: string,
  { dsn, signal, limitMs = TRY_MS }: { dsn: string; signal: AbortSignal; limitMs?: number },
): Promise<Tried> {
  const consumer = await sqlConsumer(path);
  const connection = new Connection(dsn, `etl-improved try of ${consumer.name}`);
  const undo = new Error("a try is undone");
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
  const stop = () => void connection.cancel().catch(() => {});
  limit.addEventListener("abort", stop);
  const started = performance.now();
  let tried: Tried | undefined;
  try {
    const once = { retry: { attempts: 1, initialMs: 0, signal: limit }, statementTimeoutMs: 0 };
    await connection.transaction(once, async (client) => {
      const event = await newestEvent(client, consumer.datasets);
      const context = {
        events: event === null ? [] : [event],
        params: {},
        db: client,
        emit: async () => {},
        log: SILENT,
        signal: limit,
      };
      const result = await consumer.run(context, {
        execute: async (text, values) => {
          await firstRowsOf(client, { text, values, rowMode: "array" }, () => true);
        },
      }) as SqlResult;
      const elapsed = Math.round(performance.now() - started);
      tried = { event_no: event?.event_no ?? null, ...result, elapsed_ms: elapsed };
      throw undo;
    });
  } catch (error) {
    if (error !== undo) {
      const detail = limit.aborted && !signal.aborted
        ? say("consumer-try-too-slow", { file: basename(path), seconds: limitMs / 1000 })
        : verbatim((error as Error).message);
      throw new Problem("invalid-conf", { detail });
    }
  } finally {
    limit.removeEventListener("abort", stop);
    await connection.close();
  }
  return tried!;
}

const SILENT: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => SILENT,
};

function decode(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Reads the comment that the file begins with. */
function readHeader(text: string, wrong: (message: string, at?: Place) => Problem): Header {
  const given: Record<string, string> = {};
  const lines: Record<string, number> = {};
  const known = Object.keys(headerSchema.shape);
  for (const [i, line] of text.split("\n").entries()) {
    if (!line.startsWith("--")) break;
    const [, key, value] = /^--\s*([a-z_]+)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined) continue;
    const at = { line: i + 1, column: 1 };
    if (!known.includes(key)) {
      const near = nearestName(key, known);
      throw wrong(
        `${key} is not known${near === undefined ? "" : `: do you mean ${near}?`} There are ${
          known.join(", ")
        }; other comments follow after an empty line`,
        at,
      );
    }
    if (key in given) throw wrong(`${key} is there twice, first in line ${lines[key]}`, at);
    given[key] = value!;
    lines[key] = i + 1;
  }
  const missing = ["listens", "writes"].find((key) => !(key in given));
  if (missing !== undefined) {
    throw wrong(
      `the comment at its beginning lacks ${missing}, e.g. -- ${missing}: public.orders`,
      { line: 1, column: 1 },
    );
  }
  const parsed = headerSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const key = String(path[0]);
  throw wrong(`${key} ${given[key]}: ${message}`, { line: lines[key]!, column: 1 });
}

interface Model {
  file: string;
  name: string;
  header: Header;
  statements: Statement<ParameterName>[];
  sha256: string;
}

/** What the file did, which is kept with its delivery. */
export interface SqlResult extends Record<string, unknown> {
  /** Of the file that ran, hexadecimal. */
  sha256: string;
  /** Rows of the table under `writes`; missing where PostgreSQL does not count them (a view, a foreign table). */
  inserted?: number;
  updated?: number;
  deleted?: number;
}

async function runStatements(
  { file, name, header, statements, sha256 }: Model,
  { events, db, emit, signal }: ConsumerContext<Record<string, unknown>>,
  { execute }: Execution,
): Promise<SqlResult> {
  const deadline = performance.now() + header.timeout_ms;
  const tooLong = (at?: Place) =>
    new Error(
      `${
        located(file, at)
      }: it did not end within ${header.timeout_ms} ms (timeout_ms) and was stopped`,
    );
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  const onStop = () => stopped.reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", onStop);
  try {
    const newest = events.at(-1);
    const window = await deliveryWindow(db, name, events.map(({ event_no }) => event_no));
    const values: Record<ParameterName, unknown> = {
      run_id: newest?.run_id ?? null,
      since: window.since,
      dataset: newest?.dataset ?? null,
      event_id: newest?.event_no ?? null,
    };
    const countChanges = await openChanges(db, header.writes);
    for (const { text, params, at, placeOf } of statements) {
      const leftMs = Math.ceil(deadline - performance.now());
      if (leftMs <= 0) throw tooLong(at);
      await limitStatements(db, leftMs);
      try {
        const executed = execute(text, params.map((param) => values[param]));
        await Promise.race([executed, stopped.promise]);
      } catch (error) {
        if (errorCode(error) === "57014" && performance.now() >= deadline - 50) throw tooLong(at);
        throw explained(error, file, placeOf);
      }
    }
    const counts = await countChanges();
    await emit(header.writes, counts);
    return { sha256, ...counts };
  } finally {
    signal.removeEventListener("abort", onStop);
  }
}

function located(file: string, at?: Place): string {
  return at === undefined ? file : `${file}:${at.line}:${at.column}`;
}

/** The error of a statement with its place in the file. */
function explained(
  error: unknown,
  file: string,
  placeOf: Statement["placeOf"],
): unknown {
  if (!(error instanceof Error)) return error;
  const { code, position, hint } = error as { code?: string; position?: string; hint?: string };
  if (code === undefined) return error;
  const place = placeOf(Number(position ?? 1));
  return new Error(
    `${located(file, place)}: ${error.message}${hint === undefined ? "" : `. ${hint}`}`,
    { cause: error },
  );
}
