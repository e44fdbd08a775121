import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import {
  END_MARK,
  FIRST_LINE,
  type Manifest,
  manifestSchema,
  parseTrailer,
  type Trailer,
} from "./format.ts";

/** A backup that is whole: every byte of it has been read once. */
export interface CheckedBackup {
  path: string;
  manifest: Manifest;
  trailer: Trailer;
}

const BLOCK_BYTES = 1 << 18;
/** Longer than any trailer. */
const TAIL_BYTES = 1024;
/** Longer than any manifest: thousands of tables. */
const HEAD_BYTES = 32 << 20;

/** The text of a backup, decompressed, in blocks. */
export function readBlocks(path: string): AsyncIterable<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: BLOCK_BYTES });
  // passes errors of the file on, and closes it whatever happens
  pipeline(createReadStream(path, { highWaterMark: BLOCK_BYTES }), gunzip, () => {});
  return gunzip as AsyncIterable<Uint8Array>;
}

/**
 * Reads a whole file and makes sure that it is a backup, complete and
 * unchanged. Throws a Problem that says which of these it is not.
 */
export async function checkBackup(path: string): Promise<CheckedBackup> {
  const hash = createHash("sha256");
  let bytes = 0;
  let head: Buffer | null = Buffer.alloc(0);
  let manifest: Manifest | undefined;
  let tail: Buffer = Buffer.alloc(0);
  try {
    for await (const block of readBlocks(path)) {
      if (head !== null) {
        head = Buffer.concat([head, block]);
        manifest = parseHead(head, path);
        if (manifest !== undefined) head = null;
      }
      const both: Buffer = Buffer.concat([tail, block]);
      const certain = Math.max(0, both.length - TAIL_BYTES);
      hash.update(both.subarray(0, certain));
      bytes += certain;
      tail = both.subarray(certain);
    }
  } catch (error) {
    throw unreadable(error, path);
  }
  if (manifest === undefined) throw head!.length === 0 ? foreign(path) : truncated(path);
  const start = tail.lastIndexOf(`\n${END_MARK}`) + 1;
  const trailer = start === 0 ? null : parseTrailer(tail.subarray(start).toString());
  if (trailer === null) throw truncated(path);
  hash.update(tail.subarray(0, start));
  bytes += start;
  if (hash.digest("hex") !== trailer.sha256 || bytes !== trailer.bytes) {
    throw refused(`${path} was changed after it was written: its checksum does not fit its text.`);
  }
  return { path, manifest, trailer };
}

/** What a backup says of itself, without a look at the rest; null where the file is none, or damaged. */
export async function readManifestOf(path: string): Promise<Manifest | null> {
  let head: Buffer = Buffer.alloc(0);
  try {
    for await (const block of readBlocks(path)) {
      head = Buffer.concat([head, block]);
      const manifest = parseHead(head, path);
      if (manifest !== undefined) return manifest;
    }
  } catch {
    return null;
  }
  return null;
}

/** The manifest, when enough of the file is there. */
function parseHead(head: Buffer, path: string): Manifest | undefined {
  if (head.length < FIRST_LINE.length) return undefined;
  const first = head.subarray(0, FIRST_LINE.length).toString();
  if (first !== FIRST_LINE) {
    const other = /^-- etl-improved backup, format (\d+)\n/.exec(first);
    if (other === null) throw foreign(path);
    throw refused(`${path} has format ${other[1]}, which a newer version reads: use that one.`);
  }
  const end = head.indexOf("\n", FIRST_LINE.length);
  if (end < 0) {
    if (head.length > HEAD_BYTES) throw foreign(path);
    return undefined;
  }
  const line = head.subarray(FIRST_LINE.length + "-- ".length, end).toString();
  const parsed = manifestSchema.safeParse(jsonOrNull(line));
  if (!parsed.success) throw refused(`${path} is damaged: its second line is no manifest.`);
  return parsed.data;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function unreadable(error: unknown, path: string): unknown {
  const { code } = error as { code?: string };
  if (code === "ENOENT") return refused(`There is no file ${path}.`);
  if (code === "EACCES" || code === "EISDIR") return refused(`${path} cannot be read (${code}).`);
  if (code === "Z_BUF_ERROR") return truncated(path);
  if (code === "Z_DATA_ERROR") {
    return refused(
      `${path} is damaged, or no backup at all: it cannot be decompressed. Nothing was changed.`,
    );
  }
  return error;
}

const foreign = (path: string) =>
  refused(
    `${path} is no backup of etl-improved: it does not begin as one. Nothing was changed.`,
  );
const truncated = (path: string) =>
  refused(
    `${path} is truncated, or no backup at all: its last line is not the end of one. Nothing was changed.`,
  );

function refused(detail: string): Problem {
  return new TerminalProblem("bad-request", { detail });
}
