import assert from "node:assert/strict";
import { Batch } from "../../pipeline/expectations/batch.ts";
import { distinctKind, type DistinctState } from "../../pipeline/expectations/distinct.ts";
import { summarize } from "../../pipeline/expectations/distinct_summary.ts";
import {
  numbersAtRanks,
  numbersKind,
  type NumbersState,
} from "../../pipeline/expectations/numbers.ts";
import type { AccumulatorKind, State } from "../../pipeline/expectations/accumulators.ts";

/** Chunks of values of the column `a`, spilled to files and merged. */
function spill(kind: AccumulatorKind, chunks: unknown[][], dir: string): State {
  const batch = new Batch();
  return chunks.map((values, chunk) => {
    const accumulator = kind.create({ spillPath: `${dir}/${chunk}` });
    for (let i = 0; i < values.length; i += 1_000) {
      const records = values.slice(i, i + 1_000).map((a) => ({ a } as never));
      batch.load(records, { startPosition: i });
      accumulator.observe(batch);
    }
    return accumulator.state();
  }).reduce((a, b) => kind.merge(a, b));
}

async function withDir(run: (dir: string) => void): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const chunked = <T>(values: T[], size: number): T[][] =>
  Array.from(
    { length: Math.ceil(values.length / size) },
    (_, i) => values.slice(i * size, (i + 1) * size),
  );

Deno.test("duplicates across chunks are found, and the first of them listed in row order", () =>
  withDir((dir) => {
    const values = Array.from({ length: 60_000 }, (_, i) => `value-${i}`);
    values[59_999] = "value-5";
    values[31_000] = "value-2";
    const kind = distinctKind({ columns: ["a"], condition: undefined, rows: true });
    const state = spill(kind, chunked(values, 17_000), dir) as DistinctState;
    for (const perPass of [undefined, 5_000, 700]) {
      const summary = summarize(state, {
        duplicates: true,
        ...(perPass === undefined ? {} : { perPass }),
      });
      assert.equal(summary.distinct, 59_998);
      assert.equal(summary.duplicatedRows, 4);
      assert.deepEqual(
        summary.duplicates.map(({ value }) => value),
        ["value-2", "value-5", "value-2", "value-5"],
      );
    }
  }));

Deno.test("counts of values that were spilled and of values that were not add up", () =>
  withDir((dir) => {
    const many = Array.from({ length: 30_000 }, (_, i) => Math.floor(i / 3));
    const few = Array.from({ length: 100 }, (_, i) => i % 10);
    const kind = distinctKind({ columns: ["a"], condition: undefined, rows: false });
    const state = spill(kind, [few, many, few], dir) as DistinctState;
    for (const perPass of [undefined, 1_000]) {
      const summary = summarize(state, {
        mostCommon: true,
        compare: true,
        set: [...Array(9_990).keys(), 77_777],
        ...(perPass === undefined ? {} : { perPass }),
      });
      assert.equal(summary.distinct, 10_000);
      assert.deepEqual(summary.mostCommon.values, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.equal(summary.mostCommon.count, 23);
      assert.equal(summary.unexpected.count, 10);
      assert.deepEqual(summary.unexpected.values, [
        9_990,
        9_991,
        9_992,
        9_993,
        9_994,
        9_995,
        9_996,
        9_997,
        9_998,
        9_999,
      ]);
      assert.deepEqual(summary.missing, [77_777]);
    }
  }));

Deno.test("numbers at ranks are found without sorting all of them in memory", () =>
  withDir((dir) => {
    let seed = 1;
    const values = Array.from({ length: 40_000 }, (_, i) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return [seed, -seed / 3, seed * 1e-300, i % 5, -0.5, 1e300 * (seed % 3)][i % 6]!;
    });
    const state = spill(numbersKind("a", undefined), chunked(values, 9_000), dir) as NumbersState;
    const sorted = Float64Array.from(values).sort();
    const ranks = [0, 1, 13_333, 20_000, 26_000, 39_998, 39_999];
    const expected = ranks.map((rank) => sorted[rank]);
    assert.deepEqual(numbersAtRanks(state, ranks), expected);
    assert.deepEqual(numbersAtRanks(state, ranks, 100), expected);
    assert.deepEqual(numbersAtRanks(state, ranks, 1), expected);
  }));

Deno.test("the state of a chunk stays small, however many values it has", () =>
  withDir((dir) => {
    const values = Array.from({ length: 50_000 }, (_, i) => `value-${i}`);
    for (const rows of [true, false]) {
      const kind = distinctKind({ columns: ["a"], condition: undefined, rows });
      assert.ok(JSON.stringify(spill(kind, [values], dir)).length < 500);
    }
  }));

Deno.test("a chunk that is read again overwrites what it spilled", () =>
  withDir((dir) => {
    const kind = distinctKind({ columns: ["a"], condition: undefined, rows: true });
    spill(kind, [["a", "b", "c", "d", "e"]], dir);
    const state = spill(kind, [["a", "b"]], dir) as DistinctState;
    assert.equal(summarize(state, { duplicates: true }).distinct, 2);
  }));

Deno.test("of many duplicates the first 20 rows are listed", () =>
  withDir((dir) => {
    const values = Array.from({ length: 6_000 }, (_, i) => `value-${i % 3_000}`);
    const kind = distinctKind({ columns: ["a"], condition: undefined, rows: true });
    const state = spill(kind, chunked(values, 1_500), dir) as DistinctState;
    const summary = summarize(state, { duplicates: true, perPass: 2_000 });
    assert.equal(summary.duplicatedRows, 6_000);
    assert.deepEqual(
      summary.duplicates,
      Array.from({ length: 20 }, (_, i) => ({ value: `value-${i}`, position: i })),
    );
  }));
