import assert from "node:assert/strict";
import { expectationForms } from "../../pipeline/expectations/expectations.ts";
import { fieldText, fieldValue, holdsLongNumbers } from "../../islands/suites/kwargs.ts";

const kindOf = (type: string, name: string) =>
  expectationForms()[type]!.find((form) => form.name === name);

Deno.test("each kwarg of an expectation has a field of its kind, its column first", () => {
  const between = expectationForms().expect_column_values_to_be_between!;
  assert.equal(between[0]!.name, "column");
  assert.equal(between[0]!.required, true);
  const kinds = Object.fromEntries(between.map(({ name, kind }) => [name, kind]));
  assert.partialDeepStrictEqual(kinds, {
    column: "text",
    min_value: "value",
    strict_min: "flag",
    mostly: "number",
    row_condition: "text",
    condition_parser: "choice",
  });
  assert.equal(kindOf("expect_column_values_to_be_in_set", "value_set")!.kind, "values");
  assert.equal(kindOf("expect_column_values_to_match_regex_list", "regex_list")!.kind, "texts");
  assert.equal(kindOf("expect_compound_columns_to_be_unique", "column_list")!.kind, "texts");
  assert.equal(kindOf("expect_column_pair_values_to_be_in_set", "value_pairs_set")!.kind, "json");
  assert.ok(kindOf("expect_column_values_to_be_of_type", "type_")!.options!.includes("int64"));
  assert.equal(kindOf("expect_table_row_count_to_equal", "value")!.kind, "number");
});

Deno.test("a kwarg's value is the same again after it was shown in its field", () => {
  const same: [Parameters<typeof fieldText>[0]["kind"], unknown][] = [
    ["value", 12.5],
    ["value", "12.5"],
    ["value", "2026-01-01"],
    ["value", " "],
    ["value", "true"],
    ["values", [1, "1", "a b", null, true, "", "two\nlines"]],
    ["texts", ["^a$", "[0-9]"]],
    ["texts", ["", "a\nb"]],
    ["text", "[0-9]+"],
    ["number", { $PARAMETER: "least" }],
    ["text", { $PARAMETER: "pattern" }],
    ["flag", false],
    ["json", { quantiles: [0.5], value_ranges: [[1, null]] }],
  ];
  for (const [kind, value] of same) {
    const text = fieldText({ kind }, value);
    assert.deepEqual(fieldValue({ kind }, text), value, text);
  }
  assert.equal(fieldValue({ kind: "text" }, " "), undefined);
});

Deno.test("a suite whose numbers a browser would change is left to JSON", () => {
  assert.equal(holdsLongNumbers('{"min_value": 12345678901234567}'), true);
  assert.equal(holdsLongNumbers('{"regex": "12345678901234567", "a": 1.5}'), false);
});
