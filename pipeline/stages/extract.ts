import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { refusePrivateKeys, withoutValues } from "../private_fields.ts";
import { planSource } from "../sources/adapters.ts";
import type { Plan } from "../sources/source.ts";
import type { TaskEnvironment } from "../workers/environment.ts";

/** Milliseconds that planning may take: it reads the whole of a file at most, which takes a minute for 10 GB. */
const PLAN_MS = 10 * 60_000;

/** The extract stage's first part: pins the input and finds its slices. Runs in a worker. */
export async function planRun(env: TaskEnvironment): Promise<Plan> {
  const { context, signal } = env;
  Deno.mkdirSync(context.spillDir, { recursive: true });
  const plan = withinPlanLimit(signal, (signal) =>
    planSource(context.params.source, {
      ...(context.chunkSize === null ? {} : { chunkSize: context.chunkSize }),
      ...(context.maxRecords === null ? {} : { maxRecords: context.maxRecords }),
      whole: context.atOnce,
      ...(context.pin === null ? {} : { pin: context.pin }),
      ...(context.cursorPosition === null ? {} : { cursorPosition: context.cursorPosition }),
      spoolDir: context.spillDir,
      dataDir: context.dataDir,
      connections: context.connections,
      target: context.target,
      bodiesDir: context.bodiesDir,
      readUpload: env.readUpload,
      module: env.source,
      limits: context.limits,
      signal,
    }));
  const { privacy } = context;
  if (privacy === null) return await plan;
  const planned = await plan.catch((error) => Promise.reject(withoutValues(error)));
  refusePrivateKeys(privacy, planned.slices);
  return planned;
}

/**
 * Ends planning that takes too long: its signal is aborted, and it is not waited for. Throws a Problem
 * `source-unreadable` then.
 */
export async function withinPlanLimit<T>(
  signal: AbortSignal,
  plan: (signal: AbortSignal) => Promise<T>,
  limitMs = PLAN_MS,
): Promise<T> {
  const late = new AbortController();
  const either = AbortSignal.any([signal, late.signal]);
  const ended = Promise.withResolvers<never>();
  either.addEventListener("abort", () => ended.reject(either.reason));
  const timer = setTimeout(() => late.abort(tooSlow(limitMs)), limitMs);
  try {
    signal.throwIfAborted();
    return await Promise.race([plan(either), ended.promise]);
  } catch (error) {
    // what was broken off says only that it was
    late.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(limitMs: number): Problem {
  return new Problem("source-unreadable", {
    detail: say("planning-too-slow", { n: limitMs / 60_000 }),
  });
}
