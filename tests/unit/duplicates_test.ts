import assert from "node:assert/strict";
import fc from "fast-check";
import {
  groupHashes,
  possibleDuplicates,
  readRepeated,
  writeRepeated,
} from "../../pipeline/spill/duplicates.ts";
import { keyHash } from "../../pipeline/spill/writer.ts";
import { chunkFile } from "../../pipeline/spill/layout.ts";
import { complement } from "../../pipeline/stages/resolve.ts";

async function writeHashes(dir: string, chunks: string[][]): Promise<void> {
  for (const [chunkNo, keys] of chunks.entries()) {
    const hashes = new Uint32Array(keys.length * 2);
    keys.forEach((key, i) => keyHash(key, hashes, i * 2));
    await Deno.writeFile(chunkFile(dir, chunkNo, "hash"), groupHashes(hashes));
  }
}

async function flagged(dir: string, chunks: string[][], keysAPass?: number): Promise<string[]> {
  const found: string[] = [];
  const described = chunks.map((keys, chunkNo) => ({ chunkNo, events: keys.length }));
  for await (const { chunkNo, positions } of possibleDuplicates(dir, described, { keysAPass })) {
    assert.deepEqual([...positions], [...positions].sort((a, b) => a - b));
    for (const position of positions) found.push(`${chunkNo}/${position}`);
  }
  assert.equal(new Set(found).size, found.length, "nothing is told twice");
  return found.sort();
}

function repeated(chunks: string[][]): string[] {
  const times = new Map<string, number>();
  for (const key of chunks.flat()) times.set(key, (times.get(key) ?? 0) + 1);
  return chunks.flatMap((keys, chunkNo) =>
    keys.flatMap((key, position) => times.get(key)! > 1 ? [`${chunkNo}/${position}`] : [])
  ).sort();
}

Deno.test("possibleDuplicates() finds every event whose key occurs again, in one pass or many", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_duplicates_" });
  try {
    const key = fc.string({ unit: fc.constantFrom("a", "b", "\u{1f600}"), maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(key, { maxLength: 8 }), { maxLength: 5 }),
        fc.constantFrom(1, 2, 7, 1000),
        async (chunks, keysAPass) => {
          await writeHashes(dir, chunks);
          assert.deepEqual(await flagged(dir, chunks, keysAPass), repeated(chunks));
        },
      ),
      { numRuns: 200 },
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("possibleDuplicates() flags nothing among 200,000 different keys that look alike", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_duplicates_" });
  try {
    const shapes: ((i: number) => string)[] = [
      (i) => `${i}`,
      (i) => `evt-0-${String(i).padStart(10, "0")}`,
      (i) => `${"x".repeat(i % 7)}${i.toString(36)}${"\u0000".repeat(i % 3)}`,
    ];
    for (const shape of shapes) {
      const chunks = [0, 1].map((c) =>
        Array.from({ length: 100_000 }, (_, i) => shape(c * 100_000 + i))
      );
      await writeHashes(dir, chunks);
      assert.deepEqual(await flagged(dir, chunks, 60_000), []);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("possibleDuplicates() keeps what it has found when a pass gets more keys than were planned", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_duplicates_" });
  try {
    // all in the first of four passes; the first two events have the same key
    const events = 4_000;
    const hashes = Uint32Array.from(
      { length: events * 2 },
      (_, i) => i % 2 === 0 ? 0 : Math.max(3, i),
    );
    await Deno.writeFile(chunkFile(dir, 0, "hash"), groupHashes(hashes));
    const found = possibleDuplicates(dir, [{ chunkNo: 0, events }], { keysAPass: 1_000 });
    assert.deepEqual((await found.next()).value, {
      chunkNo: 0,
      positions: Int32Array.of(0, 1),
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("possibleDuplicates() reads each key as often however many passes its memory asks for", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_duplicates_" });
  try {
    const reads = async (keys: number, again: number) => {
      const chunks = [0, 1, 2, 3].map((c) =>
        Array.from({ length: keys / 4 }, (_, i) => `${(c * keys / 4 + i) % (keys - again)}`)
      );
      await writeHashes(dir, chunks);
      const described = chunks.map((each, chunkNo) => ({ chunkNo, events: each.length }));
      const found = possibleDuplicates(dir, described, { keysAPass: 1_000 });
      for (;;) {
        const { done, value } = await found.next();
        if (done) return value / keys;
      }
    };
    assert.equal(await reads(4_000, 0), 1);
    assert.equal(await reads(64_000, 0), 1);
    // one group of all has an equal key, so one pass reads its keys again
    assert.ok(await reads(64_000, 1) < 1.1);
    assert.ok(await reads(64_000, 32_000) <= 2);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("writeRepeated() keeps what every pass finds, and nothing of an earlier time", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_duplicates_" });
  try {
    const chunks = [0, 1].map(() => Array.from({ length: 50 }, (_, i) => `k${i}`));
    await writeHashes(dir, chunks);
    const described = chunks.map((each, chunkNo) => ({ chunkNo, events: each.length }));
    const owner = { spillDir: dir, attempt: 1 };
    for (const keysAPass of [7, 7, 1_000]) {
      assert.deepEqual([...await writeRepeated(owner, described, { keysAPass })].sort(), [0, 1]);
      for (const { chunkNo } of described) {
        assert.deepEqual(
          [...readRepeated(owner, chunkNo)],
          Array.from({ length: 50 }, (_, i) => i),
        );
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the winners of a chunk are all positions that are not among its losers", () => {
  const positions = fc.integer({ min: 0, max: 40 }).chain((count) =>
    fc.record({ count: fc.constant(count), losers: fc.subarray([...Array(count).keys()]) })
  );
  fc.assert(fc.property(positions, ({ count, losers }) => {
    assert.deepEqual(
      [...complement(count, Int32Array.from(losers))],
      [...Array(count).keys()].filter((position) => !losers.includes(position)),
    );
  }));
});
