import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { type RunDetail, runDetail } from "../store/run_views.ts";
import type { AppDeps } from "./deps.ts";

/** Without a notification the run is looked at again after so long. */
const POLL_MS = 2000;
/** Watchers are told of a run at most so often. */
const MIN_INTERVAL_MS = 150;

const hasEnded = (run: RunDetail) => ["succeeded", "failed", "cancelled"].includes(run.state);

/** Yields a run each time it has changed, until it has ended or the signal is aborted. */
export async function* followRun(
  deps: AppDeps,
  runId: string,
  signal: AbortSignal,
): AsyncGenerator<RunDetail> {
  let wake = Promise.withResolvers<void>();
  const unwatch = deps.watch.watch(runId, () => wake.resolve());
  const onAbort = () => wake.resolve();
  signal.addEventListener("abort", onAbort);
  try {
    let revision = -1;
    while (!signal.aborted) {
      const run = await runDetail(deps.sql, runId);
      if (run === null) return;
      if (run.revision > revision) {
        revision = run.revision;
        yield run;
      }
      if (hasEnded(run)) return;
      const started = performance.now();
      const timer = setTimeout(() => wake.resolve(), POLL_MS);
      await wake.promise;
      clearTimeout(timer);
      wake = Promise.withResolvers();
      const rest = MIN_INTERVAL_MS - (performance.now() - started);
      // a burst of small changes is told as one
      if (rest > 0 && revision > 2) {
        const pause = Promise.withResolvers<void>();
        setTimeout(() => pause.resolve(), rest);
        await pause.promise;
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    unwatch();
  }
}

/** The run when it has ended. */
export async function waitForEnd(
  deps: AppDeps,
  runId: string,
  signal: AbortSignal,
): Promise<RunDetail> {
  let latest: RunDetail | undefined;
  for await (const run of followRun(deps, runId, signal)) latest = run;
  return latest!;
}

/** Streams a run as server-sent events; resumable with Last-Event-ID, the revision seen last. */
export function streamRun(c: Context, deps: AppDeps, runId: string): Response {
  const seen = Number(c.req.header("last-event-id") ?? -1);
  return streamSSE(c, async (stream) => {
    const gone = new AbortController();
    stream.onAbort(() => gone.abort());
    for await (const run of followRun(deps, runId, gone.signal)) {
      if (run.revision <= seen && !hasEnded(run)) continue;
      await stream.writeSSE({
        event: hasEnded(run) ? "end" : "run",
        id: String(run.revision),
        data: JSON.stringify(run),
      });
    }
  });
}
