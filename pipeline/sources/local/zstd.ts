import { say } from "../../../vocabulary/messages.ts";
import { Decompress } from "fzstd";
import xxhash from "xxhash-wasm";
import { ByteReader, EndedEarly } from "./byte_reader.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
/** What the zstd command takes without --long, too (ZSTD_WINDOWLOG_LIMIT_DEFAULT). */
const MAX_WINDOW = 1 << 27;
const NOTHING = new Uint8Array(0);

/** What is wrong with zstd data, in words. */
export class ZstdError extends Error {
  override readonly name = "ZstdError";
  constructor(message: string, readonly incomplete = false) {
    super(message);
  }
}

/**
 * Decompresses zstd (RFC 8878), several frames in a row too. Length and
 * checksum of each frame are compared with what it says of itself, which
 * neither the library nor the platform's stream does: the one ignores damage,
 * the other an early end.
 *
 * @throws {ZstdError} for damaged or incomplete data, or a window beyond 128 MiB.
 */
export async function* unzstd(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const { create64 } = await xxhash();
  const reader = new ByteReader(source);
  try {
    do {
      const magic = await reader.take(4);
      const number = new DataView(magic.buffer).getUint32(0, true);
      if (((number & 0xfffffff0) >>> 0) === SKIPPABLE) {
        await reader.skip(new DataView((await reader.take(4)).buffer).getUint32(0, true));
        continue;
      }
      if (number !== MAGIC) throw new ZstdError(say("is-damaged", {}));
      yield* frame(reader, magic, create64());
    } while (!await reader.atEnd());
  } catch (error) {
    throw error instanceof EndedEarly ? new ZstdError("ends too early", true) : error;
  } finally {
    await reader.close();
  }
}

interface Hash {
  update(bytes: Uint8Array): unknown;
  digest(): bigint;
}

async function* frame(
  reader: ByteReader,
  magic: Uint8Array,
  hash: Hash,
): AsyncGenerator<Uint8Array> {
  const header = await readHeader(reader);
  let out: Uint8Array[] = [];
  let length = 0;
  const decoder = new Decompress((chunk) => {
    out.push(chunk);
  });
  const push = (bytes: Uint8Array, final = false): Uint8Array[] => {
    out = [];
    try {
      decoder.push(bytes, final);
    } catch {
      throw new ZstdError(say("is-damaged", {}));
    }
    for (const chunk of out) {
      hash.update(chunk);
      length += chunk.length;
    }
    return out;
  };
  push(magic);
  push(header.bytes);
  for (let last = false; !last;) {
    const head = await reader.take(3);
    const word = head[0]! | (head[1]! << 8) | (head[2]! << 16);
    last = (word & 1) === 1;
    push(head);
    // a run of one byte (type 1) has that byte, and its length in the place of a size
    yield* push(await reader.take(((word >> 1) & 3) === 1 ? 1 : word >> 3));
  }
  const checksum = header.hasChecksum ? await reader.take(4) : NOTHING;
  yield* push(checksum, true);
  if (header.size !== undefined && header.size !== BigInt(length)) {
    throw new ZstdError(say("is-damaged", {}));
  }
  if (!header.hasChecksum) return;
  const stated = new DataView(checksum.buffer).getUint32(0, true);
  if (BigInt(stated) !== (hash.digest() & 0xffffffffn)) throw new ZstdError(say("is-damaged", {}));
}

interface FrameHeader {
  bytes: Uint8Array;
  hasChecksum: boolean;
  /** Bytes of the content, where they are told. */
  size: bigint | undefined;
}

async function readHeader(reader: ByteReader): Promise<FrameHeader> {
  const [descriptor] = await reader.take(1) as unknown as [number];
  const single = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const rest = await reader.take((single ? 0 : 1) + dictionaryBytes + sizeBytes);
  if (dictionaryBytes > 0) throw new ZstdError(say("has-dictionary", {}));
  const size = sizeBytes === 0 ? undefined : littleEndian(rest.subarray(-sizeBytes)) +
    (sizeBytes === 2 ? 256n : 0n);
  const base = 2 ** (10 + (rest[0]! >> 3));
  const window = single ? Number(size) : base + (base / 8) * (rest[0]! & 7);
  if (window > MAX_WINDOW) {
    throw new ZstdError(say("needs-window", { bytes: String(window) }));
  }
  return {
    bytes: Uint8Array.of(descriptor, ...rest),
    hasChecksum: (descriptor & 4) !== 0,
    size,
  };
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
