/**
 * What the work answers, or an error with the code ETIMEDOUT after `limitMs`: a
 * database that does not answer must not hang who asks. The work itself goes on.
 */
export async function deadline<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      late.reject(Object.assign(new Error(`no answer in ${limitMs} ms`), { code: "ETIMEDOUT" })),
    limitMs,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
