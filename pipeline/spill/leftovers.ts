import type { Sql } from "../../store/database.ts";
import { dropLeftoverManifests } from "../../store/manifests.ts";
import { unfinishedRuns } from "../../store/runs.ts";

/**
 * Removes what ended runs have left: their directories below the database's spool directory
 * (`SpoolDirs.runs`), and manifests in the database. What unfinished runs
 * have stays, since the next attempt uses it; so does what this server has in hand.
 */
export async function removeLeftovers(
  sql: Sql,
  spoolDir: string,
  inHand: (runId: string) => boolean = () => false,
): Promise<void> {
  const dirs: string[] = [];
  for await (const entry of Deno.readDir(spoolDir)) {
    if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(entry.name)) dirs.push(entry.name);
  }
  if (dirs.length > 0) {
    const keep = await unfinishedRuns(sql, dirs);
    for (const dir of dirs) {
      if (!keep.has(dir) && !inHand(dir)) await removeDir(`${spoolDir}/${dir}`);
    }
  }
  await dropLeftoverManifests(sql);
}

async function removeDir(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    // the run's own end, or another server on the same directory, was faster
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
