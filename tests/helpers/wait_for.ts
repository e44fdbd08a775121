export interface WaitForOptions {
  /** Default 30,000: a busy machine takes its time. */
  timeoutMs?: number;
  /** Pause between two looks; default 20. */
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
  const { timeoutMs = 30_000, intervalMs = 20 } = options;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      const what = options.what ?? condition.toString();
      throw new Error(`Waited ${timeoutMs} ms in vain for: ${what}`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
