/**
 * The manifest of an attempt: an unlogged table with key, fingerprint and
 * version of every event, for the comparison with a destination that holds
 * rows already. Each attempt has its own, so a replaced one disturbs nothing.
 */
export function manifestTable(of: { runId: string; attempt: number }): string {
  return `manifest_${of.runId.replaceAll("-", "")}_${of.attempt}`;
}
