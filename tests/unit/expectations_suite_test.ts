import assert from "node:assert/strict";
import fc from "fast-check";
import { describeKinds } from "../../pipeline/expectations/expectations.ts";
import { isRowWise, readSuite, writeSuite } from "../../pipeline/expectations/expectations.ts";
import { resolveParameters } from "../../pipeline/expectations/suite.ts";
import { Problem } from "../../vocabulary/problem.ts";

function problemOf(json: unknown): Problem {
  try {
    readSuite(json);
  } catch (error) {
    assert.ok(error instanceof Problem, String(error));
    return error;
  }
  assert.fail("the suite was accepted");
}

const suiteOf = (...expectations: unknown[]) => ({ name: "s", expectations });
const notNull = { type: "expect_column_values_to_not_be_null", kwargs: { column: "a" } };

Deno.test("readSuite() reads the keys of 0.18 and writes those of 1.x", () => {
  const suite = readSuite({
    expectation_suite_name: "old",
    data_asset_type: null,
    ge_cloud_id: null,
    evaluation_parameters: { low: 3 },
    meta: { great_expectations_version: "0.18.22" },
    expectations: [{
      expectation_type: "expect_column_values_to_be_between",
      kwargs: {
        column: "a",
        min_value: { $PARAMETER: "low" },
        mostly: 0.9,
        result_format: "BASIC",
      },
      meta: { why: "because" },
    }],
  });
  assert.deepEqual(writeSuite(suite), {
    name: "old",
    id: null,
    expectations: [{
      type: "expect_column_values_to_be_between",
      kwargs: { column: "a", min_value: { $PARAMETER: "low" }, mostly: 0.9 },
      meta: { why: "because" },
      severity: "critical",
    }],
    suite_parameters: { low: 3 },
    meta: { great_expectations_version: "0.18.22" },
    notes: null,
  });
  assert.deepEqual(readSuite(writeSuite(suite)), suite);
});

Deno.test("readSuite() takes 1,000 expectations, and no more", () => {
  const many = (count: number) => suiteOf(...Array(count).fill(notNull));
  assert.equal(readSuite(many(1_000)).expectations.length, 1_000);
  assert.match(JSON.stringify(problemOf(many(1_001)).errors), /"expectations"/);
});

Deno.test("readSuite() names the unknown expectation and the nearest known one", () => {
  const problem = problemOf(suiteOf({
    type: "expect_column_value_to_not_be_null",
    kwargs: { column: "a" },
  }));
  assert.equal(problem.type, "invalid-conf");
  assert.equal(problem.errors[0]!.field, "expectations[0].type");
  assert.equal(problem.errors[0]!.expected, "expect_column_values_to_not_be_null");
});

Deno.test("readSuite() says why a known expectation is not supported", () => {
  const problem = problemOf(suiteOf({
    type: "expect_column_kl_divergence_to_be_less_than",
    kwargs: { column: "a" },
  }));
  assert.match(problem.errors[0]!.message, /is not supported: it compares distributions/);
});

Deno.test("readSuite() reports every error at once", () => {
  const problem = problemOf(suiteOf(
    { ...notNull, kwargs: { column: "a", mosty: 0.5 } },
    { type: "expect_column_values_to_be_in_set", kwargs: { column: "a", value_set: "x" } },
    { type: "expect_column_values_to_match_regex", kwargs: { column: "a", regex: "(?=x)" } },
    {
      type: "expect_column_values_to_be_between",
      kwargs: { column: "a", min_value: "b", max_value: 1 },
    },
    { type: "expect_column_values_to_be_between", kwargs: { column: "a" } },
    { ...notNull, kwargs: { column: "a", row_condition: "b >", condition_parser: "pandas" } },
    { ...notNull, kwargs: { column: "a", row_condition: "b > c" } },
    { ...notNull, severty: "info" },
    { type: "expect_column_values_to_be_of_type", kwargs: { column: "a", type_: "VARCHAR" } },
  ));
  assert.deepEqual(problem.errors.map(({ field }) => field), [
    "expectations[0].kwargs.mosty",
    "expectations[1].kwargs.value_set",
    "expectations[2].kwargs.regex",
    "expectations[3].kwargs.max_value",
    "expectations[4].kwargs.min_value",
    "expectations[5].kwargs.row_condition",
    "expectations[6].kwargs.row_condition",
    "expectations[7].severty",
    "expectations[8].kwargs.type_",
  ]);
  assert.equal(problem.errors[0]!.expected, "mostly");
  assert.equal(problem.errors[7]!.expected, "severity");
});

Deno.test("readSuite() gives a suite or a clear error for any JSON", () => {
  const type = fc.oneof(
    fc.constantFrom(...describeKinds().evaluated.map(({ type }) => type)),
    fc.string(),
  );
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom("a", 1, 0.5, ["a"], { $PARAMETER: "p" }));
  const kwargs = fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        ...new Set(describeKinds().evaluated.flatMap(({ kwargs }) => kwargs)),
      ),
      fc.string(),
    ),
    value,
  );
  const suite = fc.record({
    name: fc.oneof(fc.string(), fc.jsonValue()),
    expectations: fc.oneof(
      fc.array(fc.oneof(fc.record({ type, kwargs }), fc.jsonValue())),
      fc.jsonValue(),
    ),
  }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), suite), (json) => {
      try {
        const read = readSuite(json);
        assert.deepEqual(readSuite(JSON.parse(JSON.stringify(writeSuite(read)))), read);
      } catch (error) {
        assert.ok(error instanceof Problem, String(error));
        assert.equal(error.type, "invalid-conf");
        assert.ok(error.errors.length > 0 && error.errors.every(({ message }) => message !== ""));
        JSON.stringify(error.toJSON());
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("resolveParameters() puts in given values first, then those of the suite", () => {
  const suite = readSuite({
    name: "s",
    suite_parameters: { low: 1, high: 5 },
    expectations: [{
      type: "expect_column_values_to_be_between",
      kwargs: {
        column: "a",
        min_value: { $PARAMETER: "low" },
        max_value: { $PARAMETER: "high" },
        row_condition: null,
      },
    }],
  });
  const { kwargs } = resolveParameters(suite, { low: 2 }).expectations[0]!;
  assert.deepEqual(kwargs, { column: "a", min_value: 2, max_value: 5, row_condition: null });
  assert.throws(
    () => resolveParameters(suite, { low: "x" }),
    (error: Problem) => error.errors[0]!.field === "expectations[0].kwargs.max_value",
  );
});

Deno.test("resolveParameters() names a parameter that has no value", () => {
  const suite = readSuite(suiteOf({
    type: "expect_table_row_count_to_equal",
    kwargs: { value: { $PARAMETER: "rows" } },
  }));
  assert.throws(() => resolveParameters(suite), /the suite parameter rows has no value/);
});

Deno.test("a JSON schema that is none is refused with its suite, or with the run that gives it", () => {
  const matches = (json_schema: unknown) =>
    suiteOf({
      type: "expect_column_values_to_match_json_schema",
      kwargs: { column: "a", json_schema },
    });
  const field = "expectations[0].kwargs.json_schema";
  assert.deepEqual(problemOf(matches({ type: "nonsense" })).errors.map((each) => each.field), [
    field,
  ]);
  readSuite(matches({ type: "object" }));
  const suite = readSuite(matches({ $PARAMETER: "schema" }));
  resolveParameters(suite, { schema: { type: "object" } });
  assert.throws(
    () => resolveParameters(suite, { schema: { type: "nonsense" } }),
    (error: Problem) => error.errors[0]!.field === field,
  );
});

Deno.test("isRowWise() tells expectations about rows from those about the batch", () => {
  assert.equal(isRowWise(notNull), true);
  assert.equal(isRowWise({ type: "expect_column_pair_values_to_be_equal" }), true);
  assert.equal(isRowWise({ type: "expect_column_values_to_be_unique" }), false);
  assert.equal(isRowWise({ type: "expect_column_values_to_be_increasing" }), false);
  assert.equal(isRowWise({ type: "expect_table_row_count_to_equal" }), false);
});

Deno.test("readSuite() refuses a payload schema that is none", () => {
  const wrong = (payload_schema: unknown) => () =>
    readSuite({ name: "s", expectations: [], meta: { payload_schema } });
  for (const schema of ["text", null, [], { type: "nonsense" }, { $ref: "#" }]) {
    assert.throws(
      wrong(schema),
      (error: Problem) => error.errors[0]!.field === "meta.payload_schema",
      JSON.stringify(schema),
    );
  }
  wrong({ type: "object" })();
});

Deno.test("readSuite() compiles no more patterns and schemas than is quick, whatever the suite", () => {
  const started = performance.now();
  const regex = "[a-z]{1000}[0-9]{1000}";
  const suite = suiteOf(...Array.from({ length: 1_000 }, () => ({
    type: "expect_column_values_to_match_regex_list",
    kwargs: { column: "a", regex_list: Array.from({ length: 100 }, () => regex) },
  })));
  assert.throws(() => readSuite(suite), /too large together/);
  assert.ok(performance.now() - started < 10_000);
});

Deno.test("readSuite() takes values as Great Expectations does, and refuses what it refuses", () => {
  const accepted = (type: string, kwargs: Record<string, unknown>) =>
    readSuite(suiteOf({ type, kwargs })).expectations[0]!.kwargs;
  assert.deepEqual(
    accepted("expect_column_values_to_not_be_null", { mostly: "0.5", column: "a" }),
    {
      mostly: 0.5,
      column: "a",
    },
  );
  assert.deepEqual(
    accepted("expect_column_mean_to_be_between", {
      column: "a",
      min_value: true,
      max_value: "9007199254740993",
      strict_max: "yes",
      windows: [{ range: 1 }],
    }),
    { column: "a", min_value: 1, max_value: 9007199254740993n, strict_max: true },
  );
  accepted("expect_column_values_to_be_in_type_list", { column: "a" });
  accepted("expect_column_values_to_be_in_set", { column: "a", value_set: [[1], { b: 2 }] });
  for (
    const [type, kwargs, field] of [
      ["expect_column_mean_to_be_between", { column: "a", strict_min: null }, "strict_min"],
      ["expect_column_values_to_not_be_null", { column: "a", mostly: "most" }, "mostly"],
      ["expect_column_values_to_not_be_null", { column: "a", mostly: "2" }, "mostly"],
      ["expect_compound_columns_to_be_unique", { column_list: ["a"] }, "column_list"],
    ] as const
  ) {
    const problem = problemOf(suiteOf({ type, kwargs }));
    assert.equal(problem.errors[0]!.field, `expectations[0].kwargs.${field}`);
  }
});

Deno.test("readSuite() takes a number, a flag and a bound in each form that Python's libraries take, and no other", () => {
  const kwarg = (type: string, kwargs: Record<string, unknown>, name: string) => {
    try {
      return readSuite(suiteOf({ type, kwargs: { column: "a", ...kwargs } }))
        .expectations[0]!.kwargs[name];
    } catch (error) {
      assert.ok(error instanceof Problem, String(error));
      return "refused";
    }
  };
  const each = (
    type: string,
    name: string,
    forms: [given: unknown, taken: unknown][],
    others: Record<string, unknown> = {},
  ) => {
    for (const [given, taken] of forms) {
      assert.deepEqual(kwarg(type, { ...others, [name]: given }, name), taken, `${name} ${given}`);
    }
  };
  const refused = (...given: unknown[]) => given.map((one): [unknown, unknown] => [one, "refused"]);
  const numbers: [unknown, unknown][] = [
    [".5", 0.5],
    ["5.", 5],
    ["+3", 3],
    ["-1.5e+3", -1500],
    ["1E3", 1000],
    ["-9007199254740993", -9007199254740993n],
    ["-3", -3],
    [2n ** 60n, 2n ** 60n],
    [false, 0],
    [null, null],
    ...refused("", ".", "e3", "1e", "0x10", " 1", "Infinity", [1]),
  ];
  for (const [name, other] of [["min_value", "max_value"], ["max_value", "min_value"]] as const) {
    each("expect_column_mean_to_be_between", name, numbers);
    each("expect_column_values_to_be_between", name, [
      [true, 1],
      ["2024-01-01", "2024-01-01"],
      ["x".repeat(1_000), "x".repeat(1_000)],
      ...refused("", "x".repeat(1_001), []),
    ]);
    each("expect_column_values_to_be_between", name, [[null, null]], { [other]: 2 });
  }
  const flags: [unknown, unknown][] = [
    ...[true, 1, "1", "true", "TRUE", "t", "Yes", "Y", "on", "ON"]
      .map((given): [unknown, unknown] => [given, true]),
    ...[false, 0, "0", "false", "False", "F", "no", "N", "off", "OFF"]
      .map((given): [unknown, unknown] => [given, false]),
    ...refused(2, -1, "", "maybe", "only", null),
  ];
  for (const name of ["strict_min", "strict_max"]) {
    each("expect_column_values_to_be_between", name, flags, { min_value: 0 });
    each("expect_column_mean_to_be_between", name, flags);
  }
  each("expect_column_values_to_be_null", "mostly", [
    [0, 0],
    [1, 1],
    ...refused(-0.1, 1.1),
  ]);
  each("expect_column_values_to_be_null", "column", [
    ["x".repeat(512), "x".repeat(512)],
    ...refused("", "x".repeat(513)),
  ]);
  each("expect_column_values_to_be_of_type", "type_", [["int64", "int64"], ...refused("int63")]);
  each("expect_column_distinct_values_to_be_in_set", "value_set", [[[1], [1]], ...refused([])]);
  const like = "expect_column_values_to_match_like_pattern";
  for (const [escape, taken] of [["!", "!"], [null, null], ...refused("", "!!")]) {
    assert.equal(kwarg(like, { like_pattern: "a", escape }, "escape"), taken, `escape ${escape}`);
  }
  const columns = (count: number) => {
    const type = "expect_compound_columns_to_be_unique";
    const column_list = Array.from({ length: count }, (_, i) => `c${i}`);
    try {
      return readSuite(suiteOf({ type, kwargs: { column_list } })).expectations.length;
    } catch {
      return "refused";
    }
  };
  assert.deepEqual([1, 2, 50, 51].map(columns), ["refused", 1, 1, "refused"]);
});

Deno.test("describeKinds(): docs/expectations.md says of each kind whether single rows can fail it, and of each unsupported one why", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/expectations.md", import.meta.url));
  const between = (start: string, end: string) =>
    text.slice(text.indexOf(start) + start.length, text.indexOf(end));
  const ofRows = between("**For each row**", "**For the batch**");
  const ofBatch = between("**For the batch**", "**Not supported**");
  // "…_to_be_null" stands for a name that ends so
  const has = (list: string, type: string) =>
    [...list.matchAll(/`(…?)(\w+)(…?)`/g)].some(([, cut, name, open]) =>
      cut || open ? type.includes(name!) : type === name
    );
  const { evaluated, unsupported } = describeKinds();
  for (const { type, rowWise } of evaluated) assert.ok(has(rowWise ? ofRows : ofBatch, type), type);
  assert.ok(Object.keys(unsupported).length > 0);
  const known = new Set(evaluated.map(({ type }) => type));
  assert.deepEqual(Object.keys(unsupported).filter((type) => known.has(type)), []);
});
