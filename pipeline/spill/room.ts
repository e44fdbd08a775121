import { statfs } from "node:fs/promises";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";

/** Bytes that a finished row takes beside its payload: columns, key, hash, position; measured 200 to 230. */
const ROW_BYTES = 200;

/**
 * Bytes that the finished rows of records take: at least what their text has, and so much a row. Rows of CSV and Parquet
 * take more, as JSON repeats the names of columns.
 */
export function spillBytes({ records, bytes }: { records: number; bytes: number }): number {
  return bytes + records * ROW_BYTES;
}

/**
 * Refuses what a disk has no room for before any of it is written.
 *
 * @throws {Problem} `disk-full`: transient where others of its files may go, not where the disk is smaller than that.
 */
export async function refuseWithoutRoom(dir: string, bytes: number): Promise<void> {
  const disk = await statfs(dir).catch(() => undefined);
  // where that may not be asked, a full disk is noticed by writing to it
  if (disk === undefined) return;
  const free = disk.bavail * disk.bsize;
  if (bytes <= free) return;
  const size = disk.blocks * disk.bsize;
  const fits = bytes <= size;
  throw new Problem("disk-full", {
    detail: fits
      ? say("spool-has-left", { bytes: shown(bytes), dir, free: shown(free) })
      : say("spool-too-small", { bytes: shown(bytes), dir, size: shown(size) }),
    transient: fits,
  });
}

function shown(bytes: number): string {
  const mib = bytes / 2 ** 20;
  return mib < 1024 ? `${Math.ceil(mib)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}
