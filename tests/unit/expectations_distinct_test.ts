import assert from "node:assert/strict";
import { Batch } from "../../pipeline/expectations/batch.ts";
import { parseCondition } from "../../pipeline/expectations/condition.ts";
import {
  countValues,
  distinctKind,
  type DistinctState,
} from "../../pipeline/expectations/distinct.ts";
import { summarize } from "../../pipeline/expectations/distinct_summary.ts";

const kindOf = (rows: boolean, condition?: string) =>
  distinctKind({
    columns: ["a"],
    condition: condition === undefined ? undefined : parseCondition(condition) as never,
    rows,
  });

/** The state of a chunk of values of column a, in memory. */
function chunk(values: unknown[], rows = false, condition?: string): DistinctState {
  const accumulator = kindOf(rows, condition).create({} as never);
  const batch = new Batch();
  batch.load(values.map((a, i) => ({ a, even: i % 2 === 0 })) as never);
  accumulator.observe(batch);
  return accumulator.state() as DistinctState;
}

const merged = (a: DistinctState, b: DistinctState, rows = false) =>
  kindOf(rows).merge(a, b) as DistinctState;
const all = (state: DistinctState) =>
  summarize(state, { mostCommon: true, compare: true, set: [], duplicates: true });

Deno.test("values that Python calls equal are one, and of those that only look alike each is its own", () => {
  for (const rows of [false, true]) {
    const equal: [unknown, unknown][] = [[1, true], [0, false], [2n ** 70n, 2n ** 70n], [0.5, 0.5]];
    for (const [a, b] of equal) {
      assert.equal(all(merged(chunk([a], rows), chunk([b], rows), rows)).distinct, 1, `${a}`);
      assert.equal(all(chunk([a, b], rows)).distinct, 1, `${a}`);
    }
    const others: [unknown, unknown][] = [
      ...[[1, "1"], [2n ** 70n, String(2n ** 70n)], [Infinity, -Infinity], ["", " "]],
      ...[["a".repeat(1_500) + "b", "a".repeat(1_500) + "c"], ["true", true], ["ab", "abc"]],
    ] as [unknown, unknown][];
    for (const [a, b] of others) {
      const what = `${String(a).slice(0, 9)}, ${String(b).slice(0, 9)}, ${rows}`;
      assert.equal(all(chunk([a, b], rows)).distinct, 2, what);
      assert.equal(all(merged(chunk([a], true), chunk([b], true), true)).distinct, 2, what);
    }
  }
});

Deno.test("infinities and integers of any size come back as they were", () => {
  const values = [Infinity, -Infinity, 2n ** 70n, -(2n ** 70n), 7, "7", true];
  const { mostCommon } = all(chunk(values));
  assert.deepEqual(new Set(mostCommon.values), new Set(values));
});

Deno.test("lists and dicts count as values that Python cannot hash, and equal ones are found whatever the order of their names", () => {
  const a = { x: 1, y: [1, "1", null] };
  const b = { y: [1, "1", null], x: 1 };
  for (const rows of [false, true]) {
    const state = chunk([a, b, [1], "text", null], rows);
    assert.deepEqual([state.elements, state.considered, state.unhashable], [5, 4, 3], `${rows}`);
    const both = merged(state, state, rows);
    assert.deepEqual([both.elements, both.considered, both.unhashable], [10, 8, 6]);
  }
  assert.equal(all(chunk([a, b], true)).distinct, 1);
  assert.equal(all(chunk([a, { x: 1, y: [1, 1, null] }], true)).distinct, 2);
});

Deno.test("how often a value was seen is added up over chunks, of those that a condition selects", () => {
  const first = chunk(["a", "b", "a", "c"]);
  const second = chunk(["c", "a"]);
  const { mostCommon, distinct } = all(merged(first, second));
  assert.deepEqual([distinct, mostCommon.values, mostCommon.count], [3, ["a"], 3]);
  const even = chunk(["a", "b", "a", "c"], false, "even == True");
  assert.deepEqual([even.elements, all(even).distinct], [2, 1]);
  const rows = chunk(["a", "b", "a", "c"], true, "even == True");
  assert.deepEqual([rows.elements, all(rows).duplicatedRows], [2, 2]);
});

Deno.test("positions of duplicates count from where their chunk begins, however often chunks are put behind each other", () => {
  const kind = kindOf(true);
  const state = chunk(["a", "b", "a"], true);
  const shifted = kind.shift!(kind.shift!(state, 10), 5) as DistinctState;
  assert.deepEqual(all(shifted).duplicates.map(({ position }) => position), [15, 17]);
});

Deno.test("the state of a chunk carries few and short values only; longer ones are listed by their beginning", () => {
  const size = (state: DistinctState) => JSON.stringify(state.few).length;
  assert.ok(size(chunk(Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(400, "x")))) > 16_000);
  const long = Array.from({ length: 45 }, (_, i) => `${i}`.padEnd(400, "x"));
  assert.deepEqual([size(chunk(long)), all(chunk(long)).distinct], [2, 45]);
  assert.equal(size(chunk(["x".repeat(1_001)])), 2);
  const many = Array.from({ length: 257 }, (_, i) => i);
  assert.deepEqual([size(chunk(many)), all(chunk(many)).distinct], [2, 257]);
  const [shown] = all(chunk(["x".repeat(5_000)])).mostCommon.values as [string];
  assert.ok(shown.length < 1_100, "not whole");
});

Deno.test("a profile is told when there are too many values to count, and whether they repeat", () => {
  const counted = (values: unknown[]) => {
    const counts = countValues("a", {} as never);
    const batch = new Batch();
    for (let i = 0; i < values.length; i += 1_000) {
      batch.load(values.slice(i, i + 1_000).map((a) => ({ a })) as never);
      counts.observe(batch);
    }
    return { counts, told: [counts.different, counts.manyRepeat] };
  };
  assert.deepEqual(counted(["a", "b", "a"]).told, [2, false]);
  const each = Array.from({ length: 10_000 }, (_, i) => `v${i}`);
  const unique = counted(each);
  assert.deepEqual(unique.told, [Infinity, false]);
  assert.equal(all(unique.counts.state()).distinct, 10_000);
  const twice = counted(each.flatMap((value) => [value, value]));
  assert.deepEqual(twice.told, [Infinity, true]);
  const { distinct, mostCommon } = all(twice.counts.state());
  assert.deepEqual([distinct, mostCommon.count], [10_000, 2]);
});
