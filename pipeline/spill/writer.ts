import type { TypedTable } from "../../store/row_layout.ts";
import type { Event } from "../event.ts";
import { groupHashes } from "./duplicates.ts";
import { chunkFile, type ChunkFileKind, diskProblem, type SpillMeta } from "./layout.ts";
import { RowEncoder } from "./row_encoder.ts";

/** Bytes of rows that wait in memory at most, and one row more, however large the page. */
const MAX_PENDING = 1 << 20;

export interface SpillWriterOptions {
  dir: string;
  chunkNo: number;
  runId: string;
  sourceName: string;
  /** Rows between two writes to disk (db_page_size). */
  pageSize: number;
  /** Default null: the events table. */
  table?: TypedTable | null;
}

/** Finished rows of some events; their memory is used again. */
export interface MadeRows {
  count: number;
  rows: Uint8Array;
  /** By event: where its row ends in `rows`. */
  ends: Float64Array;
  keys: Uint8Array;
  /** Two words an event. */
  hashes: Uint32Array;
}

/**
 * Writes the finished rows of one chunk, ready for COPY. Holds one page of rows
 * in memory. `finish` makes the spill valid; without it the files are leftovers.
 */
export class SpillWriter {
  readonly #options: SpillWriterOptions;
  /** Tells the unfinished files of this writer from those of others. */
  readonly #tag: string;
  readonly #rows: Deno.FsFile;
  readonly #keys: Deno.FsFile;
  readonly #encoder: RowEncoder;
  #hashes = new Uint32Array(1 << 12);
  #ends = new Float64Array(1 << 11);
  readonly #lines: KeyLines;
  #pending = 0;
  #events = 0;
  #rowsBytes = 0;
  #keysBytes = 0;

  private constructor(
    options: SpillWriterOptions,
    files: { tag: string; rows: Deno.FsFile; keys: Deno.FsFile },
  ) {
    this.#options = options;
    this.#tag = files.tag;
    this.#rows = files.rows;
    this.#keys = files.keys;
    this.#encoder = new RowEncoder(options);
    this.#lines = new KeyLines(options.chunkNo);
  }

  static open(options: SpillWriterOptions): SpillWriter {
    const { dir, chunkNo } = options;
    const tag = crypto.randomUUID().slice(0, 8);
    const create = { write: true, createNew: true };
    try {
      const rows = Deno.openSync(unfinished(dir, chunkNo, "rows", tag), create);
      try {
        const keys = Deno.openSync(unfinished(dir, chunkNo, "keys", tag), create);
        return new SpillWriter(options, { tag, rows, keys });
      } catch (error) {
        rows.close();
        throw error;
      }
    } catch (error) {
      throw diskProblem(error, dir);
    }
  }

  /** Adds events in source order. */
  add(events: Event[]): void {
    for (const event of events) {
      const { eventId, version, fingerprint } = event;
      // what deletes is no row, and its place among them is empty
      if (!event.deletes) this.#encoder.append(event);
      this.#lines.append(eventId, fingerprint, version, this.#events);
      if (this.#events === this.#ends.length) this.#grow();
      this.#ends[this.#events] = this.#rowsBytes + this.#encoder.size;
      keyHash(eventId, this.#hashes, this.#events * 2);
      this.#events++;
      const full = ++this.#pending >= this.#options.pageSize;
      if (full || this.#encoder.size >= MAX_PENDING) this.#flush();
    }
  }

  /** Adds rows that are made already, their lines of keys with them; they are written at once. */
  addRows({ count, rows, ends, keys, hashes }: MadeRows): void {
    if (count === 0) return;
    this.#flush();
    while (this.#events + count > this.#ends.length) this.#grow();
    for (let i = 0; i < count; i++) this.#ends[this.#events + i] = this.#rowsBytes + ends[i]!;
    this.#hashes.set(hashes.subarray(0, count * 2), this.#events * 2);
    this.#events += count;
    try {
      this.#rowsBytes += writeBytes(this.#rows, rows);
      this.#keysBytes += writeBytes(this.#keys, keys);
    } catch (error) {
      throw diskProblem(error, this.#options.dir);
    }
  }

  #grow(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    const ends = new Float64Array(this.#ends.length * 2);
    ends.set(this.#ends);
    this.#ends = ends;
  }

  #flush(): void {
    try {
      this.#rowsBytes += writeBytes(this.#rows, this.#encoder.take());
      this.#keysBytes += writeBytes(this.#keys, this.#lines.take());
    } catch (error) {
      throw diskProblem(error, this.#options.dir);
    }
    this.#pending = 0;
  }

  /** Completes the spill; the chunk can be published from it. */
  finish(
    { present = "", ...rest }:
      & Pick<SpillMeta, "maker" | "counts" | "stageMs" | "validation">
      & {
        /** Lines of {@linkcode presentLine}, of rejected records. */
        present?: string;
      },
  ): SpillMeta {
    const { dir, chunkNo } = this.#options;
    this.#flush();
    const meta: SpillMeta = {
      chunkNo,
      events: this.#events,
      rowsBytes: this.#rowsBytes,
      keysBytes: this.#keysBytes,
      presentBytes: encoder.encode(present).length,
      ...rest,
    };
    try {
      const used = this.#hashes.subarray(0, this.#events * 2);
      Deno.writeFileSync(this.#file("hash"), groupHashes(used));
      Deno.writeFileSync(
        this.#file("ends"),
        new Uint8Array(this.#ends.buffer, 0, this.#events * 8),
      );
      if (present !== "") Deno.writeTextFileSync(this.#file("present"), present);
      Deno.writeTextFileSync(this.#file("json"), JSON.stringify(meta));
      for (const kind of FILES) {
        if (kind === "present" && present === "") continue;
        Deno.renameSync(this.#file(kind), chunkFile(dir, chunkNo, kind));
      }
    } catch (error) {
      throw diskProblem(error, dir);
    }
    return meta;
  }

  #file(kind: ChunkFileKind): string {
    return unfinished(this.#options.dir, this.#options.chunkNo, kind, this.#tag);
  }

  [Symbol.dispose](): void {
    this.#rows.close();
    this.#keys.close();
    // what will never be finished must not fill the disk
    for (const kind of FILES) {
      try {
        Deno.removeSync(this.#file(kind));
      } catch {
        // not written yet, or the run is gone
      }
    }
  }
}

/** What a chunk consists of; the one that says that the others are there comes last. */
const FILES = ["rows", "ends", "keys", "present", "hash", "json"] as const;

function unfinished(dir: string, chunkNo: number, kind: ChunkFileKind, tag: string): string {
  return `${chunkFile(dir, chunkNo, kind)}.${tag}.partial`;
}

/** The line of a key that the input has without an event: its record was rejected. */
export function presentLine(key: string): string {
  return `${copyText(key)}\t\\\\x\t\\N\t-1\t0\n`;
}

/** Escapes a value for COPY's text format. */
export function copyText(text: string): string {
  return /[\\\t\n\r]/.test(text)
    ? text.replace(
      /[\\\t\n\r]/g,
      (c) => c === "\\" ? "\\\\" : c === "\t" ? "\\t" : c === "\n" ? "\\n" : "\\r",
    )
    : text;
}

const encoder = new TextEncoder();

const TAB = 9;
const NEWLINE = 10;
const CR = 13;
const BACKSLASH = 92;
const LETTER_X = 120;

/**
 * Lines of a table of keys, as COPY text: key, fingerprint, version, chunk and position. As bytes from the start: the
 * strings of a page of lines would be one more thing that the garbage collector moves about.
 */
export class KeyLines {
  readonly #chunk: string;
  #bytes = new Uint8Array(1 << 16);
  #at = 0;

  constructor(chunkNo: number) {
    this.#chunk = `\t${chunkNo}\t`;
  }

  append(key: string, fingerprint: string, version: string | null, position: number): void {
    // UTF-8 needs at most three bytes for a UTF-16 unit, and an escaped one has two
    this.#reserve(key.length * 3 + fingerprint.length + (version?.length ?? 0) + 64);
    const bytes = this.#bytes;
    let at = putPlain(bytes, this.#at, key);
    if (at < 0) {
      at = this.#at + encoder.encodeInto(copyText(key), bytes.subarray(this.#at)).written;
    }
    this.#end(at, fingerprint, version, position);
  }

  /** The same of a key of bytes, none of which COPY takes for something else. */
  appendBytes(
    key: Uint8Array,
    from: number,
    to: number,
    fingerprint: string,
    version: string | null,
    position: number,
  ): void {
    this.#reserve(to - from + fingerprint.length + (version?.length ?? 0) + 64);
    let at = this.#at;
    for (let i = from; i < to; i++) this.#bytes[at++] = key[i]!;
    this.#end(at, fingerprint, version, position);
  }

  #end(from: number, fingerprint: string, version: string | null, position: number): void {
    const bytes = this.#bytes;
    let at = from;
    bytes[at++] = TAB;
    bytes[at++] = BACKSLASH;
    bytes[at++] = BACKSLASH;
    bytes[at++] = LETTER_X;
    at = putAscii(bytes, at, fingerprint);
    bytes[at++] = TAB;
    if (version === null) {
      bytes[at++] = BACKSLASH;
      bytes[at++] = 78;
    } else at = putAscii(bytes, at, version);
    // a tab on both sides
    at = putAscii(bytes, at, this.#chunk);
    at = putAscii(bytes, at, `${position}`);
    bytes[at++] = NEWLINE;
    this.#at = at;
  }

  /** The lines so far; valid until the next append. */
  take(): Uint8Array<ArrayBuffer> {
    const lines = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return lines;
  }

  #reserve(length: number): void {
    const needed = this.#at + length;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}

/** Writes ASCII that COPY takes as it is, and answers the place behind it; −1 where the text is something else. */
function putPlain(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 127 || unit === TAB || unit === NEWLINE || unit === CR || unit === BACKSLASH) {
      return -1;
    }
    bytes[at++] = unit;
  }
  return at;
}

/** Writes what is known to be ASCII without a sign of COPY's; answers the place behind it. */
function putAscii(bytes: Uint8Array, from: number, text: string): number {
  let at = from;
  for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
  return at;
}

function writeBytes(file: Deno.FsFile, bytes: Uint8Array): number {
  let done = 0;
  while (done < bytes.length) done += file.writeSync(bytes.subarray(done));
  return bytes.length;
}

/**
 * Writes 64 bits of hash of a key as two uint32 at `target[at]`. Only a filter
 * (equal keys have equal hashes): what it flags is compared exactly in SQL, so
 * its quality matters for speed alone. Two lanes of the multiplicative mixing
 * of MurmurHash3.
 */
export function keyHash(key: string, target: Uint32Array, at: number): void {
  let a = FIRST_SEED ^ key.length;
  let b = SECOND_SEED;
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    a = mixedFirst(a, unit);
    b = mixedSecond(b, unit);
  }
  putHash(a, b, target, at);
}

/** The same of a key of ASCII. */
export function keyHashOfBytes(
  key: Uint8Array,
  from: number,
  to: number,
  target: Uint32Array,
  at: number,
): void {
  let a = FIRST_SEED ^ (to - from);
  let b = SECOND_SEED;
  for (let i = from; i < to; i++) {
    const unit = key[i]!;
    a = mixedFirst(a, unit);
    b = mixedSecond(b, unit);
  }
  putHash(a, b, target, at);
}

const FIRST_SEED = 0x9747b28c;
const SECOND_SEED = 0x1b873593;

function mixedFirst(hash: number, unit: number): number {
  const mixed = Math.imul(hash ^ unit, 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
}

function mixedSecond(hash: number, unit: number): number {
  const mixed = Math.imul(hash ^ unit, 0xc2b2ae35);
  return mixed ^ (mixed >>> 15);
}

function putHash(first: number, second: number, target: Uint32Array, at: number): void {
  const a = Math.imul(first ^ (first >>> 16), 0x85ebca6b);
  const b = Math.imul(second ^ (second >>> 16), 0xc2b2ae35);
  target[at] = (a ^ (b >>> 11)) >>> 0;
  target[at + 1] = (b ^ (a >>> 9)) >>> 0;
}
