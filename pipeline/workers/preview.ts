import type { Preview, PreviewContext } from "../preview.ts";
import { Problem } from "../problem.ts";
import type { PreviewAnswer } from "./preview_worker.ts";

export interface PreviewLimits {
  /** Milliseconds that a preview may take; default 30,000. */
  timeoutMs?: number;
  /** Ends the preview when nobody waits for it any more. */
  signal?: AbortSignal;
}

/**
 * Makes a preview in a Web Worker of its own: a transform module is loaded as it
 * is now, and one that never ends, or a source that never answers, holds up
 * nothing else and is ended after a while.
 */
export async function previewInWorker(
  context: PreviewContext,
  { timeoutMs = 30_000, signal }: PreviewLimits = {},
): Promise<Preview> {
  const { promise, resolve, reject } = Promise.withResolvers<Preview>();
  const worker = new Worker(new URL("./preview_worker.ts", import.meta.url), {
    type: "module",
    name: "preview",
  });
  worker.onmessage = ({ data }: MessageEvent<PreviewAnswer>) => {
    if ("preview" in data) resolve(data.preview);
    else if ("defect" in data) reject(new Error(data.defect));
    else reject(Problem.fromJSON(data.problem, data.transient));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  const timer = setTimeout(() => reject(tooSlow(timeoutMs)), timeoutMs);
  const gone = () => reject(signal!.reason);
  signal?.addEventListener("abort", gone);
  try {
    signal?.throwIfAborted();
    worker.postMessage(context);
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", gone);
    worker.terminate();
  }
}

function tooSlow(timeoutMs: number): Problem {
  return new Problem("source-unreadable", {
    detail:
      `The preview was not ready after ${timeoutMs / 1000} s. The source is slow to answer, ` +
      "or the transform module does not end. A run has no such limit.",
  });
}
