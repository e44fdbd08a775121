import { createHash, randomUUID } from "node:crypto";
import { join } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";

/** A file name for what is made of `identity`: the same on every attempt of a run. */
export function spoolName(identity: string, extension: string): string {
  return `${createHash("sha256").update(identity).digest("hex").slice(0, 24)}.${extension}`;
}

export interface SpoolFile {
  path: string;
  absolutePath: string;
  size: number;
}

/** The finished spool file of that name, if there is one. */
export async function findSpooled(dir: string, name: string): Promise<SpoolFile | undefined> {
  const absolutePath = join(dir, name);
  try {
    return { path: name, absolutePath, size: (await Deno.stat(absolutePath)).size };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Writes a spool file; it appears under its name only when it is complete.
 *
 * @throws {Problem} `disk-full`.
 */
export async function spool(
  dir: string,
  name: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<SpoolFile> {
  const absolutePath = join(dir, name);
  const partial = `${absolutePath}.${randomUUID()}.partial`;
  await Deno.mkdir(dir, { recursive: true });
  let size = 0;
  try {
    using file = await Deno.open(partial, { write: true, createNew: true });
    for await (const chunk of chunks) {
      for (let from = 0; from < chunk.length;) from += await file.write(chunk.subarray(from));
      size += chunk.length;
    }
  } catch (error) {
    await Deno.remove(partial).catch(() => {});
    throw asDiskFull(error, dir);
  }
  await Deno.rename(partial, absolutePath);
  return { path: name, absolutePath, size };
}

/** Turns "no space left" into a Problem; gives anything else back. */
export function asDiskFull(error: unknown, dir: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new Problem("disk-full", {
    detail: `The disk of ${dir} is full: free space there, then retry the run.`,
    transient: true,
    cause: error,
  });
}
