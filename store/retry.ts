import { errorCode, isTransient } from "./errors.ts";

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

const CONFLICTS = new Set(["40001", "40P01"]);

/**
 * Tries a single statement again that lost against another transaction
 * (serialization failure, deadlock): nothing of it has happened, which cannot be
 * said after a lost connection.
 */
export async function withoutConflicts<T>(statement: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await statement();
    } catch (error) {
      if (attempt >= 8 || !CONFLICTS.has(errorCode(error) ?? "")) throw error;
      await delay(Math.random() * 50 * attempt);
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
