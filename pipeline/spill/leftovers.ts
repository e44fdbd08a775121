import type { Sql } from "../../store/database.ts";

/**
 * Removes what ended runs have left: their directories below the spool
 * directory, and manifests in the database. What unfinished runs have stays,
 * since the next attempt uses it; so does what this server has in hand.
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
    const unfinished = await sql<{ run_id: string }[]>`
      select run_id from etl.runs where run_id = any(${dirs}::uuid[]) and state in ('queued', 'running')`;
    const keep = new Set(unfinished.map((row) => row.run_id));
    for (const dir of dirs) {
      if (!keep.has(dir) && !inHand(dir)) await removeDir(`${spoolDir}/${dir}`);
    }
  }
  const manifests = await sql<{ name: string }[]>`
    select c.relname as name from pg_class as c
    where c.relnamespace = 'etl'::regnamespace and c.relname ~ '^manifest_[0-9a-f]{32}_[0-9]+$'
      and not exists (
        select from etl.runs as r where r.state in ('queued', 'running')
          and replace(r.run_id::text, '-', '') = substr(c.relname, 10, 32))`;
  for (const { name } of manifests) await sql`drop table if exists etl.${sql(name)}`;
}

async function removeDir(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    // the run's own end, or another server on the same directory, was faster
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
