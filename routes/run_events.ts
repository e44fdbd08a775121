import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { isOver } from "../vocabulary/words.ts";
import type { RunDetail } from "../vocabulary/run_schema.ts";
import { runDetail, runState } from "../store/run_views.ts";
import { baseOf, runBelow } from "./shared/base_path.ts";
import type { AppDeps } from "./shared/deps.ts";
import { staysOpen, Turns } from "./shared/load.ts";
import { SharedLookup } from "./shared/lookups.ts";

/** Without a notification the run is looked at again after so long: where none can come, and else. */
const POLL_MS = 2_000;
const POLL_WHILE_LISTENING_MS = 10_000;
/** Between two signs of life, so that proxies keep an idle stream, and a reader that is gone is noticed. */
const HEARTBEAT_MS = 20_000;
/** Watchers are told of a run at most so often. */
const MIN_INTERVAL_MS = 250;

/** Runs that are looked at at once, however many are followed: requests need connections, too. */
const LOOKS_AT_ONCE = 2;

const hasEnded = (run: RunDetail) => isOver(run.state);

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

/** A run as it was at one look, and the event that tells of it: made once for all who follow the run. */
interface Told {
  run: RunDetail;
  event: Uint8Array<ArrayBuffer>;
}

/** What all who follow one run share. */
interface Followed {
  /** The newest that there is to tell; null before the first look. */
  told: Told | null;
  readers: number;
  /** Resolves with the next thing to tell, or when there is nothing more; rejects where the look failed. */
  next: PromiseWithResolvers<void>;
  over: boolean;
  /** Has the run looked at before long. */
  wake(): void;
}

const followed = new WeakMap<AppDeps["watch"], Map<string, Followed>>();

/**
 * Yields a run each time it has changed, until it has ended or the signal is aborted. However many
 * follow it, it is looked at, and made a text, once; a slow reader gets the newest only.
 */
export async function* followRun(
  deps: AppDeps,
  runId: string,
  signal: AbortSignal,
): AsyncGenerator<Told> {
  let turn = Promise.withResolvers<void>();
  const onAbort = () => turn.resolve();
  signal.addEventListener("abort", onAbort);
  const of = join(deps, runId);
  try {
    let seen: Told | null = null;
    while (!signal.aborted) {
      if (of.told !== null && of.told !== seen) yield seen = of.told;
      else if (of.over) return;
      else {
        turn = Promise.withResolvers();
        of.next.promise.then(turn.resolve, turn.reject);
        await turn.promise;
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    if (--of.readers === 0) of.wake();
  }
}

/** One more reader of a run; the first one begins to look at it. */
function join(deps: AppDeps, runId: string): Followed {
  const runs = followed.get(deps.watch) ?? new Map<string, Followed>();
  followed.set(deps.watch, runs);
  const known = runs.get(runId);
  if (known !== undefined) {
    known.readers++;
    // what is known may be older than the question
    known.wake();
    return known;
  }
  const of: Followed = {
    told: null,
    readers: 1,
    next: Promise.withResolvers(),
    over: false,
    wake: () => {},
  };
  of.next.promise.catch(() => {});
  runs.set(runId, of);
  tell(deps, runId, of).then(
    () => of.next.resolve(),
    (error) => of.next.reject(error),
  );
  return of;
}

/** Looks at a run again and again while somebody follows it, until it has ended. */
async function tell(deps: AppDeps, runId: string, of: Followed): Promise<void> {
  let changed = Promise.withResolvers<void>();
  // the end is told at once, and so is that nobody listens any more
  let over = Promise.withResolvers<void>();
  const unwatch = deps.watch.watch(runId, (state) => {
    changed.resolve();
    if (isOver(state)) over.resolve();
  });
  of.wake = () => {
    changed.resolve();
    if (of.readers === 0) over.resolve();
  };
  try {
    while (of.readers > 0) {
      const run = await look(deps, runId);
      if (run === null) return;
      if (of.told === null || run.revision > of.told.run.revision) {
        of.told = { run, event: eventOf(run) };
        of.next.resolve();
        of.next = Promise.withResolvers();
        of.next.promise.catch(() => {});
      }
      if (hasEnded(run)) return;
      await within(pollMs(deps), changed.promise, over.promise);
      changed = Promise.withResolvers();
      // a burst of small changes is told as one
      await within(MIN_INTERVAL_MS, over.promise);
      over = Promise.withResolvers();
    }
  } finally {
    unwatch();
    of.over = true;
    followed.get(deps.watch)!.delete(runId);
  }
}

/** A run as a server-sent event. */
function eventOf(run: RunDetail): Uint8Array<ArrayBuffer> {
  const name = hasEnded(run) ? "end" : "run";
  return new TextEncoder().encode(
    `event: ${name}\ndata: ${JSON.stringify(run)}\nid: ${run.revision}\n\n`,
  );
}

/** The run when it has ended. */
export async function waitForEnd(
  deps: AppDeps,
  runId: string,
  signal: AbortSignal,
): Promise<RunDetail> {
  let over = Promise.withResolvers<void>();
  const unwatch = deps.watch.watch(runId, (state) => isOver(state) && over.resolve());
  const onAbort = () => over.resolve();
  signal.addEventListener("abort", onAbort);
  try {
    // it may have ended before anybody was told; all of it is only looked up at its end
    const state = await runState(deps.sql, runId);
    if (state !== null && !isOver(state)) await within(pollMs(deps), over.promise);
    for (;;) {
      over = Promise.withResolvers();
      const run = await look(deps, runId);
      if (run === null || hasEnded(run) || signal.aborted) return run!;
      await within(pollMs(deps), over.promise);
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
      for await (const { run, event } of followRun(deps, runId, gone.signal)) {
        if (run.revision <= seen && !hasEnded(run)) continue;
        writing = true;
        // who has asked below a prefix is told of an error below it
        await stream.write(
          run.error === null || baseOf(c) === "" ? event : eventOf(runBelow(c, run)),
        );
        writing = false;
      }
    } finally {
      clearInterval(heartbeat);
      leave();
    }
  });
}
