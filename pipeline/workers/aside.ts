import { Problem } from "../problem.ts";
import type { AsideAnswer, AsideTasks } from "./aside_worker.ts";

export interface AsideLimits {
  /** Milliseconds that the task may take; Infinity: as long as it needs. */
  timeoutMs: number;
  /** Ends the task when nobody waits for it any more. */
  signal?: AbortSignal | undefined;
  /** What is said when it took too long. */
  tooSlow: () => Problem;
}

/**
 * Does a task that belongs to no run in a Web Worker of its own: a transform
 * module is loaded as it is now, and one that never ends, or a source that
 * never answers, holds up nothing else and is ended after a while.
 */
export async function aside<K extends keyof AsideTasks>(
  task: K,
  input: AsideTasks[K]["input"],
  { timeoutMs, signal, tooSlow }: AsideLimits,
): Promise<AsideTasks[K]["output"]> {
  const { promise, resolve, reject } = Promise.withResolvers<AsideTasks[K]["output"]>();
  const worker = new Worker(new URL("./aside_worker.ts", import.meta.url), {
    type: "module",
    name: task,
  });
  worker.onmessage = ({ data }: MessageEvent<AsideAnswer>) => {
    if ("output" in data) resolve(data.output as AsideTasks[K]["output"]);
    else if ("defect" in data) reject(new Error(data.defect));
    else reject(Problem.fromJSON(data.problem, data.transient));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  const timer = Number.isFinite(timeoutMs)
    ? setTimeout(() => reject(tooSlow()), timeoutMs)
    : undefined;
  const gone = () => reject(signal!.reason);
  signal?.addEventListener("abort", gone);
  try {
    signal?.throwIfAborted();
    worker.postMessage({ task, input });
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", gone);
    worker.terminate();
  }
}
