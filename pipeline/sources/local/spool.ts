import { say } from "../../../vocabulary/messages.ts";
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

/** The name of a stored request body among a run's spool files. */
export function uploadName(uploadId: string): string {
  return spoolName(`upload:${uploadId}`, "upload");
}

/** Whether a file of that name is a stored request body. */
export function isUpload(name: string): boolean {
  return name.endsWith(".upload");
}

/** Moves a finished spool file here from another directory of this disk, where it is there. */
export async function takeSpooled(
  from: string,
  dir: string,
  name: string,
): Promise<SpoolFile | undefined> {
  try {
    await Deno.rename(join(from, name), join(dir, name));
  } catch {
    // whoever misses it can make it
    return undefined;
  }
  return await findSpooled(dir, name);
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
    const write = async (block: Uint8Array, before: Promise<void>) => {
      await before;
      for (let from = 0; from < block.length;) from += await file.write(block.subarray(from));
    };
    // what comes over the network is taken while the disk writes: a body that waits to be read costs Deno the more the more
    // of it waits
    const writing = [Promise.resolve()];
    try {
      for await (const block of inBlocks(chunks)) {
        size += block.length;
        const written = write(block, writing.at(-1)!);
        written.catch(() => {});
        writing.push(written);
        if (writing.length > BLOCKS_AHEAD) await writing.shift();
      }
    } finally {
      await Promise.allSettled(writing);
    }
    await Promise.all(writing);
  } catch (error) {
    await Deno.remove(partial).catch(() => {});
    throw asDiskFull(error, dir);
  }
  await Deno.rename(partial, absolutePath);
  return { path: name, absolutePath, size };
}

const BLOCK_BYTES = 1 << 20;
/** Blocks that may wait for the disk. */
const BLOCKS_AHEAD = 8;

/**
 * The same bytes in blocks of 1 MiB. The network gives some 32 KiB at a time, and a write of each cost six times the CPU of
 * one of them all together.
 */
async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(BLOCK_BYTES);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length;) {
      const part = chunk.subarray(from, from + BLOCK_BYTES - filled);
      block.set(part, filled);
      filled += part.length;
      from += part.length;
      if (filled < BLOCK_BYTES) continue;
      yield block;
      block = new Uint8Array(BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

/** Turns "no space left" into a Problem; gives anything else back. */
export function asDiskFull(error: unknown, dir: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new Problem("disk-full", {
    detail: say("disk-is-full", { dir }),
    transient: true,
    cause: error,
  });
}
