import assert from "node:assert/strict";
import { Batch } from "../../pipeline/expectations/batch.ts";
import { type Condition, parseCondition } from "../../pipeline/expectations/condition.ts";
import {
  numbersAtRanks,
  numbersKind,
  type NumbersState,
} from "../../pipeline/expectations/numbers.ts";

/** The numbers of column n of these batches, as an expectation keeps them on disk. */
function kept(dir: string, batches: Record<string, unknown>[][], condition?: string): NumbersState {
  const when = condition === undefined ? undefined : parseCondition(condition) as Condition;
  const spillPath = `${dir}/${crypto.randomUUID()}`;
  const numbers = numbersKind("n", when).create({ spillPath } as never);
  const batch = new Batch();
  try {
    for (const records of batches) {
      batch.load(records as never);
      numbers.observe(batch);
    }
    return numbers.state() as NumbersState;
  } finally {
    numbers.close?.();
  }
}

const inDir = async (work: (dir: string) => void) => {
  const dir = await Deno.makeTempDir();
  try {
    work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
};

/** Numbers of every size and sign, many of them alike, in no order. */
function many(count: number): number[] {
  let seed = 7;
  const next = () => seed = (seed * 1103515245 + 12345) % 2 ** 31;
  return Array.from({ length: count }, () => {
    const n = next();
    if (n % 97 === 0) return n % 2 === 0 ? Infinity : -Infinity;
    if (n % 5 === 0) return n % 3;
    return (n % 2 === 0 ? 1 : -1) * n * 10 ** (next() % 20 - 10);
  });
}

Deno.test("numbers at ranks are those of the sorted list, whether they fit into memory or are narrowed down on disk", () =>
  inDir((dir) => {
    // more than one buffer, the last one not full
    const numbers = many(40_001);
    const batches = Array.from(
      { length: 41 },
      (_, i) => numbers.slice(i * 1000, (i + 1) * 1000).map((n) => ({ n })),
    );
    const state = kept(dir, batches);
    assert.equal(state.nonnull, numbers.length);
    const sorted = numbers.toSorted((a, b) => a - b);
    const ranks = [0, 1, 2, 10, 5_000, 15_999, 16_000, 20_000, 33_333, 39_999, 40_000, 0];
    const expected = ranks.map((rank) => sorted[rank]);
    assert.deepEqual(numbersAtRanks(state, ranks), expected);
    for (const limit of [1, 50, 5_000]) {
      assert.deepEqual(numbersAtRanks(state, ranks, limit), expected, `${limit} in memory`);
    }
  }));

Deno.test("numbers that are all alike, and the smallest differences, are narrowed down to their last bit", () =>
  inDir((dir) => {
    const next = (n: number) => {
      const bits = new BigUint64Array(new Float64Array([n]).buffer);
      bits[0] = bits[0]! + 1n;
      return new Float64Array(bits.buffer)[0]!;
    };
    for (const first of [1 / 3, -1 / 3, 0, 5e-324]) {
      const steps = [first];
      for (let i = 0; i < 5; i++) steps.push(next(steps.at(-1)!));
      const sorted = steps.flatMap((n) => [n, n, n]).sort((a, b) => a - b);
      const state = kept(dir, [sorted.toReversed().map((n) => ({ n }))]);
      const ranks = sorted.map((_, rank) => rank);
      assert.deepEqual(numbersAtRanks(state, ranks, 1), sorted, String(first));
    }
  }));

Deno.test("only numbers of the rows that a condition selects count, texts apart, and chunks are put together", () =>
  inDir((dir) => {
    const records = [
      ...[{ n: 1, of: "a" }, { n: 2, of: "b" }, { n: null, of: "a" }, { of: "a" }],
      ...[{ n: "x", of: "a" }, { n: "y", of: "b" }, { n: true, of: "a" }, { n: 5, of: "a" }],
    ];
    const all = kept(dir, [records]);
    const some = kept(dir, [records], 'of == "a"');
    assert.deepEqual([all.nonnull, all.mistyped], [4, 2]);
    assert.deepEqual([some.nonnull, some.mistyped], [3, 1]);
    assert.deepEqual(numbersAtRanks(some, [0, 1, 2]), [1, 1, 5], "true is 1, as in Python");
    const none = kept(dir, [[{ n: null }]]);
    assert.deepEqual(none, { nonnull: 0, mistyped: 0, spills: [] });
    const both = numbersKind("n", undefined).merge(all, some) as NumbersState;
    assert.deepEqual([both.nonnull, both.mistyped], [7, 3]);
    assert.deepEqual(numbersAtRanks(both, [0, 1, 2, 3, 4, 5, 6]), [1, 1, 1, 1, 2, 5, 5]);
    assert.deepEqual(numbersAtRanks(both, [6, 4, 0], 2), [5, 2, 1]);
  }));
