import type { PreviewContext } from "../preview.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { HttpConnection } from "../sources/http/connection.ts";
import { asideOnSource } from "./aside.ts";

export interface PreviewLimits {
  /** Milliseconds that a preview may take; default 30,000. */
  timeoutMs?: number;
  /** Ends the preview when nobody waits for it any more. */
  signal?: AbortSignal;
  /** What http sources may name; default none. */
  httpConnections?: Record<string, HttpConnection>;
}

/** Makes a preview in a Web Worker of its own; as JSON, whose numbers have every digit. */
export function previewInWorker(
  context: PreviewContext,
  { timeoutMs = 30_000, signal, httpConnections = {} }: PreviewLimits = {},
): Promise<string> {
  return asideOnSource("preview", context, {
    context,
    httpConnections,
    preview: true,
    timeoutMs,
    signal,
    tooSlow: () => tooSlow(timeoutMs),
  });
}

function tooSlow(timeoutMs: number): Problem {
  return new Problem("source-unreadable", {
    detail:
      `The preview was not ready after ${timeoutMs / 1000} s. The source is slow to answer, ` +
      "or the transform module does not end. A run has no such limit.",
  });
}
