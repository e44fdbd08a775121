import type { Event } from "../event.ts";
import { chunkFile, type ChunkFileKind, diskProblem, type SpillMeta } from "./layout.ts";
import { keyHash } from "./key_hash.ts";

/** Columns of a row in .rows, in order. */
export const ROW_COLUMNS = [
  "event_id",
  "event_type",
  "occurred_at",
  "source",
  "version",
  "payload",
  "fingerprint",
  "event_date",
  "event_hour",
  "run_id",
] as const;

/** UTF-16 units of rows that wait in memory at most, and one row more, however large the page. */
const MAX_PENDING = 1 << 20;

/** Columns of a line in .keys, in order. */
export const KEY_COLUMNS = ["event_id", "fingerprint", "version", "chunk_no", "position"] as const;

export interface SpillWriterOptions {
  dir: string;
  chunkNo: number;
  runId: string;
  sourceName: string;
  /** Rows between two writes to disk (db_page_size). */
  pageSize: number;
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
  readonly #constantTail: string;
  readonly #sourceText: string;
  #hashes = new Uint32Array(1 << 12);
  #rowText = "";
  #keyText = "";
  #pending = 0;
  #events = 0;
  #rowsBytes = 0;
  #keysBytes = 0;

  #finished = false;

  private constructor(
    options: SpillWriterOptions,
    files: { tag: string; rows: Deno.FsFile; keys: Deno.FsFile },
  ) {
    this.#options = options;
    this.#tag = files.tag;
    this.#rows = files.rows;
    this.#keys = files.keys;
    this.#sourceText = copyText(options.sourceName);
    this.#constantTail = `\t${options.runId}\n`;
  }

  static async open(options: SpillWriterOptions): Promise<SpillWriter> {
    const { dir, chunkNo } = options;
    const tag = crypto.randomUUID().slice(0, 8);
    const create = { write: true, createNew: true };
    try {
      const rows = await Deno.open(unfinished(dir, chunkNo, "rows", tag), create);
      try {
        const keys = await Deno.open(unfinished(dir, chunkNo, "keys", tag), create);
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
      const { eventId, eventType, occurredAt, version, text, fingerprint } = event;
      const id = copyText(eventId);
      const time = occurredAt ?? "\\N";
      const when = occurredAt === null
        ? "\\N\t\\N"
        : `${occurredAt.slice(0, 10)}\t${occurredAt.slice(11, 13)}`;
      this.#rowText += `${id}\t${copyText(eventType)}\t${time}\t${this.#sourceText}\t${
        version ?? "\\N"
      }\t${copyText(text)}\t\\\\x${fingerprint}\t${when}${this.#constantTail}`;
      this.#keyText += `${id}\t\\\\x${fingerprint}\t${
        version ?? "\\N"
      }\t${this.#options.chunkNo}\t${this.#events}\n`;
      if (this.#events * 2 + 2 > this.#hashes.length) {
        const grown = new Uint32Array(this.#hashes.length * 2);
        grown.set(this.#hashes);
        this.#hashes = grown;
      }
      keyHash(eventId, this.#hashes, this.#events * 2);
      this.#events++;
      const full = ++this.#pending >= this.#options.pageSize;
      if (full || this.#rowText.length >= MAX_PENDING) this.#flush();
    }
  }

  #flush(): void {
    try {
      this.#rowsBytes += writeText(this.#rows, this.#rowText);
      this.#keysBytes += writeText(this.#keys, this.#keyText);
    } catch (error) {
      throw diskProblem(error, this.#options.dir);
    }
    this.#rowText = "";
    this.#keyText = "";
    this.#pending = 0;
  }

  /** Completes the spill; the chunk can be published from it. */
  async finish(
    rest: Pick<SpillMeta, "maker" | "counts" | "stageMs" | "validation">,
  ): Promise<SpillMeta> {
    const { dir, chunkNo } = this.#options;
    this.#flush();
    const meta: SpillMeta = {
      chunkNo,
      events: this.#events,
      rowsBytes: this.#rowsBytes,
      keysBytes: this.#keysBytes,
      ...rest,
    };
    try {
      const used = this.#hashes.subarray(0, this.#events * 2);
      await Deno.writeFile(this.#file("hash"), new Uint8Array(used.buffer, 0, used.byteLength));
      await Deno.writeTextFile(this.#file("json"), JSON.stringify(meta));
      // the one that says that the others are there comes last
      for (const kind of ["rows", "keys", "hash", "json"] as const) {
        await Deno.rename(this.#file(kind), chunkFile(dir, chunkNo, kind));
      }
    } catch (error) {
      throw diskProblem(error, dir);
    }
    this.#finished = true;
    return meta;
  }

  #file(kind: ChunkFileKind): string {
    return unfinished(this.#options.dir, this.#options.chunkNo, kind, this.#tag);
  }

  [Symbol.dispose](): void {
    this.#rows.close();
    this.#keys.close();
    if (this.#finished) return;
    // what will never be finished must not fill the disk
    for (const kind of ["rows", "keys", "hash", "json"] as const) {
      try {
        Deno.removeSync(this.#file(kind));
      } catch {
        // not written yet, or the run is gone
      }
    }
  }
}

function unfinished(dir: string, chunkNo: number, kind: ChunkFileKind, tag: string): string {
  return `${chunkFile(dir, chunkNo, kind)}.${tag}.partial`;
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
let buffer = new Uint8Array(1 << 20);

/** Writes text as UTF-8 and answers the number of bytes. */
function writeText(file: Deno.FsFile, text: string): number {
  // UTF-8 needs at most three bytes for a UTF-16 unit
  if (text.length * 3 > buffer.length) buffer = new Uint8Array(text.length * 3);
  const { written } = encoder.encodeInto(text, buffer);
  let done = 0;
  while (done < written) done += file.writeSync(buffer.subarray(done, written));
  return written;
}
