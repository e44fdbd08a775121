/**
 * Where the keys of a run wait for the comparison with its destination: nowhere
 * when that is empty; in a temporary table of resolve for a run of one chunk,
 * which costs no table of its own; else in a table that the chunks fill as they
 * are prepared.
 */
export type ManifestKind = "none" | "temporary" | "table";

/**
 * The manifest of an attempt: an unlogged table with key, fingerprint and
 * version of every event, for the comparison with a destination that holds
 * rows already. Each attempt has its own, so a replaced one disturbs nothing.
 */
export function manifestTable(of: { runId: string; attempt: number }): string {
  return `manifest_${of.runId.replaceAll("-", "")}_${of.attempt}`;
}
