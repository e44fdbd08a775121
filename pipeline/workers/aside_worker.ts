/// <reference lib="deno.worker" />
import { Canonicalizer } from "../canonical.ts";
import { preview } from "../preview.ts";
import { Problem, type ProblemDetails } from "../problem.ts";
import { runProblem } from "../run_problem.ts";
import { fetchHttpSource } from "../sources/http.ts";
import type { HttpTarget } from "../sources/http/connection.ts";
import type { HttpConf } from "../sources/schema.ts";
import type { Json, SourceLimits } from "../sources/source.ts";
import { checkSuite, profileSource, trySuite } from "../suite_tasks.ts";

const TASKS = {
  preview: previewText,
  profile: profileSource,
  try: trySuite,
  suite: checkSuite,
  fetch: fetchSource,
};

/** A preview as JSON: a clone would lose the digits beside its numbers, and bigints are none of JSON.stringify's. */
async function previewText(...given: Parameters<typeof preview>): Promise<string> {
  return new Canonicalizer().text(await preview(...given) as unknown as Json);
}

/** Downloads what a source names; who reads the source finds it in the spool directory. */
async function fetchSource(
  { conf, target, spoolDir, limits, preview }: {
    conf: HttpConf;
    /** With the secrets of its connection. */
    target: HttpTarget;
    spoolDir: string;
    limits: SourceLimits;
    /** Whether only its beginning is wanted. */
    preview: boolean;
  },
): Promise<void> {
  const { signal } = new AbortController();
  await fetchHttpSource(conf, { spoolDir, limits, signal }, { preview, target });
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
  | { output: unknown }
  | { problem: ProblemDetails; transient: boolean }
  /** Something unexpected, for the log. */
  | { defect: string };

/** Does one task, and is ended by who started it. */
self.onmessage = async (
  { data }: MessageEvent<{ task: keyof AsideTasks; input: never; host: MessagePort | null }>,
) => {
  let answer: AsideAnswer;
  // only what reads a source may have a host
  const task: (input: never, host: MessagePort | null) => unknown = TASKS[data.task];
  try {
    answer = { output: await task(data.input, data.host) };
  } catch (error) {
    answer = answerOf(error);
  }
  self.postMessage(answer);
};

function answerOf(error: unknown): AsideAnswer {
  const problem = runProblem(error, "extract");
  if (problem.type === "internal" && !(error instanceof Problem)) {
    return { defect: error instanceof Error ? error.stack ?? error.message : String(error) };
  }
  return { problem: problem.toJSON(), transient: problem.transient };
}
