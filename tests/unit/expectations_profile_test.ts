import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compileSuite,
  newProfile,
  readSuite,
  type ValidationResult,
} from "../../pipeline/expectations/expectations.ts";
import { syntheticRecord } from "../../pipeline/sources/synthetic.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";

function profile(records: SourceRecord[]): Record<string, unknown> {
  const profile = newProfile({ name: "proposed" });
  for (let i = 0; i < records.length; i += 1_000) profile.observe(records.slice(i, i + 1_000));
  return profile.finish();
}

function check(suite: Record<string, unknown>, records: SourceRecord[]): ValidationResult {
  const compiled = compileSuite(readSuite(JSON.parse(JSON.stringify(suite))));
  const state = compiled.newState({ chunkNo: 0 });
  compiled.observe(state, records);
  return compiled.finish(compiled.serializeState(state));
}

function failed(result: ValidationResult): unknown[] {
  return result.results.filter(({ success }) => !success)
    .map(({ expectation_config, exception_info }) => [expectation_config, exception_info]);
}

Deno.test("Profile proposes types, null rates, ranges, sets and uniqueness", () => {
  const records = Array.from({ length: 2_000 }, (_, i) => syntheticRecord(i, 0));
  const suite = profile(records);
  const proposed = (suite.expectations as { type: string; kwargs: Record<string, unknown> }[])
    .map(({ type, kwargs }) => `${type} ${kwargs.column ?? ""}`);
  for (
    const expected of [
      "expect_table_columns_to_match_set ",
      "expect_column_values_to_not_be_null id",
      "expect_column_values_to_be_unique id",
      "expect_column_values_to_be_in_type_list user_id",
      "expect_column_values_to_be_between amount",
      "expect_column_values_to_be_in_set event_type",
      "expect_column_values_to_match_regex occurred_at",
      "expect_column_values_to_be_in_set attributes.device",
      "expect_column_values_to_not_be_null attributes.campaign",
    ]
  ) assert.ok(proposed.includes(expected), `${expected} is not proposed`);
  assert.ok(!proposed.includes("expect_column_values_to_be_unique user_id"));
  assert.deepEqual(failed(check(suite, records)), []);
});

Deno.test("Profile proposes for values of several types those that it has met", () => {
  const typesOf = (...values: SourceRecord["a"][]) => {
    const { expectations } = profile(values.map((a) => ({ a }))) as {
      expectations: { type: string; kwargs: { type_list?: string[] } }[];
    };
    return expectations.find(({ type }) => type === "expect_column_values_to_be_in_type_list")
      ?.kwargs.type_list;
  };
  assert.deepEqual(typesOf([1], [2]), ["list"]);
  assert.deepEqual(typesOf(1, "a", [1], true), ["bool", "int", "str", "list"]);
  assert.deepEqual(typesOf(1, 2), ["int64"]);
  assert.deepEqual(typesOf(1, null, 2.5), ["int64", "float64"]);
});

Deno.test("Profile proposes a set of values that come five times each on average, and not before", () => {
  const of = (times: number) =>
    JSON.stringify(profile(Array.from({ length: 3 * times }, (_, i) => ({ kind: "abc"[i % 3]! }))));
  assert.match(of(5), /to_be_in_set.*\["a","b","c"\]/);
  assert.doesNotMatch(of(4), /to_be_in_set/);
});

Deno.test("Profile proposes sets of 20 values at most, three levels deep, of 500 columns, and 32 columns of many values as unique", () => {
  const columnsOf = (records: SourceRecord[], type: string) =>
    (profile(records).expectations as { type: string; kwargs: { column?: string } }[])
      .filter((each) => each.type === type).map(({ kwargs }) => kwargs.column);
  const repeated = (different: number) =>
    Array.from({ length: different * 5 }, (_, i) => ({ kind: `k${i % different}` }));
  const set = "expect_column_values_to_be_in_set";
  assert.deepEqual(columnsOf(repeated(20), set), ["kind"]);
  assert.deepEqual(columnsOf(repeated(21), set), []);

  const there = "expect_column_values_to_not_be_null";
  const deep = { a: { b: { c: 1, d: { e: 1 } } } };
  assert.deepEqual(columnsOf([deep], there), ["a.b.c"]);

  const row = (columns: number, value: number) =>
    Object.fromEntries(Array.from({ length: columns }, (_, i) => [`c${i}`, value]));
  assert.deepEqual(columnsOf([row(501, 1)], there), Object.keys(row(500, 1)));
  // no more values than this are counted in memory
  const many = Array.from({ length: 4_097 }, (_, i) => row(33, i));
  assert.deepEqual(
    columnsOf(many, "expect_column_values_to_be_unique"),
    Object.keys(row(32, 1)),
  );
});

Deno.test("Profile does not propose uniqueness when a single value comes twice", () => {
  const records: SourceRecord[] = Array.from({ length: 9_000 }, (_, i) => ({ id: `id ${i}` }));
  assert.match(JSON.stringify(profile(records)), /to_be_unique/);
  records.push({ id: "id 17" });
  assert.doesNotMatch(JSON.stringify(profile(records)), /to_be_unique/);
});

Deno.test("the suite that Profile proposes holds on the data it came from", () => {
  const value: fc.Arbitrary<SourceRecord[string]> = fc.oneof(
    fc.constant(null),
    fc.integer({ min: -5, max: 5 }),
    fc.double(),
    fc.string(),
    fc.boolean(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 70n }),
    fc.constant<SourceRecord[string]>([1, "a"]),
    fc.constant<SourceRecord[string]>({ x: 1, "y.z": "q" }),
    fc.constantFrom("2024-01-01", "b"),
  );
  const name = fc.constantFrom("a", "b", "c.d", "event_id", "constructor", "1");
  fc.assert(
    fc.property(fc.array(fc.dictionary(name, value), { maxLength: 60 }), (records) => {
      assert.deepEqual(failed(check(profile(records), records)), []);
    }),
    { numRuns: 500 },
  );
  const kinds: fc.Arbitrary<string | number | boolean>[] = [
    fc.integer(),
    fc.double(),
    fc.string(),
    fc.boolean(),
  ];
  const one = fc.constantFrom(...kinds);
  fc.assert(
    fc.property(
      one.chain((kind) => fc.array(fc.record({ a: fc.option(kind) }), { maxLength: 80 })),
      (records) => {
        assert.deepEqual(failed(check(profile(records), records)), []);
      },
    ),
    { numRuns: 500 },
  );
});
