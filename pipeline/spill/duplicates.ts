import {
  chunkFile,
  HASH_GROUPS,
  hashFileBytes,
  type PositionsOwner,
  readPositions,
  writePositions,
} from "./layout.ts";

/** Keys that one pass over the hashes holds in memory (about 19 MB). */
const KEYS_A_PASS = 1_000_000;
const GROUP_SHIFT = 32 - Math.log2(HASH_GROUPS);
const HEAD_BYTES = hashFileBytes(0);
const ENTRY_WORDS = (hashFileBytes(1) - HEAD_BYTES) / 4;

/**
 * The .hash file of a chunk: for each of its events two words of hash and its position, in groups that a pass can read
 * without the others. `hashes` has two words an event, in the order of positions.
 */
export function groupHashes(hashes: Uint32Array): Uint8Array<ArrayBuffer> {
  const events = hashes.length / 2;
  const bytes = new Uint8Array(hashFileBytes(events));
  const starts = new Uint32Array(bytes.buffer, 0, HASH_GROUPS + 1);
  for (let i = 0; i < hashes.length; i += 2) starts[(hashes[i]! >>> GROUP_SHIFT) + 1]!++;
  for (let group = 1; group <= HASH_GROUPS; group++) starts[group]! += starts[group - 1]!;
  const entries = new Uint32Array(bytes.buffer, HEAD_BYTES);
  const next = starts.slice(0, HASH_GROUPS);
  for (let position = 0; position < events; position++) {
    const at = next[hashes[position * 2]! >>> GROUP_SHIFT]!++ * ENTRY_WORDS;
    entries[at] = hashes[position * 2]!;
    entries[at + 1] = hashes[position * 2 + 1]!;
    entries[at + 2] = position;
  }
  return bytes;
}

/**
 * Finds the events whose key may occur more than once in a run: every event of
 * equal keys is among them, and now and then one more. Reads only the .hash
 * files, each entry once, and once more where its group has an equal one; takes
 * as many passes as memory asks for (`keysAPass`, by default one million), each
 * over groups of its own. Yields sorted positions of a chunk, in each pass that
 * finds some; answers how many entries were read.
 */
export async function* possibleDuplicates(
  dir: string,
  chunks: { chunkNo: number; events: number }[],
  options: { keysAPass?: number | undefined } = {},
): AsyncGenerator<{ chunkNo: number; positions: Int32Array }, number> {
  const total = chunks.reduce((sum, chunk) => sum + chunk.events, 0);
  const wanted = Math.ceil(total / (options.keysAPass ?? KEYS_A_PASS));
  const passes = Math.max(1, Math.min(HASH_GROUPS, wanted));
  const table = new HashTable(Math.ceil(total / passes));
  let read = 0;
  for (let pass = 0; pass < passes; pass++) {
    const groups = [pass, pass + 1].map((n) => Math.floor(n * HASH_GROUPS / passes));
    table.clear();
    for (const { chunkNo } of chunks) {
      const entries = await readEntries(dir, chunkNo, groups);
      read += entries.length / ENTRY_WORDS;
      for (let i = 0; i < entries.length; i += ENTRY_WORDS) table.add(entries[i]!, entries[i + 1]!);
    }
    if (table.repeated === 0) continue;
    for (const { chunkNo } of chunks) {
      const entries = await readEntries(dir, chunkNo, groups);
      read += entries.length / ENTRY_WORDS;
      const positions: number[] = [];
      for (let i = 0; i < entries.length; i += ENTRY_WORDS) {
        if (table.isRepeated(entries[i]!, entries[i + 1]!)) positions.push(entries[i + 2]!);
      }
      if (positions.length > 0) yield { chunkNo, positions: Int32Array.from(positions).sort() };
    }
  }
  return read;
}

/** Writes the positions of events whose key may occur again in the run; answers the chunks that have some. */
export async function writeRepeated(
  owner: PositionsOwner,
  chunks: { chunkNo: number; events: number }[],
  options: { keysAPass?: number | undefined } = {},
): Promise<Set<number>> {
  const found = new Set<number>();
  for await (
    const { chunkNo, positions } of possibleDuplicates(owner.spillDir, chunks, options)
  ) {
    writePositions(owner, chunkNo, "repeated", positions, { append: found.has(chunkNo) });
    found.add(chunkNo);
  }
  return found;
}

/** What `writeRepeated` has written of a chunk, sorted: each pass has added positions of its own. */
export function readRepeated(owner: PositionsOwner, chunkNo: number): Int32Array {
  return readPositions(owner, chunkNo, "repeated").sort();
}

/** The entries of some groups of a chunk: from the first number on, before the second. */
async function readEntries(
  dir: string,
  chunkNo: number,
  [from, to]: number[],
): Promise<Uint32Array> {
  using file = await Deno.open(chunkFile(dir, chunkNo, "hash"));
  const starts = readWords(file, 0, HASH_GROUPS + 1);
  return readWords(
    file,
    hashFileBytes(starts[from!]!),
    (starts[to!]! - starts[from!]!) * ENTRY_WORDS,
  );
}

/** Words of a file at a place that has so many; small reads, for which a turn of the event loop would cost more. */
function readWords(file: Deno.FsFile, at: number, count: number): Uint32Array {
  const bytes = new Uint8Array(count * 4);
  file.seekSync(at, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    const read = file.readSync(bytes.subarray(done));
    if (read === null) throw new Error("A .hash file is shorter than its beginning says");
    done += read;
  }
  return new Uint32Array(bytes.buffer);
}

/** A set of 64-bit hashes with open addressing that knows which were added more than once. */
class HashTable {
  #high!: Uint32Array;
  #low!: Uint32Array;
  /** 0 free, 1 once, 2 more than once. */
  #times!: Uint8Array;
  #mask!: number;
  #used = 0;
  repeated = 0;

  constructor(keys: number) {
    this.#allocate(2 ** Math.ceil(Math.log2(Math.max(1024, keys) * 1.6)));
  }

  #allocate(slots: number): void {
    this.#high = new Uint32Array(slots);
    this.#low = new Uint32Array(slots);
    this.#times = new Uint8Array(slots);
    this.#mask = slots - 1;
  }

  clear(): void {
    this.#times.fill(0);
    this.#used = 0;
    this.repeated = 0;
  }

  add(high: number, low: number): void {
    const slot = this.#slot(high, low);
    if (this.#times[slot] === 0) {
      this.#put(slot, high, low, 1);
      if (++this.#used > this.#mask * 0.75) this.#grow();
    } else if (this.#times[slot] === 1) {
      this.#times[slot] = 2;
      this.repeated++;
    }
  }

  isRepeated(high: number, low: number): boolean {
    return this.#times[this.#slot(high, low)] === 2;
  }

  #put(slot: number, high: number, low: number, times: number): void {
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#times[slot] = times;
  }

  #slot(high: number, low: number): number {
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (
      this.#times[slot] !== 0 && !(this.#high[slot] === high && this.#low[slot] === low)
    ) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  /** Passes are of unequal size; more than was planned for costs memory, never the answer. */
  #grow(): void {
    const [high, low, times] = [this.#high, this.#low, this.#times];
    this.#allocate(times.length * 2);
    for (let i = 0; i < times.length; i++) {
      if (times[i] !== 0) this.#put(this.#slot(high[i]!, low[i]!), high[i]!, low[i]!, times[i]!);
    }
  }
}
