import { isTransient } from "./errors.ts";

export interface RetryPolicy {
  /** Attempts in all (db_max_retries); at least 1. */
  attempts: number;
  /** First delay in ms (db_retry_initial_ms); doubles each time, with jitter of up to a half. */
  initialMs: number;
  /** Longest delay in ms; default 10,000. */
  maxMs?: number;
  signal?: AbortSignal;
  /** Called before each new attempt. */
  onRetry?: (error: unknown, attempt: number) => void;
}

/** Tries a database operation again while it fails transiently. Throws the last error. */
export async function withRetry<T>(policy: RetryPolicy, operation: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await operation();
    } catch (error) {
      if (attempt >= policy.attempts || !isTransient(error) || policy.signal?.aborted) throw error;
      policy.onRetry?.(error, attempt);
      const full = Math.min(policy.initialMs * 2 ** (attempt - 1), policy.maxMs ?? 10_000);
      await delay(full * (0.5 + Math.random() / 2), policy.signal);
    }
  }
}

/** Resolves after `ms`, or at once when the signal is aborted. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
