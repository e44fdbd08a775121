import type { Log } from "../telemetry/log.ts";

export interface RepeatOptions {
  /** Milliseconds between the end of one time and the beginning of the next. */
  everyMs: number;
  log: Log;
  /** What the log says when it fails; the next time comes all the same. */
  warning: string;
  /** Milliseconds before the first time; default `everyMs`. */
  firstMs?: number;
}

/**
 * Does something again and again, never twice at once. Answers a function that
 * ends it and resolves when nothing is under way any more.
 */
export function repeat(work: () => Promise<unknown>, options: RepeatOptions): () => Promise<void> {
  const { everyMs, log, warning, firstMs = everyMs } = options;
  let stopped = false;
  let current: Promise<void> = Promise.resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const turn = async () => {
    try {
      await work();
    } catch (error) {
      // its message only: where it is thrown is told by the warning, time after time
      if (!stopped) log.warn(warning, { error: error instanceof Error ? error.message : error });
    }
    if (!stopped) wait(everyMs);
  };
  const wait = (ms: number) => {
    timer = setTimeout(() => current = turn(), ms);
  };
  wait(firstMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
    return current;
  };
}
