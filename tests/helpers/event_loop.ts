import process from "node:process";

const TICK_MS = 20;

/** Milliseconds for which this thread has computed. */
function computedMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/**
 * Milliseconds of computing for which this process's event loop stood still at the longest while something was done:
 * a machine that lets the thread wait for a core makes none of them.
 */
export async function longestBlock<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  let last = computedMs();
  let longest = 0;
  const look = () => {
    const now = computedMs();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, TICK_MS);
  try {
    const value = await work();
    look();
    return { ms: Math.round(longest), value };
  } finally {
    clearInterval(timer);
  }
}
