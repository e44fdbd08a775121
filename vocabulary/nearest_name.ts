import { distance } from "fastest-levenshtein";

/** Longer names are nobody's slip of the pen. The same as in etl.nearest_name (sql/shared/basics.sql). */
const MAX_LENGTH = 63;

/** Unknown names for which a known one is looked for in one answer; the same as in etl.schema_errors. */
export const MAX_SUGGESTIONS = 10;

/**
 * The known name that was probably meant: with the smallest edit distance, upper and lower case
 * being the same, if that is at most a third of what was given, or 2. Of several at the same distance
 * the first of the same length, as letters are swapped more often than left out, else the first.
 * etl.nearest_name (sql/shared/basics.sql) has the same rule; a test compares.
 */
export function nearestName(given: string, known: Iterable<string>): string | undefined {
  if (given === "" || given.length > MAX_LENGTH) return undefined;
  const name = given.toLowerCase();
  const limit = Math.max(2, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestScore = 2 * limit + 2;
  for (const candidate of known) {
    const other = candidate.length === name.length ? 0 : 1;
    // no edit makes up for more letters than it adds
    if (2 * Math.abs(candidate.length - name.length) + other >= bestScore) continue;
    const score = 2 * distance(name, candidate.toLowerCase()) + other;
    if (score < bestScore) [best, bestScore] = [candidate, score];
  }
  return best;
}
