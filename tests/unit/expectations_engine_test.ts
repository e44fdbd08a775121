import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compileSuite,
  type EventColumns,
  type NewStateOptions,
  readSuite,
  type SerializedState,
  type ValidationResult,
} from "../../pipeline/expectations/expectations.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";

type Given = [type: string, kwargs: Record<string, unknown>];

function compile(...given: Given[]) {
  return compileSuite(readSuite({
    name: "s",
    expectations: given.map(([type, kwargs]) => ({ type, kwargs })),
  }));
}

function validate(
  given: Given[],
  chunks: SourceRecord[][],
  options: Omit<NewStateOptions, "chunkNo"> = {},
): ValidationResult {
  const suite = compile(...given);
  const states: SerializedState[] = chunks.map((records, chunkNo) => {
    const state = suite.newState({ chunkNo, ...options });
    for (let i = 0; i < records.length; i += 7) {
      const batch = records.slice(i, i + 7);
      suite.observe(state, batch);
    }
    return suite.serializeState(state);
  });
  return suite.finish(suite.mergeStates(states.reverse()));
}

const ALL: Given[] = [
  ["expect_column_values_to_not_be_null", { column: "a" }],
  ["expect_column_values_to_be_between", { column: "a", min_value: 0, max_value: 5 }],
  ["expect_column_values_to_be_unique", { column: "a" }],
  ["expect_column_values_to_be_unique", { column: "t" }],
  ["expect_column_values_to_be_of_type", { column: "a", type_: "int64" }],
  ["expect_column_values_to_be_increasing", { column: "a" }],
  ["expect_column_mean_to_be_between", { column: "a", min_value: 0 }],
  ["expect_column_stdev_to_be_between", { column: "a", min_value: 0 }],
  ["expect_column_sum_to_be_between", { column: "a", min_value: 0 }],
  ["expect_column_median_to_be_between", { column: "a", min_value: 0 }],
  ["expect_column_max_to_be_between", { column: "t" }],
  ["expect_column_quantile_values_to_be_between", {
    column: "a",
    quantile_ranges: { quantiles: [0.1, 0.5, 0.9], value_ranges: [[0, 1], [0, 9], [null, null]] },
  }],
  ["expect_column_unique_value_count_to_be_between", { column: "t", min_value: 1 }],
  ["expect_column_distinct_values_to_equal_set", { column: "t", value_set: ["x", "y"] }],
  ["expect_column_most_common_value_to_be_in_set", { column: "t", value_set: ["x"] }],
  ["expect_compound_columns_to_be_unique", { column_list: ["a", "t"] }],
  ["expect_column_pair_values_to_be_equal", { column_A: "a", column_B: "b" }],
  ["expect_column_values_to_be_in_set", {
    column: "t",
    value_set: ["x"],
    row_condition: "a > 2",
    condition_parser: "pandas",
  }],
  ["expect_table_columns_to_match_set", { column_set: ["a", "b", "t"] }],
  ["expect_table_row_count_to_equal", { value: 3 }],
];

const record: fc.Arbitrary<SourceRecord> = fc.record({
  a: fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constant(null)),
  b: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(null)),
  t: fc.oneof(fc.constantFrom("x", "y", "z", "\u{1F600}"), fc.string(), fc.constant(null)),
}, { requiredKeys: ["a"] });

Deno.test("finish() gives the same however records are split into chunks, in memory or spilled", async () => {
  const spillDir = await Deno.makeTempDir();
  try {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 60 }),
        fc.array(fc.nat(60), { maxLength: 6 }),
        (records, cuts) => {
          const at = [0, ...cuts.sort((a, b) => a - b), records.length];
          const chunks = at.slice(1).map((end, i) => records.slice(at[i], end));
          const whole = round(validate(ALL, [records]));
          assert.deepEqual(round(validate(ALL, chunks)), whole);
          assert.deepEqual(round(validate(ALL, chunks, { spillDir })), whole);
        },
      ),
      { numRuns: 200 },
    );
  } finally {
    await Deno.remove(spillDir, { recursive: true });
  }
});

/** Sums are rounded in the order of the chunks: 12 digits count. */
function round(result: ValidationResult): unknown {
  return JSON.parse(
    JSON.stringify(result),
    (_key, value) => typeof value === "number" ? Number(value.toPrecision(12)) : value,
  );
}

Deno.test("finish() gives the shape of Great Expectations 1.x", () => {
  const result = validate(
    [["expect_column_values_to_be_between", { column: "a", min_value: 2, mostly: 0.5 }]],
    [[{ a: 1 }, { a: null }], [{ a: 3 }]],
  );
  assert.deepEqual(result, {
    success: true,
    results: [{
      success: true,
      expectation_config: {
        type: "expect_column_values_to_be_between",
        kwargs: { column: "a", min_value: 2, mostly: 0.5 },
        meta: {},
        severity: "critical",
      },
      result: {
        element_count: 3,
        unexpected_count: 1,
        unexpected_percent: 50,
        partial_unexpected_list: [1],
        missing_count: 1,
        missing_percent: (1 / 3) * 100,
        unexpected_percent_total: (1 / 3) * 100,
        unexpected_percent_nonmissing: 50,
        partial_unexpected_counts: [{ value: 1, count: 1 }],
        partial_unexpected_index_list: [0],
      },
      meta: {},
      exception_info: {
        raised_exception: false,
        exception_message: null,
        exception_traceback: null,
      },
    }],
    suite_name: "s",
    suite_parameters: {},
    statistics: {
      evaluated_expectations: 1,
      successful_expectations: 1,
      unsuccessful_expectations: 0,
      success_percent: 100,
    },
    meta: {},
  });
});

Deno.test("a column that no record has fails its expectations, saying so", () => {
  const [result] = validate(
    [["expect_column_values_to_be_between", { column: "prcie", min_value: 0 }]],
    [[{ price: 1 }]],
  ).results;
  assert.equal(result!.success, false);
  assert.match(result!.exception_info.exception_message!, /"prcie" does not exist/);
});

Deno.test("a column's mean, median, deviation, sum and quantiles are those that pandas gives", () => {
  const expected: Record<string, number> = {
    expect_column_mean_to_be_between: 4,
    expect_column_median_to_be_between: 3,
    expect_column_sum_to_be_between: 16,
    // of a sample: sqrt((9 + 4 + 0 + 25) / 3)
    expect_column_stdev_to_be_between: 3.559026084010437,
    expect_column_max_to_be_between: 9,
    expect_column_min_to_be_between: 1,
    expect_column_unique_value_count_to_be_between: 4,
    expect_column_proportion_of_unique_values_to_be_between: 1,
    expect_column_proportion_of_non_null_values_to_be_between: 0.8,
  };
  const { results } = validate(
    Object.keys(expected).map((type) => [type, { column: "a", min_value: 0 }]),
    [[{ a: 9 }, { a: 2 }, { a: null }], [{ a: 4 }, { a: 1 }]],
  );
  for (const { expectation_config: { type }, result } of results) {
    assert.equal(
      Number(result.observed_value).toPrecision(12),
      expected[type]!.toPrecision(12),
      type,
    );
  }
});

Deno.test("nothing is wrong with no records", () => {
  const given: Given[] = [["expect_column_values_to_not_be_null", { column: "a" }]];
  assert.equal(validate(given, []).success, true);
  assert.equal(validate(given, [[], []]).success, true);
});

Deno.test("unexpected values are listed 20 at most, the first ones, each of bounded size", () => {
  const records = Array.from({ length: 100 }, (_, i) => ({ a: `${i} ` + "x".repeat(5_000) }));
  const { result } = validate(
    [["expect_column_values_to_be_in_set", { column: "a", value_set: ["q"] }]],
    [records.slice(0, 15), records.slice(15)],
  ).results[0]!;
  const list = result.partial_unexpected_list as string[];
  assert.equal(list.length, 20);
  assert.deepEqual(list.map((text) => Number(text.split(" ")[0])), [...Array(20).keys()]);
  assert.deepEqual(result.partial_unexpected_index_list, [...Array(20).keys()]);
  assert.ok(list.every((text) => text.length <= 1_001));
  assert.equal(result.unexpected_count, 100);
});

Deno.test("of values that are as common as any other 100 are listed at most", () => {
  const { result } = validate(
    [["expect_column_most_common_value_to_be_in_set", { column: "a", value_set: [0] }]],
    [Array.from({ length: 101 }, (_, i) => ({ a: i }))],
  ).results[0]!;
  assert.equal((result.observed_value as unknown[]).length, 100);
});

Deno.test("event columns are those of the events, whatever the payload has", () => {
  const suite = compile(
    ["expect_column_values_to_be_unique", { column: "event_id" }],
    ["expect_column_values_to_not_be_null", { column: "occurred_at" }],
    ["expect_column_to_exist", { column: "event_type" }],
    ["expect_column_to_exist", { column: "source" }],
  );
  const events: EventColumns[] = [
    { eventId: "1", eventType: "t", occurredAt: null },
    { eventId: "2", eventType: "t", occurredAt: "2025-01-01T00:00:00.000Z" },
  ];
  const state = suite.newState({ chunkNo: 0 });
  suite.observe(state, [{ event_id: "same" }, { event_id: "same" }], { events });
  const { results } = suite.finish(suite.serializeState(state));
  assert.deepEqual(results.map(({ success }) => success), [true, false, true, false]);
});

Deno.test("nested fields, array positions and names with dots are columns", () => {
  const records = [{ a: { b: [{ c: 1 }] }, "x.y": 2 }, { a: null, "x.y": 3 }];
  const { results } = validate([
    ["expect_column_values_to_be_in_set", { column: "a.b.0.c", value_set: [1] }],
    ["expect_column_values_to_not_be_null", { column: "a.b.0.c" }],
    ["expect_column_values_to_be_in_set", { column: "x.y", value_set: [2, 3] }],
    ["expect_column_values_to_be_in_set", { column: "x\\.y", value_set: [2] }],
    ["expect_column_to_exist", { column: "a.b.0" }],
    ["expect_column_to_exist", { column: "a.q" }],
    ["expect_column_to_exist", { column: "toString" }],
  ], [records]);
  assert.deepEqual(
    results.map(({ success }) => success),
    [true, false, true, false, true, false, false],
  );
});

Deno.test("failingRows() finds the rows that fail an expectation about rows, and says why", () => {
  const suite = compile(
    ["expect_column_values_to_be_between", { column: "a", min_value: 0, mostly: 0.1 }],
    ["expect_column_values_to_be_unique", { column: "a" }],
    ["expect_column_values_to_be_of_type", { column: "f", type_: "float64" }],
    ["expect_column_pair_values_to_be_equal", {
      column_A: "a",
      column_B: "b",
      row_condition: "b > 5",
      condition_parser: "pandas",
    }],
  );
  const failing = suite.failingRows([
    { a: 1, b: 1, f: 1.5 },
    { a: -1, b: 1, f: 2 },
    { a: "text", b: 1, f: null },
    { a: 1, b: 7, f: 2 },
    { a: 1, b: 2, f: "2" },
    { a: null, b: null },
    { a: 1, b: 3 },
  ]);
  assert.deepEqual([...failing.keys()].sort(), [1, 2, 3, 4]);
  assert.equal(failing.get(1)!.rule, "expect_column_values_to_be_between");
  assert.match(failing.get(1)!.message, /min_value 0.*: -1$/);
  assert.match(failing.get(3)!.message, /: \[1,7\]$/);
});

Deno.test("a column has the type that pandas gives it, whichever integers it has beyond 2^53", () => {
  const typeOf = (...values: SourceRecord["a"][]) =>
    alike(
      [["expect_column_values_to_be_of_type", { column: "a", type_: "object" }]],
      values.map((a) => ({ a })),
      1,
    )[0]!.result.observed_value;
  const [low, high, large, largest] = [-(2n ** 63n), 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
  assert.deepEqual([low, high, large, largest].map((value) => typeOf(value)), [
    "int64",
    "int64",
    "uint64",
    "uint64",
  ]);
  assert.deepEqual([low - 1n, largest + 1n].map((value) => typeOf(value)), ["object_", "object_"]);
  assert.deepEqual([typeOf(low - 1n, 1.5), typeOf(largest + 1n, 1.5), typeOf(large, 1.5)], [
    "object_",
    "object_",
    "float64",
  ]);
  // what is negative has no place beside what is too large for a sign
  assert.deepEqual([typeOf(large, 1), typeOf(large, -1), typeOf(large, -(2n ** 60n))], [
    "uint64",
    "object_",
    "object_",
  ]);
  assert.deepEqual([typeOf(1, null), typeOf(large, null), typeOf(true, null), typeOf(1, 1.5)], [
    "float64",
    "float64",
    "object_",
    "float64",
  ]);
  assert.deepEqual([typeOf("a", null), typeOf("a", 1), typeOf([1]), typeOf({ b: 1 })], [
    "str",
    "object_",
    "object_",
    "object_",
  ]);
});

Deno.test("a row of a list of columns is left out where values are missing, as ignore_row_if says", () => {
  const sum = (ignore_row_if: string, ...rows: (number | null)[][]) => {
    const records = rows.map(([a, b]) => ({ a: a!, b: b! }));
    const { result } = validate([["expect_multicolumn_sum_to_equal", {
      column_list: ["a", "b"],
      sum_total: 3,
      ignore_row_if,
    }]], [records]).results[0]!;
    return result.unexpected_count;
  };
  const rows = [[1, 2], [null, null], [null, 1]];
  assert.equal(sum("all_values_are_missing", ...rows), 1);
  assert.equal(sum("any_value_is_missing", ...rows), 0);
  assert.equal(sum("never", ...rows), 2);
});

Deno.test("integers beyond 2^53 are compared with every digit", () => {
  const big = 2n ** 60n;
  const { results } = validate([
    ["expect_column_values_to_be_unique", { column: "a" }],
    ["expect_column_max_to_be_between", { column: "a" }],
  ], [[{ a: big }, { a: big + 1n }, { a: big }]]);
  assert.equal(results[0]!.result.unexpected_count, 2);
  assert.deepEqual(results[0]!.result.partial_unexpected_list, [String(big), String(big)]);
  assert.equal(results[1]!.result.observed_value, String(big + 1n));
});

Deno.test("lengths are counted in code points", () => {
  const text = "\u{1F600}\u{1F600}";
  const { results } = validate([
    ["expect_column_value_lengths_to_be_between", { column: "a", min_value: 3 }],
    ["expect_column_value_lengths_to_be_between", { column: "a", max_value: 2 }],
    ["expect_column_value_lengths_to_equal", { column: "a", value: 2 }],
  ], [[{ a: text }]]);
  assert.deepEqual(results.map(({ success }) => success), [false, true, true]);
});

Deno.test("what every object inherits is no column", () => {
  const { results } = validate([
    ["expect_column_values_to_not_be_null", { column: "toString" }],
    ["expect_column_values_to_not_be_null", { column: "a.constructor" }],
    ["expect_column_values_to_be_in_set", { column: "constructor", value_set: [1] }],
  ], [[{ a: { b: 1 }, constructor: 1 }, { a: {}, constructor: 1 }]]);
  assert.deepEqual(results.map(({ success }) => success), [false, false, true]);
  assert.equal(results[0]!.exception_info.raised_exception, true);
  assert.equal(results[1]!.exception_info.raised_exception, true);
});

Deno.test("the state of the chunks together stays small", () => {
  const suite = compile(["expect_column_values_to_be_in_set", { column: "a", value_set: [] }]);
  const states = Array.from({ length: 50 }, (_, chunkNo) => {
    const state = suite.newState({ chunkNo });
    const records = Array.from({ length: 100 }, (_, i) => ({ a: i }));
    suite.observe(state, records);
    return suite.serializeState(state);
  });
  assert.ok(JSON.stringify(suite.mergeStates(states)).length < 500);
});

/** The results at some sizes of chunks, which must be the same. */
function alike(given: Given[], records: SourceRecord[], ...sizes: number[]) {
  const [first, ...others] = [records.length, ...sizes].map((size) => {
    const chunks: SourceRecord[][] = [];
    for (let i = 0; i < records.length; i += size) chunks.push(records.slice(i, i + size));
    return validate(given, chunks).results;
  });
  for (const other of others) assert.deepEqual(other, first);
  return first!;
}

Deno.test("samples of duplicates are found under several row conditions, in any order", () => {
  const records = Array.from(
    { length: 12 },
    (_, i) => ({ g: i % 2, v: Math.floor(i / 2) % 3, w: i }),
  );
  const [, duplicates] = alike(
    [
      ["expect_column_values_to_not_be_null", { column: "w", row_condition: "g == 0" }],
      ["expect_column_values_to_be_unique", { column: "v", row_condition: "g == 1" }],
    ],
    records,
    5,
    1,
  );
  assert.deepEqual(duplicates!.result.partial_unexpected_list, [0, 1, 2, 0, 1, 2]);
  assert.deepEqual(duplicates!.result.partial_unexpected_index_list, [1, 3, 5, 7, 9, 11]);
});

Deno.test("each row condition has figures of its own", () => {
  const records = [1, 2, 3, 4].map((v) => ({
    g: v % 2,
    v: v === 3 ? 0 : v,
    w: v === 4 ? null : v,
  }));
  const given = (type: string, kwargs: object) =>
    [undefined, "g == 1", "g == 0"].map((row_condition): Given => [
      type,
      { ...kwargs, ...(row_condition === undefined ? {} : { row_condition }) },
    ]);
  const observed = (type: string, kwargs: object = { column: "v" }) =>
    alike(given(type, kwargs), records, 4, 1)
      .map(({ result }) => result.observed_value ?? result.unexpected_count);
  assert.deepEqual(observed("expect_column_max_to_be_between"), [4, 1, 4]);
  assert.deepEqual(observed("expect_column_min_to_be_between"), [0, 0, 2]);
  assert.deepEqual(observed("expect_column_mean_to_be_between"), [1.75, 0.5, 3]);
  assert.deepEqual(observed("expect_column_median_to_be_between"), [1.5, 0.5, 3]);
  assert.deepEqual(observed("expect_column_values_to_be_increasing"), [1, 1, 0]);
  assert.deepEqual(observed("expect_table_row_count_to_be_between", {}), [4, 2, 2]);
  const filled = "expect_column_proportion_of_non_null_values_to_be_between";
  assert.deepEqual(observed(filled, { column: "w" }), [0.75, 1, 0.5]);
});

Deno.test("expectations that ask for different things of the same columns do not share their figures", () => {
  const ordered = (what: string, strictly: boolean): Given => [
    `expect_column_values_to_be_${what}`,
    { column: "a", strictly },
  ];
  const unique = (ignore_row_if: string): Given => [
    "expect_compound_columns_to_be_unique",
    { column_list: ["b", "c"], ignore_row_if },
  ];
  const results = alike(
    [
      ordered("increasing", false),
      ordered("increasing", true),
      ordered("decreasing", false),
      ordered("decreasing", true),
      unique("never"),
      unique("any_value_is_missing"),
    ],
    [1, 1, 2, 3].map((a) => ({ a, b: 1, c: null })),
    1,
    2,
  );
  assert.deepEqual(results.map(({ result }) => result.unexpected_count), [0, 1, 2, 3, 4, 0]);
});

Deno.test("sum, mean and deviation are exact to the last digit, whatever the chunks", () => {
  const given: Given[] = ["sum", "mean", "stdev"].map((
    what,
  ) => [`expect_column_${what}_to_be_between`, { column: "a", min_value: 0 }]);
  const observed = (values: unknown[]) =>
    alike(given, values.map((a) => ({ a }) as SourceRecord), 5, 3, 1)
      .map(({ result }) => result.observed_value);
  const minute = Array.from({ length: 12_000 }, (_, i) => 1_700_000_000_000 + (i * 7919) % 60_000);
  assert.deepEqual(observed(minute), ["20400000359886000", 1700000029990.5, 17320.977203118167]);
  const beyond = [0n, 1n, 2n, 3n, 4n].map((i) => 2n ** 53n + i);
  assert.deepEqual(observed(beyond), ["45035996273704970", 9007199254740994, Math.sqrt(2.5)]);
  assert.deepEqual(observed([0.1, 0.2, 0.3, -0.6]).slice(0, 1), [2.7755575615628914e-17]);
  assert.deepEqual(observed([1e300, 1, -1e300, 2]), [3, 0.75, "inf"]);
  assert.deepEqual(observed([3e-300, 1e-300]).slice(0, 2), [4e-300, 2e-300]);
  // a little more than halfway between two doubles, in a digit that no quotient of 64 has
  assert.deepEqual(observed([3 * 2 ** 53, 3, 2 ** -20]).slice(1, 2), [2 ** 53 + 2]);
  assert.deepEqual(observed([1e300, 1e300, 1e300]), [3e300, 1e300, 0]);
  assert.deepEqual(observed([1e308, 1e308]), ["inf", "inf", "inf"]);
});

Deno.test("integers beyond 2^53 keep every digit in bounds, sets and sums", () => {
  const odd = 9007199254740993n;
  const records = [odd - 1n, odd, odd + 1n].map((a) => ({ a, b: 0 }) as SourceRecord);
  const results = alike(
    [
      ["expect_column_values_to_be_between", { column: "a", max_value: odd }],
      ["expect_column_values_to_be_between", { column: "a", min_value: odd, strict_min: true }],
      ["expect_column_values_to_be_in_set", { column: "a", value_set: [odd] }],
      ["expect_column_max_to_be_between", { column: "a", max_value: odd }],
      ["expect_multicolumn_sum_to_equal", { column_list: ["a", "b"], sum_total: odd }],
      ["expect_column_values_to_not_be_null", { column: "b", row_condition: `a >= ${odd}` }],
    ],
    records,
    1,
  );
  assert.deepEqual(
    results.map(({ result }) => result.unexpected_count ?? result.observed_value),
    [1, 2, 2, String(odd + 1n), 2, 0],
  );
  assert.equal(results[5]!.result.element_count, 2);
  assert.equal(results[0]!.expectation_config.kwargs.max_value, String(odd));
  JSON.stringify(results);
});

Deno.test("bounds that contradict each other fail, lists are members of sets, and names have a near one", () => {
  const results = alike(
    [
      ["expect_column_values_to_be_between", { column: "a", min_value: 2, max_value: 1 }],
      ["expect_column_mean_to_be_between", { column: "a", min_value: 2, max_value: 1 }],
      ["expect_column_values_to_be_in_set", { column: "l", value_set: [[1]] }],
      ["expect_column_distinct_values_to_equal_set", { column: "a", value_set: [[1]] }],
      ["expect_compound_columns_to_be_unique", { column_list: ["a", "l"] }],
      ["expect_column_values_to_not_be_null", { column: "A" }],
      ["expect_table_columns_to_match_set", { column_set: ["a"], exact_match: null }],
    ],
    [{ a: 1, l: [1] }, { a: 1, l: [2] }],
    1,
  );
  assert.deepEqual(
    results.map(({ success, exception_info }) => [success, exception_info.raised_exception]),
    [
      [false, true],
      [false, false],
      [false, false],
      [false, true],
      [false, true],
      [false, true],
      [true, false],
    ],
  );
  assert.deepEqual(results[2]!.result.partial_unexpected_list, [[2]]);
  assert.match(results[0]!.exception_info.exception_message!, /min_value cannot be greater/);
  assert.match(results[5]!.exception_info.exception_message!, /Did you mean "a"\?$/);
});

/** The first result of an expectation on records of one chunk, or of several. */
const judged = (given: Given, ...chunks: SourceRecord[][]) => validate([given], chunks).results[0]!;

Deno.test("texts are compared by code point, and a bound that is a number is one for numbers", () => {
  const between = (records: SourceRecord[], kwargs: object) =>
    judged(["expect_column_values_to_be_between", { column: "a", ...kwargs }], records).result
      .partial_unexpected_list;
  // a unit of UTF-16 of the second is less than the first
  assert.deepEqual(between([{ a: "\uffff" }, { a: "\u{1F600}" }], { max_value: "\u{1F5FF}" }), [
    "\u{1F600}",
  ]);
  assert.deepEqual(between([{ a: "\uffff" }, { a: "\u{1F600}" }], { min_value: "\u{1F5FF}" }), [
    "\uffff",
  ]);
  assert.deepEqual(between([{ a: 9 }, { a: 10 }, { a: 11 }], { max_value: "10" }), [11]);
});

Deno.test("LIKE takes the escape that is given", () => {
  const like = (escape?: string | null) =>
    judged(["expect_column_values_to_match_like_pattern", {
      column: "a",
      like_pattern: "5!%",
      ...(escape === undefined ? {} : { escape }),
    }], [{ a: "5%" }, { a: "5!x" }]).result.partial_unexpected_list;
  assert.deepEqual(like("!"), ["5!x"]);
  assert.deepEqual(like(), ["5%"]);
  assert.deepEqual(like(null), ["5%"]);
});

Deno.test("a quantile may be off by one in ten thousand of its bound, and no more", () => {
  const quantile = (bound: number) =>
    judged(["expect_column_quantile_values_to_be_between", {
      column: "a",
      quantile_ranges: { quantiles: [0.5], value_ranges: [[bound, null]] },
    }], [{ a: 10_000 }]).success;
  assert.deepEqual([10_000, 10_000.9, 10_001.1].map(quantile), [true, true, false]);
});

Deno.test("of a set's missing values 20 are listed, and all are counted", () => {
  const { result } = judged(["expect_column_distinct_values_to_contain_set", {
    column: "a",
    value_set: Array.from({ length: 30 }, (_, i) => i),
  }], [{ a: 0 }]);
  assert.equal(result.missing_count, 29);
  assert.equal((result.partial_missing_list as unknown[]).length, 20);
});

Deno.test("columns that are expected and not there, and those too many, are told by their place, too", () => {
  const { details } = judged(["expect_table_columns_to_match_ordered_list", {
    column_list: ["a"],
  }], [{ a: 1, b: 2 }]).result as { details: { mismatched: unknown } };
  assert.deepEqual(details.mismatched, [
    { "Expected Column Position": 1, Expected: null, Found: "b" },
  ]);
});

Deno.test("lists cannot be told apart within a record, and that is said", () => {
  const { exception_info } = judged(["expect_select_column_values_to_be_unique_within_record", {
    column_list: ["a", "b"],
  }], [{ a: [1], b: [1] }]);
  assert.equal(exception_info.raised_exception, true);
});

Deno.test("what one chunk has met of a condition or of a name is known of the whole", () => {
  const condition = { row_condition: "b > 1", condition_parser: "pandas" };
  const conditioned: Given = ["expect_column_values_to_not_be_null", { column: "a", ...condition }];
  for (
    const chunks of [[[{ a: 1, b: 2 }], [{ a: 1, b: "x" }]], [[{ a: 1, b: "x" }], [{ a: 1, b: 2 }]]]
  ) {
    assert.match(
      judged(conditioned, ...chunks).exception_info.exception_message ?? "",
      /row_condition compares values of different types/,
    );
  }
  const absent: Given = ["expect_column_values_to_not_be_null", { column: "amount" }];
  for (const chunks of [[[{ x: 1 }], [{ Amount: 1 }]], [[{ Amount: 1 }], [{ x: 1 }]]]) {
    assert.match(judged(absent, ...chunks).exception_info.exception_message ?? "", /Amount/);
  }
});

Deno.test("a row that fails says what was expected of it, in bounded length", () => {
  const suite = compile(["expect_column_values_to_be_in_set", {
    column: "a",
    value_set: Array.from({ length: 200 }, (_, i) => i),
  }]);
  const message = String(suite.failingRows([{ a: -1 }]).get(0)!.message);
  assert.ok(message.length < 300, message);
  assert.match(message, /value_set \[0,1,2.*…\): -1$/);
});

Deno.test("a bound may be zero, text or beyond 2^53, and is within unless it is strict", () => {
  const within = (a: SourceRecord["a"], kwargs: object, type = "max") => {
    const { success, exception_info } = judged(
      [`expect_column_${type}_to_be_between`, { column: "a", ...kwargs }],
      [{ a: a! }],
    );
    return exception_info.raised_exception ? "cannot be compared" : success;
  };
  for (const type of ["min", "max", "mean", "median", "sum"]) {
    assert.equal(within(-1, { min_value: 0 }, type), false, type);
    assert.equal(within(1, { max_value: 0 }, type), false, type);
    assert.equal(within(1, { min_value: null, max_value: null }, type), true, type);
    for (const strict of [true, false]) {
      assert.equal(within(1, { min_value: 1, strict_min: strict }, type), !strict, type);
      assert.equal(within(1, { max_value: 1, strict_max: strict }, type), !strict, type);
    }
  }
  const odd = 9007199254740993n;
  assert.deepEqual(
    [odd - 1n, odd, odd + 1n].map((a) => within(a, { max_value: `${odd}`, strict_max: true })),
    [true, false, false],
  );
  assert.deepEqual(
    [-odd - 1n, -odd, 1n - odd].map((a) => within(a, { min_value: `-${odd}`, strict_min: true })),
    [false, false, true],
  );
  // a text that is a number is one for numbers, and text for texts
  assert.deepEqual([within(9, { max_value: "10" }), within("9", { max_value: "10" })], [
    true,
    false,
  ]);
  assert.deepEqual(
    ["9.5", "8.5", "1e1", "-1e400"].map((max_value) => within(9, { max_value })),
    [true, false, true, "cannot be compared"],
  );
  for (const text of ["ten", " "]) {
    assert.equal(within(9, { max_value: text }), "cannot be compared", text);
  }
  assert.equal(within("9", { max_value: 10 }), "cannot be compared");
});

Deno.test("the smallest and the largest value are those of all chunks, and what cannot be compared is told of", () => {
  const observed = (...values: SourceRecord["a"][]) =>
    alike(
      [
        ["expect_column_min_to_be_between", { column: "a" }],
        ["expect_column_max_to_be_between", { column: "a" }],
      ],
      values.map((a) => ({ a })),
      1,
      2,
    ).map(({ result, exception_info }) =>
      exception_info.exception_message ?? result.observed_value
    );
  assert.deepEqual(observed(null, 5, 9, 1, null), [1, 9]);
  assert.deepEqual(observed(null, null), [null, null]);
  assert.deepEqual(observed("b", "c", "a"), ["a", "c"]);
  const big = 2n ** 60n;
  assert.deepEqual(observed(1, big, -big, 2), [`-${big}`, `${big}`]);
  for (
    const [told, ...values] of [
      ["1 value", 1, 2, "x"],
      ["1 value", "x", 1],
      ["1 value", [1]],
      ["1 value", null, { b: 1 }],
      ["1 value", 1, [1], 2],
      ["2 values", 1, "x", "y", 2],
      ["2 values", "x", "y", 1, true],
      ["3 values", [1], "x", { b: 1 }, 1],
    ]
  ) {
    for (const message of observed(...values)) {
      assert.match(`${message}`, new RegExp(`^${told} of a cannot be`), JSON.stringify(values));
    }
  }
});

Deno.test("an order goes on over nulls, batches and chunks, however the chunks are put together", () => {
  const given: Given[] = [["expect_column_values_to_be_increasing", { column: "a" }]];
  const of = (...values: SourceRecord["a"][]) => {
    const records = values.map((a) => ({ a }));
    const { result, exception_info } = alike(given, records, 1, 2, 10)[0]!;
    return exception_info.exception_message ??
      [result.partial_unexpected_list, result.partial_unexpected_index_list];
  };
  assert.deepEqual(of(null, 3, null, null, 1, 2, null), [[1], [4]]);
  assert.deepEqual(of(1, 2n ** 60n, 2n ** 60n + 1n, 2n ** 60n), [[`${2n ** 60n}`], [3]]);
  // a double is the same number as an integer beyond 2^53
  assert.deepEqual(of(2n ** 60n, 2 ** 60, 2n ** 60n), [[], []]);
  const falling = Array.from({ length: 30 }, (_, i) => -i);
  assert.deepEqual(of(...falling), [falling.slice(1, 21), [...Array(21).keys()].slice(1)]);
  // a text has no place in it: neither it nor what follows can be judged
  assert.match(String(of("x")), /^1 value of a/);
  assert.match(String(of(1, "x", 2)), /^2 values of a/);
  assert.match(String(of(2, "x")), /^1 value of a/);

  const suite = compile(...given);
  const states = [[null, null], [null, 3], [1, 2], [null], [0]].map((values, chunkNo) => {
    const state = suite.newState({ chunkNo });
    suite.observe(state, values.map((a) => ({ a })));
    return suite.serializeState(state);
  });
  const whole = suite.mergeStates(states);
  for (let at = 1; at < states.length; at++) {
    const [before, after] = [states.slice(0, at), states.slice(at)].map((some) =>
      suite.mergeStates(some)
    );
    assert.deepEqual(suite.mergeStates([after!, before!]), whole, `${at}`);
  }
});

Deno.test("pairs of columns are judged in the rows that a condition selects, and told by their place in all", () => {
  // 30 rows, so that the positions are not those within a batch
  const records = Array.from({ length: 30 }, (_, i) => ({ a: i, b: i < 25 ? i : null }));
  const pair = { column_A: "a", column_B: "b", ignore_row_if: "neither" };
  const [equal, greater] = alike(
    [
      ["expect_column_pair_values_to_be_equal", pair],
      ["expect_column_pair_values_a_to_be_greater_than_b", { ...pair, row_condition: "a > 23" }],
    ],
    records,
    4,
    1,
  );
  assert.deepEqual(equal!.result.partial_unexpected_index_list, [25, 26, 27, 28, 29]);
  assert.deepEqual(
    greater!.result.partial_unexpected_list,
    [24, 25, 26, 27, 28, 29].map((a) => [
      a,
      a < 25 ? a : null,
    ]),
  );
  assert.deepEqual([greater!.result.element_count, greater!.result.unexpected_count], [6, 6]);
  const [text] = alike(
    [["expect_column_pair_values_a_to_be_greater_than_b", { column_A: "a", column_B: "t" }]],
    [{ a: 1, t: 0 }, { a: 1, t: "x" }, { a: 1, t: "y" }],
    1,
  );
  assert.match(text!.exception_info.exception_message!, /^2 values of a, t cannot be looked at/);
});

Deno.test("of the names of fields 10,000 are columns, in one chunk or in several", () => {
  const fields = (from: number, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${from + i}`, 1]));
  const count = (...chunks: SourceRecord[][]) =>
    judged(["expect_table_column_count_to_be_between", {}], ...chunks).result.observed_value;
  assert.equal(count([fields(0, 2_000)]), 2_000);
  assert.equal(count([fields(0, 10_001)]), 10_000);
  assert.equal(count([fields(0, 6_000)], [fields(6_000, 6_000)]), 10_000);
});
