import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { type RunDetail, runDetail } from "../store/run_views.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Turns } from "./shared/gate.ts";
import { staysOpen } from "./shared/load.ts";
import { SharedLookup } from "./shared/shared_lookup.ts";

/** Without a notification the run is looked at again after so long: where none can come, and else. */
const POLL_MS = 2_000;
const POLL_WHILE_LISTENING_MS = 10_000;
/** Between two signs of life, so that proxies keep an idle stream, and a reader that is gone is noticed. */
const HEARTBEAT_MS = 20_000;
/** Watchers are told of a run at most so often. */
const MIN_INTERVAL_MS = 150;

/** Runs that are looked at at once, however many are followed: requests need connections, too. */
const LOOKS_AT_ONCE = 2;

const TERMINAL = ["succeeded", "failed", "cancelled"];
const hasEnded = (run: RunDetail) => TERMINAL.includes(run.state);

type Lookup = SharedLookup<RunDetail | null>;
const lookups = new WeakMap<AppDeps["watch"], Lookup>();

/** The run as it is now, looked up once for all who follow it. */
function look({ watch, sql }: AppDeps, runId: string): Promise<RunDetail | null> {
  const turns = new Turns(LOOKS_AT_ONCE);
  const shared = lookups.get(watch) ??
    new SharedLookup((id) => turns.take(() => runDetail(sql, id)));
  lookups.set(watch, shared);
  return shared.get(runId);
}

const pollMs = (deps: AppDeps) => deps.status().listening ? POLL_WHILE_LISTENING_MS : POLL_MS;

/** Yields a run each time it has changed, until it has ended or the signal is aborted. */
export async function* followRun(
  deps: AppDeps,
  runId: string,
  signal: AbortSignal,
): AsyncGenerator<RunDetail> {
  let changed = Promise.withResolvers<void>();
  // the end is told at once, and so is that nobody listens any more
  let over = Promise.withResolvers<void>();
  const unwatch = deps.watch.watch(runId, (state) => {
    changed.resolve();
    if (TERMINAL.includes(state)) over.resolve();
  });
  const onAbort = () => over.resolve();
  signal.addEventListener("abort", onAbort);
  try {
    let revision = -1;
    while (!signal.aborted) {
      const run = await look(deps, runId);
      if (run === null) return;
      if (run.revision > revision) {
        revision = run.revision;
        yield run;
      }
      if (hasEnded(run)) return;
      await within(pollMs(deps), changed.promise, over.promise);
      changed = Promise.withResolvers();
      // a burst of small changes is told as one
      await within(MIN_INTERVAL_MS, over.promise);
      over = Promise.withResolvers();
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
  let over = Promise.withResolvers<void>();
  const unwatch = deps.watch.watch(runId, (state) => TERMINAL.includes(state) && over.resolve());
  const onAbort = () => over.resolve();
  signal.addEventListener("abort", onAbort);
  try {
    for (;;) {
      const run = await look(deps, runId);
      if (run === null || hasEnded(run) || signal.aborted) return run!;
      await within(pollMs(deps), over.promise);
      over = Promise.withResolvers();
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    unwatch();
  }
}

/** Resolves with the first of the promises, or after `ms`. */
async function within(ms: number, ...promises: Promise<void>[]): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(() => late.resolve(), ms);
  await Promise.race([...promises, late.promise]);
  clearTimeout(timer);
}

const texts = new WeakMap<RunDetail, string>();

/** The JSON of a run, made once for all who are told of it. */
function textOf(run: RunDetail): string {
  const text = texts.get(run) ?? JSON.stringify(run);
  texts.set(run, text);
  return text;
}

/** Streams a run as server-sent events; resumable with Last-Event-ID, the revision seen last. */
export function streamRun(c: Context, deps: AppDeps, runId: string): Response {
  const seen = Number(c.req.header("last-event-id") ?? -1);
  const leave = staysOpen(c);
  return streamSSE(c, async (stream) => {
    const gone = new AbortController();
    stream.onAbort(() => gone.abort());
    let writing = false;
    const heartbeat = setInterval(() => {
      // a reader who does not read needs no further sign
      if (writing) return;
      writing = true;
      stream.write(": still here\n\n").finally(() => writing = false);
    }, HEARTBEAT_MS);
    try {
      for await (const run of followRun(deps, runId, gone.signal)) {
        if (run.revision <= seen && !hasEnded(run)) continue;
        writing = true;
        await stream.writeSSE({
          event: hasEnded(run) ? "end" : "run",
          id: String(run.revision),
          data: textOf(run),
        });
        writing = false;
      }
    } finally {
      clearInterval(heartbeat);
      leave();
    }
  });
}
