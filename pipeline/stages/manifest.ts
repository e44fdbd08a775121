/**
 * How a run is compared with its destination: not at all when that is empty; by
 * looking the keys of each chunk up in its primary key, which costs what the run
 * is; or by one join with a table that the chunks fill as they are prepared,
 * which costs what the destination is. docs/decisions/publish.md has figures.
 */
export type Comparison = "none" | "lookup" | "join";

/** Records that the largest chunk of a source has, unless the conf says otherwise. */
const CHUNK_RECORDS = 50_000;
/** A key that is looked up costs as much as so many rows of the destination that are read. */
const LOOKUP_ROWS = 10;

/** Chooses the comparison; `rows` is what PostgreSQL thinks the destination has, 0 where it does not know. */
export function chooseComparison(
  { chunks, chunkSize, rows, filled }: {
    chunks: number;
    /** Records of a chunk, where the conf says so. */
    chunkSize: number | null;
    rows: number;
    filled: boolean;
  },
): Comparison {
  if (chunks === 0 || !filled) return "none";
  // a run of one chunk makes no table of its own, however large it is
  if (chunks === 1) return "lookup";
  return isWorthLookups(chunks * (chunkSize ?? CHUNK_RECORDS), rows) ? "lookup" : "join";
}

/** Whether so many keys are looked up faster than so many rows are read. */
export function isWorthLookups(keys: number, rows: number): boolean {
  return keys * LOOKUP_ROWS < rows;
}

/**
 * The manifest of an attempt: an unlogged table with key, fingerprint and
 * version of every event, for the comparison with a destination that holds
 * rows already. Each attempt has its own, so a replaced one disturbs nothing.
 */
export function manifestTable(of: { runId: string; attempt: number }): string {
  return `manifest_${of.runId.replaceAll("-", "")}_${of.attempt}`;
}
