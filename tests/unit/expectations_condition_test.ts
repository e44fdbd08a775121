import assert from "node:assert/strict";
import fc from "fast-check";
import { parseCondition, selectRows } from "../../pipeline/expectations/condition.ts";

const DATA: Record<string, unknown[]> = {
  a: [1, 5, null, 10],
  "b.c": ["x", "y", "x", null],
};

function select(condition: unknown): number[] {
  const parsed = parseCondition(condition);
  assert.ok(parsed !== undefined && typeof parsed !== "string", String(parsed));
  return [...selectRows(parsed, { count: 4, values: (column) => DATA[column]! }).rows];
}

Deno.test("row conditions of pandas compare columns with literals", () => {
  assert.deepEqual(select("a > 4"), [0, 1, 0, 1]);
  assert.deepEqual(select("4 < a"), [0, 1, 0, 1]);
  assert.deepEqual(select("a != 5"), [1, 0, 1, 1]);
  assert.deepEqual(select("not (a > 4)"), [1, 0, 1, 0]);
  assert.deepEqual(select("`b.c` == 'x' and a < 3 or a == 10"), [1, 0, 0, 1]);
  assert.deepEqual(select("b.c in ['x', \"q\"]"), [1, 0, 1, 0]);
  assert.deepEqual(select("b.c not in ('x',)"), [0, 1, 0, 1]);
  assert.deepEqual(select("a.isnull() | b.c.isna()"), [0, 0, 1, 1]);
  assert.deepEqual(select("a.notnull() & ~(a >= 10)"), [1, 1, 0, 0]);
  assert.deepEqual(select("a > -1e3 and a <= 5.0"), [1, 1, 0, 0]);
});

Deno.test("row conditions of great_expectations name columns by col()", () => {
  assert.deepEqual(select('col("a") > 4'), [0, 1, 0, 1]);
  assert.deepEqual(select('col("b.c").notNull()'), [1, 1, 1, 0]);
});

Deno.test("row conditions are read from the objects of 1.x", () => {
  const comparison = { type: "comparison", column: { name: "a" }, operator: ">=", parameter: 5 };
  const nullity = { type: "nullity", column: { name: "b.c" }, is_null: false };
  assert.deepEqual(select(comparison), [0, 1, 0, 1]);
  assert.deepEqual(select({ type: "and", conditions: [comparison, nullity] }), [0, 1, 0, 0]);
  assert.deepEqual(
    select({ type: "pass_through", pass_through_filter: "a == 1" }),
    [1, 0, 0, 0],
  );
});

Deno.test("selectRows() says when a value cannot be ordered against the literal", () => {
  const parsed = parseCondition("b.c > 4");
  assert.ok(typeof parsed === "object");
  assert.equal(selectRows(parsed, { count: 4, values: (c) => DATA[c]! }).mistyped, true);
});

Deno.test("parseCondition() gives a condition or says what is wrong for any text", () => {
  const word = fc.constantFrom(
    "a",
    ">",
    "(",
    ")",
    "and",
    "not",
    "in",
    "[",
    "]",
    "'x'",
    "1",
    ".",
    "~",
    "`b`",
    ",",
    "col",
    "==",
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 12 }), (words) => {
    const parsed = parseCondition(words.join(" "));
    assert.ok(parsed === undefined || typeof parsed === "object" || parsed.length > 0);
  }));
  for (const text of ["a >", "a + 1 > 2", "a > b", "(a > 1", "a.mean() > 1", "'x", "@x == 1", ""]) {
    const parsed = parseCondition(text);
    assert.ok(text === "" ? parsed === undefined : typeof parsed === "string", text);
  }
  assert.equal(typeof parseCondition("(".repeat(9_999)), "string");
});

Deno.test("row conditions compare integers beyond 2^53 with every digit", () => {
  const column = [9007199254740992, 9007199254740993n, 9007199254740994n];
  const rows = (condition: unknown): number[] => {
    const parsed = parseCondition(condition);
    assert.ok(typeof parsed === "object", String(parsed));
    return [...selectRows(parsed, { count: 3, values: () => column }).rows];
  };
  assert.deepEqual(rows("a == 9007199254740993"), [0, 1, 0]);
  assert.deepEqual(rows("a in [9007199254740993, 5]"), [0, 1, 0]);
  assert.deepEqual(rows("9007199254740993 < a"), [0, 0, 1]);
  const object = { type: "comparison", column: { name: "a" }, parameter: 9007199254740993n };
  assert.deepEqual(rows({ ...object, operator: ">=" }), [0, 1, 1]);
  assert.deepEqual(rows({ ...object, operator: "IN", parameter: [9007199254740993n] }), [0, 1, 0]);
});

Deno.test("row conditions may begin with a literal, chain two comparisons, and compare with a list", () => {
  assert.deepEqual(select("1 < a <= 5"), [0, 1, 0, 0]);
  assert.deepEqual(select("a == [1, 10]"), [1, 0, 0, 1]);
  assert.deepEqual(select("a != [1, 10]"), [0, 1, 1, 0]);
  const flags = parseCondition("True == t");
  assert.ok(typeof flags === "object");
  const rows = selectRows(flags, { count: 2, values: () => [true, false] }).rows;
  assert.deepEqual([...rows], [1, 0]);
});
