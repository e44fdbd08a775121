import type { KeyTypes } from "../mapping.ts";
import type { UnknownFields } from "../typed_rows.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import type { Plain } from "../sources/source.ts";

/**
 * Where a run's finished rows wait on this server's disk between prepare and
 * publish. A directory a run, and for each chunk:
 *
 *   <n>.rows   rows in PostgreSQL's binary COPY format, in source order (row_encoder.ts)
 *   <n>.ends   where each row ends in .rows (float64)
 *   <n>.keys   event_id, fingerprint, version, chunk and position, as COPY text
 *   <n>.present   the keys of rejected records, as COPY text; only where the run mirrors, and there are some
 *   <n>.hash   64 bits of hash of each event_id, with its position, in groups (duplicates.ts)
 *   <n>.ge<i>.<attempt>   what accumulator i of the expectation suite keeps of its values
 *   <n>.repeated.<attempt>   positions of events whose key may occur again in the run (int32)
 *   <n>.losers.<attempt>   sorted positions that lost against another event of their key (int32)
 *   <n>.inserts.<attempt>, <n>.updates.<attempt>, <n>.deletes.<attempt>, <n>.buries.<attempt>, <n>.stales.<attempt>
 *                          sorted positions to publish, where it is not all of them (int32)
 *   <n>.json   what is in the others; appears last, so a chunk without it does not exist
 *
 * All but the positions are written under other names and renamed when they are whole: two
 * attempts on one directory (a server that was taken for dead may go on) never mix theirs.
 *
 * A position is the number of a row in .rows and of a line in .keys.
 *
 * Workers, which do nothing else meanwhile, read and write with calls that wait: a small file is in the memory of the system,
 * and the way through the threads of Deno takes longer than it does.
 */
export interface SpillMeta {
  chunkNo: number;
  /** Number of events: rows of .rows, lines of .keys. */
  events: number;
  rowsBytes: number;
  keysBytes: number;
  /** Of .present; 0 where there is none. */
  presentBytes: number;
  /** Identifies what made it (conf, transform, pin): another maker's spill is not used. */
  maker: string;
  /** Counters of the chunk, as the chunk's row in the database has them. */
  counts: PreparedCounts;
  stageMs: Record<string, number>;
  /** What the chunk says of the batch for the suite's verdict, if there is a suite. */
  validation?: Plain;
}

/** Events from a position on are of a file. */
export interface FileStart {
  file: string;
  from: number;
}

export interface PreparedCounts {
  records_read: number;
  rejected: number;
  filtered: number;
  extra: number;
  events: number;
  cursor_nulls: number;
  /** Rejected records whose key could not be read. */
  keyless: number;
  /** Events that delete their key. */
  deletions: number;
  /** Records in which an object has a name twice, and the first of them, in words. */
  repeated_names?: { records: number; example: string } | undefined;
  /** The files of the events: each begins with the event of that position. None where the source has no files. */
  files?: FileStart[];
  /** Newlines up to its end, of the last file that it reads from elsewhere: from that file's beginning or from its own. */
  newlines?: number;
  /** The highest position of its records, of a source that finds it while it reads. */
  position?: string | undefined;
  /** Records whose value is no position, and one of the values. */
  no_positions?: { records: number; example: string } | undefined;
  /** Of each field of the key; not where a module makes the keys. */
  key_types?: KeyTypes[];
  /** Fields that the columns of a typed table have no place for. */
  unknown_fields?: UnknownFields;
  /** Private fields (`exclude`, `hash`) that a record had; only where the dataset has some. */
  private_found?: string[];
}

/** Groups of a .hash file, by the upper bits of the hash. */
export const HASH_GROUPS = 512;

/**
 * Size of the .hash file of a chunk: where each group begins and the last ends, then three words an event, its hash and
 * its position (all little-endian uint32).
 */
export const hashFileBytes = (events: number): number => (HASH_GROUPS + 1 + events * 3) * 4;

export function runDir(spoolDir: string, runId: string): string {
  return `${spoolDir}/${runId}`;
}

/** A server's part of a run that several work on: those on one disk keep out of each other's files. */
export function sharedDir(
  spoolDir: string,
  { runId, serverId }: { runId: string; serverId: string },
): string {
  return `${runDir(spoolDir, runId)}/${serverId}`;
}

export type ChunkFileKind = "rows" | "ends" | "keys" | "present" | "hash" | "json" | PositionsKind;
export type PositionsKind =
  | "repeated"
  | "losers"
  | "inserts"
  | "updates"
  | "deletes"
  | "buries"
  | "stales";

export function chunkFile(dir: string, chunkNo: number, kind: ChunkFileKind): string {
  return `${dir}/${chunkNo}.${kind}`;
}

/** Whose positions: another attempt may still write its own in the same directory. */
export interface PositionsOwner {
  spillDir: string;
  attempt: number;
}

function positionsFile(owner: PositionsOwner, chunkNo: number, kind: PositionsKind): string {
  return `${chunkFile(owner.spillDir, chunkNo, kind)}.${owner.attempt}`;
}

/**
 * The spill of a chunk if this server holds it whole and the same maker made
 * it. Of a published chunk the keys are enough: its rows are in the table.
 */
export function readMeta(
  dir: string,
  chunkNo: number,
  { maker, published }: { maker: string; published: boolean },
): SpillMeta | null {
  try {
    const meta: SpillMeta = JSON.parse(Deno.readTextFileSync(chunkFile(dir, chunkNo, "json")));
    const size = (kind: ChunkFileKind) => Deno.statSync(chunkFile(dir, chunkNo, kind)).size;
    const rows = size("rows");
    const whole = (published || rows === meta.rowsBytes) && size("keys") === meta.keysBytes &&
      size("hash") === hashFileBytes(meta.events) &&
      (meta.presentBytes === 0 || size("present") === meta.presentBytes);
    return whole && meta.maker === maker ? meta : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Writes positions; `append` adds them to those that are there. */
export function writePositions(
  owner: PositionsOwner,
  chunkNo: number,
  kind: PositionsKind,
  positions: Int32Array,
  { append = false } = {},
): void {
  const { buffer, byteOffset, byteLength } = positions;
  const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  try {
    Deno.writeFileSync(positionsFile(owner, chunkNo, kind), bytes, { append });
  } catch (error) {
    throw diskProblem(error, owner.spillDir);
  }
}

export function readPositions(
  owner: PositionsOwner,
  chunkNo: number,
  kind: PositionsKind,
): Int32Array {
  const bytes = Deno.readFileSync(positionsFile(owner, chunkNo, kind));
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Positions as bits: that of a position is set in byte `position / 8`, from the lowest on. */
export function bitsOf(positions: Int32Array, events: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(events / 8));
  for (const position of positions) bits[position >> 3]! |= 1 << (position & 7);
  return bits;
}

/** The positions that {@linkcode bitsOf} was given, sorted. */
export function positionsOf(bits: Uint8Array): Int32Array<ArrayBuffer> {
  const positions: number[] = [];
  for (const [i, byte] of bits.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit & 1) === 1) positions.push(i * 8 + bit);
  }
  return Int32Array.from(positions);
}

/** Turns "no space left" into a problem that says where; other errors stay. */
export function diskProblem(error: unknown, dir: string): unknown {
  const code = (error as { code?: string } | null)?.code;
  const message = error instanceof Error ? error.message : "";
  if (code !== "ENOSPC" && code !== "EDQUOT" && !/no space left|quota exceeded/i.test(message)) {
    return error;
  }
  return new Problem("disk-full", {
    status: 507,
    transient: true,
    detail: say("spool-full", { dir }),
    cause: error,
  });
}
