import { createHash } from "node:crypto";
import { join } from "node:path";
import { isUpload } from "../sources/local/spool.ts";
import type { Sql } from "../../store/database.ts";
import { databaseIdentity } from "../../store/installation.ts";
import { endedRuns, unfinishedRuns } from "../../store/runs.ts";
import { dropLeftoverManifests } from "../../store/event_keys.ts";
import { endLeftoverFirstLoads } from "../../store/first_load.ts";

const LOCK = "lock";

/** Where a server writes, below the spool directory that several servers and databases may share. */
export interface SpoolDirs {
  /** Directories of runs, shared by the servers of one database. */
  runs: string;
  /** What requests of this server have on their way: uploads and previews. */
  requests: string;
  /** Removes what requests left whose server is dead, and stored bodies that no run of this server has taken. */
  tidy(): Promise<void>;
  /** Removes this server's own part. */
  close(): Promise<void>;
}

/**
 * Makes them, of this account alone. A database's directory bears its identity, so that servers of different databases
 * on one spool leave each other's runs alone; a server's has a lock that ends with its process, however that ends.
 */
export async function openSpool(sql: Sql, spoolDir: string): Promise<SpoolDirs> {
  const identity = createHash("sha256").update(await databaseIdentity(sql)).digest("hex");
  const runs = join(spoolDir, `db-${identity.slice(0, 16)}`);
  const name = `server-${crypto.randomUUID()}`;
  const requests = join(runs, name);
  await Deno.mkdir(requests, { recursive: true, mode: 0o700 });
  const lock = await Deno.open(join(requests, LOCK), { create: true, write: true, mode: 0o600 });
  await lock.lock(true);
  return {
    runs,
    requests,
    async tidy() {
      await removeUntaken(requests);
      for await (const entry of Deno.readDir(runs)) {
        if (!entry.name.startsWith("server-") || entry.name === name) continue;
        const dir = join(runs, entry.name);
        if (await isDead(dir)) await Deno.remove(dir, { recursive: true }).catch(() => {});
      }
    },
    async close() {
      lock.close();
      await Deno.remove(requests, { recursive: true }).catch(() => {});
    },
  };
}

/** How long a stored body waits on the disk for a run that takes it from there. */
const UNTAKEN_MS = 60_000;

/** Removes stored bodies that were received long ago; runs read them from the database. */
export async function removeUntaken(requests: string, now = Date.now()): Promise<void> {
  for await (const { name } of Deno.readDir(requests)) {
    if (!isUpload(name)) continue;
    const path = join(requests, name);
    const { mtime } = await Deno.stat(path).catch(() => ({ mtime: null }));
    if (mtime !== null && mtime.getTime() < now - UNTAKEN_MS) {
      await Deno.remove(path).catch(() => {});
    }
  }
}

/** Whether nobody holds a server's lock; one that is just being made is not dead. */
async function isDead(dir: string): Promise<boolean> {
  let lock: Deno.FsFile;
  try {
    lock = await Deno.open(join(dir, LOCK), { write: true });
  } catch {
    const made = (await Deno.stat(dir).catch(() => null))?.mtime?.getTime() ?? Infinity;
    return made < Date.now() - 60_000;
  }
  try {
    return await lock.tryLock(true);
  } finally {
    lock.close();
  }
}

/** Removes what a server of version 0.1.0 left in the spool directory itself, of runs that this database knows to have ended. */
export async function removeOldLayout(sql: Sql, spoolDir: string): Promise<void> {
  const dirs: string[] = [];
  for await (const { name } of Deno.readDir(spoolDir)) {
    if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name)) dirs.push(name);
  }
  if (dirs.length === 0) return;
  for (const dir of await endedRuns(sql, dirs)) {
    await Deno.remove(join(spoolDir, dir), { recursive: true }).catch(() => {});
  }
}

/**
 * Removes what ended runs have left: their directories below the database's spool directory
 * (`SpoolDirs.runs`), and in the database manifests and tables without their indexes. What unfinished runs
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
  await endLeftoverFirstLoads(sql);
}

async function removeDir(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    // the run's own end, or another server on the same directory, was faster
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
