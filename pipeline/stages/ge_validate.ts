import { type Event, type PayloadCheck, rawOf, type Rejected } from "../event.ts";
import {
  type ChunkState,
  type CompiledSuite,
  compilePayloadSchema,
  compileSuite,
  payloadSchemaOf,
  readSuite,
  type SerializedState,
  type ValidationResult,
} from "../expectations/expectations.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { jsonText } from "../numbers.ts";
import type { Plain } from "../sources/source.ts";
import { diskProblem } from "../spill/layout.ts";
import type { TaskEnvironment } from "../workers/environment.ts";
import type { Tasks } from "../workers/task.ts";

interface RunSuite {
  compiled: CompiledSuite;
  /** By the JSON Schema that comes with the suite. */
  payloadCheck: PayloadCheck | undefined;
}

/** Suites of the last runs by their text, compiled once a worker. */
const compiledSuites = new Map<string, RunSuite>();
const MAX_COMPILED = 8;
/** Each run's suite: a context is the same object for all of its chunks. */
const runSuites = new WeakMap<Plain, RunSuite>();

function runSuite(json: Plain): RunSuite {
  const known = runSuites.get(json);
  if (known !== undefined) return known;
  const text = jsonText(json);
  const made = compiledSuites.get(text) ?? compiled(json);
  // the last one used is the last to be forgotten
  compiledSuites.delete(text);
  compiledSuites.set(text, made);
  if (compiledSuites.size > MAX_COMPILED) {
    compiledSuites.delete(compiledSuites.keys().next().value!);
  }
  runSuites.set(json, made);
  return made;
}

function compiled(json: Plain): RunSuite {
  const suite = readSuite(json);
  const schema = payloadSchemaOf(suite);
  return {
    compiled: compileSuite(suite),
    payloadCheck: schema === undefined ? undefined : compilePayloadSchema(schema),
  };
}

/** The check of payloads by the JSON Schema that comes with a run's suite, for the stage validate. */
export function payloadCheckOf(suite: Plain | null): PayloadCheck | undefined {
  return suite === null ? undefined : runSuite(suite).payloadCheck;
}

/**
 * The ge_validate stage of one chunk: evaluates the run's expectation suite on
 * every batch. Without a suite it passes everything through.
 */
export class GeValidator implements Disposable {
  readonly #suite: CompiledSuite | null;
  readonly #state: ChunkState | null;
  readonly #quarantines: boolean;
  readonly #spillDir: string;

  constructor({ suite, judges, quarantines, spillDir, ...where }: {
    suite: Plain | null;
    /** Whether what it sees counts for a verdict. */
    judges: boolean;
    /** Whether rows that fail go to the quarantine (on_failure). */
    quarantines: boolean;
    spillDir: string;
    attempt: number;
    chunkNo: number;
  }) {
    this.#suite = suite === null ? null : runSuite(suite).compiled;
    this.#state = judges ? this.#suite?.newState({ ...where, spillDir }) ?? null : null;
    this.#quarantines = quarantines;
    this.#spillDir = spillDir;
  }

  /** Observes a batch; answers what goes on and what is quarantined. */
  batch(events: Event[]): { events: Event[]; rejected: Rejected[] } {
    const suite = this.#suite;
    if (suite === null) return { events, rejected: [] };
    const payloads = events.map((event) => event.payload);
    const state = this.#state;
    if (state !== null) this.#onDisk(() => suite.observe(state, payloads, { events }));
    if (!this.#quarantines) return { events, rejected: [] };
    const failing = suite.failingRows(payloads, { events });
    if (failing.size === 0) return { events, rejected: [] };
    const rejected = [...failing].map(([i, { rule, message }]) => {
      const { position, output, eventId: key } = events[i]!;
      return { position, output, rule, message, field: null, raw: rawOf(events[i]!), key };
    });
    return { events: events.filter((_, i) => !failing.has(i)), rejected };
  }

  /** What the chunk says of the batch, to be merged with the other chunks'; null where nothing judges. */
  finish(): Plain | null {
    const [suite, state] = [this.#suite, this.#state];
    if (suite === null || state === null) return null;
    return this.#onDisk(() => suite.serializeState(state)) as unknown as Plain;
  }

  #onDisk<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw diskProblem(error, this.#spillDir);
    }
  }

  [Symbol.dispose](): void {
    if (this.#state !== null) this.#suite?.discardState(this.#state);
  }
}

/** Whether the files that a chunk's state refers to are still there. */
export async function hasSpills(validation: Plain | undefined): Promise<boolean> {
  const found = await Promise.all(
    suiteSpills(validation).map(({ path }) =>
      Deno.stat(path).then(({ isFile }) => isFile, () => false)
    ),
  );
  return found.every(Boolean);
}

/** The files that a chunk's state refers to. */
function suiteSpills(validation: Plain | undefined): { path: string }[] {
  const { states = [] } = (validation ?? {}) as Partial<SerializedState>;
  return states.flatMap(({ spills = [] }) => spills as { path: string }[]);
}

/** What is in them, for another server to judge. */
export async function readSuiteSpills(validation: Plain | undefined): Promise<Uint8Array[]> {
  return await Promise.all(suiteSpills(validation).map(({ path }) => Deno.readFile(path)));
}

/** Has a state that another server has made refer to files of this one, with the content of the other's in their order. */
export async function adoptSuiteSpills(
  validation: Plain | undefined,
  contents: Uint8Array[],
  { prefix, attempt }: { prefix: string; attempt: number },
): Promise<void> {
  for (const [i, ref] of suiteSpills(validation).entries()) {
    ref.path = `${prefix}.adopted${i}.${attempt}`;
    try {
      await Deno.writeFile(ref.path, contents[i]!);
    } catch (error) {
      throw diskProblem(error, prefix);
    }
  }
}

/**
 * The suite's verdict over the whole batch, from what the chunks say. Runs in a
 * worker: sorting out millions of values takes its time.
 */
export function judgeBatch(
  { context }: TaskEnvironment,
  { states }: Tasks["judge"]["input"],
): Promise<ValidationResult> {
  return Promise.resolve(verdict(context.suite!, states));
}

/** What a suite says of a batch, from what its chunks say. */
export function verdict(json: Plain, states: Plain[]): ValidationResult {
  const suite = runSuite(json).compiled;
  return suite.finish(suite.mergeStates(states as unknown as SerializedState[]));
}

/** The problem of a run that enforces its suite and failed it. */
export function suiteFailed(result: ValidationResult): Problem {
  const failed = result.results.filter(({ success }) => !success);
  const shown = failed.slice(0, 3).map(({ expectation_config: { type, kwargs } }) =>
    `${type}(${kwargs.column ?? kwargs.column_list ?? ""})`
  ).join(", ");
  return new Problem("validation-failed", {
    detail: say("suite-enforced", {
      failed: failed.length,
      n: result.results.length,
      suite: result.suite_name,
      names: shown,
    }),
  });
}

/** The problem of a run that enforces a suite which is no longer stored. */
export function noSuite(): Problem {
  return new Problem("validation-failed", {
    detail: say("suite-removed", {}),
  });
}
