const told = new Set<string>();

/**
 * For `ignore` of a test: true where what it needs is not there, and says once
 * what to do about it. scripts/test.ts repeats that at the end.
 */
export function lacks(isThere: boolean, remedy: string): boolean {
  if (!isThere && !told.has(remedy)) {
    told.add(remedy);
    console.log(`skipped: ${remedy}`);
  }
  return !isThere;
}

/** Whether something is there; says once what to do where it is not. */
export const isThere = (found: boolean, remedy: string): boolean => !lacks(found, remedy);
