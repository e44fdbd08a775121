/**
 * Runs a task for each item, at most `lanes` at once, and begins no more after
 * the first failure. Throws the failure that is final, if any is, else the first.
 */
export async function forEachLane<T>(
  items: T[],
  lanes: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  const lane = async () => {
    while (next < items.length && !failed) {
      try {
        await task(items[next++]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(
    Array.from({ length: Math.min(items.length, lanes) }, lane),
  );
  const errors = results.flatMap((result) => result.status === "rejected" ? [result.reason] : []);
  // what ends the run for good says more than what another attempt may mend
  const worst = errors.find((error) => error?.transient !== true) ?? errors[0];
  if (worst !== undefined) throw worst;
}
