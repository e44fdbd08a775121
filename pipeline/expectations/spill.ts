import { shown } from "./python.ts";

/**
 * Where spilled bytes are: a file, or memory when no directory was given. The
 * positions of rows in it count from `start`, by default 0.
 */
export type SpillRef = ({ path: string } | { bytes: Uint8Array }) & { start?: number };

/** Appends to a spill file; made when the first bytes come. */
export class SpillWriter {
  readonly #path: string | undefined;
  #file: Deno.FsFile | undefined;
  #parts: Uint8Array[] = [];
  #size = 0;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  append(bytes: Uint8Array): void {
    this.#size += bytes.byteLength;
    if (this.#path === undefined) {
      this.#parts.push(bytes.slice());
      return;
    }
    this.#file ??= Deno.openSync(this.#path, { write: true, create: true, truncate: true });
    for (let at = 0; at < bytes.byteLength;) at += this.#file.writeSync(bytes.subarray(at));
  }

  /** Closes the file of a spill that nobody will read. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** Closes the file. Nothing was spilled: null. */
  end(): SpillRef | null {
    if (this.#size === 0) return null;
    if (this.#path !== undefined) {
      this.close();
      return { path: this.#path };
    }
    const bytes = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.byteLength;
    }
    return { bytes };
  }
}

/** Reads a spill at any offset; close it. */
export class SpillReader {
  readonly size: number;
  readonly start: number;
  readonly #bytes: Uint8Array | undefined;
  readonly #file: Deno.FsFile | undefined;

  constructor(ref: SpillRef) {
    this.start = ref.start ?? 0;
    if ("bytes" in ref) {
      this.#bytes = ref.bytes;
      this.size = ref.bytes.byteLength;
    } else {
      this.#file = Deno.openSync(ref.path, { read: true });
      this.size = this.#file.statSync().size;
    }
  }

  /** A copy of `length` bytes from `offset`, in a buffer of its own. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return this.readInto(offset, new Uint8Array(length));
  }

  /** Fills `into` with the bytes from `offset`. */
  readInto(offset: number, into: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (this.#bytes !== undefined) {
      into.set(this.#bytes.subarray(offset, offset + into.length));
      return into;
    }
    this.#file!.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < into.length;) {
      const got = this.#file!.readSync(into.subarray(at));
      if (got === null) throw new Error("A spill file of the expectations ended early");
      at += got;
    }
    return into;
  }

  close(): void {
    this.#file?.close();
  }
}

/**
 * Values in spill files and chunk states, as JSON: text, numbers, booleans
 * and null are themselves; the rest is tagged in an object.
 */
export type StoredValue =
  | null
  | boolean
  | number
  | string
  | { int: string }
  | { float: "inf" | "-inf" }
  | { json: unknown };

const MAX_TEXT = 1_000;

export function storeValue(value: unknown): StoredValue {
  switch (typeof value) {
    case "string":
      return value.length <= MAX_TEXT ? value : String(shown(value));
    case "number":
      return Number.isFinite(value) ? value : { float: value > 0 ? "inf" : "-inf" };
    case "boolean":
      return value;
    case "bigint":
      return { int: String(value) };
    default:
      return value === null || value === undefined ? null : { json: shown(value) };
  }
}

export function restoreValue(stored: StoredValue): unknown {
  if (typeof stored !== "object" || stored === null) return stored;
  if ("int" in stored) return BigInt(stored.int);
  if ("float" in stored) return stored.float === "inf" ? Infinity : -Infinity;
  return stored.json;
}
