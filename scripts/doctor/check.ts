/** What one look at an installation has found. */
export interface Check {
  /** What was looked at, in a few words. */
  name: string;
  state: "ok" | "warn" | "fail";
  /** What was found. */
  found: string;
  /** What to do about it; with warn and fail. */
  remedy?: string;
}

export const ok = (name: string, found: string): Check => ({ name, state: "ok", found });

export const warn = (name: string, found: string, remedy: string): Check => ({
  name,
  state: "warn",
  found,
  remedy,
});

export const fail = (name: string, found: string, remedy: string): Check => ({
  name,
  state: "fail",
  found,
  remedy,
});

/** A check that throws has found something too. */
export async function guarded(
  name: string,
  look: () => Promise<Check | Check[]>,
): Promise<Check[]> {
  try {
    return [await look()].flat();
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return [fail(name, found, "Mend what this says, then look again.")];
  }
}
