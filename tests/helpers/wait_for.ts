export interface WaitForOptions {
  /** Default 30,000: a busy machine takes its time. */
  timeoutMs?: number;
  /** Pause between two looks; default: a tenth of what has been waited, 20 to 100, as looking takes a core, too. */
  intervalMs?: number;
  /** What is waited for, for the error's message; default: the condition's text. */
  what?: string;
}

/**
 * Waits until `condition` gives something truthy, and returns that. An error
 * thrown by the condition counts as "not yet"; the last one is the cause of
 * the error that says that time ran out.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitForOptions = {},
): Promise<NonNullable<T>> {
  const { timeoutMs = 30_000, intervalMs } = options;
  const began = performance.now();
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    const waited = performance.now() - began;
    if (waited > timeoutMs) {
      const what = options.what ?? condition.toString();
      throw new Error(`Waited ${timeoutMs} ms in vain for: ${what}`, { cause });
    }
    const pause = intervalMs ?? Math.min(100, Math.max(20, waited / 10));
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
