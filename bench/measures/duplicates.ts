import { chunkFile } from "../../pipeline/spill/layout.ts";
import { groupHashes, possibleDuplicates } from "../../pipeline/spill/duplicates.ts";
import type { Measure, Row } from "../bench.ts";
import { median, rounded } from "../statistics.ts";

const CHUNK_KEYS = 50_000;
const ROUNDS = 3;
/** Of 30 million keys one costs at most 1.2 times what one of a million costs; 10 million are a third of the way. */
const MAX_RATIO = 1.2;

export const duplicates: Measure = {
  name: "duplicates",
  about:
    "the filter of keys that occur twice in a run: a key of 10,000,000 against one of 1,000,000",
  run: measureDuplicates,
};

async function measureDuplicates(): Promise<Row[]> {
  const dir = await Deno.makeTempDir({ prefix: "etl_bench_duplicates_" });
  try {
    const [few, many] = [1_000_000, 10_000_000];
    const chunks = Array.from(
      { length: many / CHUNK_KEYS },
      (_, chunkNo) => ({ chunkNo, events: CHUNK_KEYS }),
    );
    for (const { chunkNo } of chunks) {
      const hashes = new Uint32Array(CHUNK_KEYS * 2);
      for (let at = 0; at < hashes.length; at += 16_384) {
        crypto.getRandomValues(hashes.subarray(at, at + 16_384));
      }
      await Deno.writeFile(chunkFile(dir, chunkNo, "hash"), groupHashes(hashes));
    }
    const microseconds = async (keys: number) => {
      const before = performance.now();
      const found = possibleDuplicates(dir, chunks.slice(0, keys / CHUNK_KEYS));
      for await (const _of of found);
      return (performance.now() - before) * 1_000 / keys;
    };
    const times: Record<"few" | "many", number[]> = { few: [], many: [] };
    for (let round = -1; round < ROUNDS; round++) {
      const [a, b] = [await microseconds(few), await microseconds(many)];
      if (round < 0) continue; // the first compiles
      times.few.push(a);
      times.many.push(b);
    }
    const [baseline, ours] = [median(times.few), median(times.many)];
    return [{
      measure: "duplicates, a key of 10,000,000 against one of 1,000,000",
      baseline: rounded(baseline),
      ours: rounded(ours),
      unit: "µs",
      ratio: rounded(ours / baseline),
      target: `at most ${MAX_RATIO} times`,
      ok: ours / baseline <= MAX_RATIO,
    }];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
