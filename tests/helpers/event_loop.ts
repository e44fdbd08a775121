const TICK_MS = 20;

/** Milliseconds for which this process's event loop stood still at the longest while something was done. */
export async function longestBlock<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  let last = performance.now();
  let longest = 0;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last - TICK_MS);
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
