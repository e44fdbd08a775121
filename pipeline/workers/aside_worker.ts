/// <reference lib="deno.worker" />
import { Canonicalizer } from "../canonical.ts";
import { forget } from "../forget.ts";
import { preview, type PreviewContext } from "../preview.ts";
import { Problem, type ProblemDetails } from "../../vocabulary/problem.ts";
import { runProblem } from "../run_problem.ts";
import { adapterFor } from "../sources/adapters.ts";
import { listTables } from "../sources/list_tables.ts";
import type { SourceConf } from "../sources/schema.ts";
import type { Json, Plain, SourceLimits, Target } from "../sources/source.ts";
import { checkSuite, profileSource, trySuite } from "../suite_tasks.ts";
import { SourceClient, type SourceLine } from "../user_code/source_client.ts";
import { Guard, TimeLimit } from "../user_code/guard.ts";
import { stepBack } from "./step_back.ts";

/** Does work that must not hold the thread for longer than the task may take. */
export type Bounded = <T>(work: () => T) => Promise<Awaited<T>>;

const TASKS = {
  preview: previewText,
  profile: profileSource,
  try: trySuite,
  suite: checkSuite,
  fetch: fetchSource,
  tables: listTables,
  forget,
};

/** A preview as JSON: a clone would lose the digits beside its numbers, and bigints are none of JSON.stringify's. */
async function previewText(
  context: Parameters<typeof preview>[0],
  host: MessagePort | null,
): Promise<string> {
  return new Canonicalizer().text(await preview(context, host) as unknown as Json);
}

/** Downloads what a source names, where it has to be; who reads the source finds it in the spool directory. */
async function fetchSource(
  { conf, target, spoolDir, limits, preview, pin }: {
    conf: SourceConf;
    /** With the secrets of its connection. */
    target: Target;
    spoolDir: string;
    limits: SourceLimits;
    /** Whether only its beginning is wanted. */
    preview: boolean;
    /** Of an earlier attempt. */
    pin?: Plain;
  },
): Promise<string | null> {
  const { signal } = new AbortController();
  const ctx = { spoolDir, limits, signal, ...(pin === undefined ? {} : { pin }) };
  return await adapterFor(conf).fetch?.download(conf, ctx, { preview, target }) ?? null;
}

/** What can be done in a worker of its own: what it takes and what it gives. */
export type AsideTasks = {
  [K in keyof typeof TASKS]: {
    input: Parameters<(typeof TASKS)[K]>[0];
    output: Awaited<ReturnType<(typeof TASKS)[K]>>;
  };
};

/** What comes back. */
export type AsideAnswer =
  /** The worker has been loaded: a busy machine may take seconds for that, which are not the task's. */
  | { started: true }
  | { output: unknown }
  | { problem: ProblemDetails; transient: boolean }
  /** Work that did not end was ended at the limit of the task. */
  | { tooSlow: true }
  /** Something unexpected, for the log. */
  | { defect: string };

const guard = new Guard();

/** The limit of a script is 32 bits of milliseconds. */
const MAX_LIMIT_MS = 2 ** 31 - 1;

/** Does one task, and is ended by who started it: a loop in it by the guard, as `terminate` leaves one running. */
stepBack();

self.onmessage = async (
  { data }: MessageEvent<
    {
      task: keyof AsideTasks;
      input: never;
      host: MessagePort | null;
      source: SourceLine | null;
      limitMs: number;
    }
  >,
) => {
  let answer: AsideAnswer;
  // only what reads a source may have a host
  const task: (input: never, host: MessagePort | null, bounded: Bounded) => unknown =
    TASKS[data.task];
  if (data.source !== null) readingOf(data).module = new SourceClient(data.source);
  const deadline = performance.now() + data.limitMs;
  const bounded: Bounded = (work) =>
    guard.within(work, Math.min(deadline - performance.now(), MAX_LIMIT_MS));
  try {
    answer = { output: await bounded(() => task(data.input, data.host, bounded)) };
  } catch (error) {
    answer = error instanceof TimeLimit ? { tooSlow: true } : answerOf(error);
  }
  self.postMessage(answer);
};
self.postMessage({ started: true } satisfies AsideAnswer);

/** Where a task that reads a source has what it needs for it. */
function readingOf({ task, input }: { task: keyof AsideTasks; input: unknown }) {
  const { context } = task === "try"
    ? { context: (input as { sample: { source: PreviewContext } }).sample.source }
    : { context: input as PreviewContext };
  return context.source;
}

function answerOf(error: unknown): AsideAnswer {
  const problem = runProblem(error, "extract");
  if (problem.type === "internal" && !(error instanceof Problem)) {
    return { defect: error instanceof Error ? error.stack ?? error.message : String(error) };
  }
  return { problem: problem.toJSON(), transient: problem.transient };
}
