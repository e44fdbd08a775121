import assert from "node:assert/strict";
import { Batch, splitPath } from "../../pipeline/expectations/batch.ts";
import { type Condition, parseCondition } from "../../pipeline/expectations/condition.ts";

Deno.test("a column's path is divided at its dots, but for those behind a backslash; any other backslash is part of the name", () => {
  const paths: [string, string[]][] = [
    ["a", ["a"]],
    ["a.b.0", ["a", "b", "0"]],
    ["a\\.b.c", ["a.b", "c"]],
    ["a\\\\.b", ["a\\", "b"]],
    ["a\\b.c\\", ["a\\b", "c\\"]],
    [".a.", ["", "a", ""]],
  ];
  for (const [path, parts] of paths) assert.deepEqual(splitPath(path), parts, path);
});

Deno.test("a batch has values by column: what is missing or no number is null, and a name with dots is a field or a path", () => {
  const batch = new Batch();
  const values = (path: string) => [...batch.column(path)].slice(0, batch.count);
  batch.load([
    { n: 1, "a.b": "flat", deep: { x: [7, { y: NaN }] } },
    { n: NaN, a: { b: "nested" }, "a.b": "flat" },
    { n: null, deep: "text" },
  ] as never);
  assert.deepEqual(values("n"), [1, null, null]);
  assert.deepEqual(values("a.b"), ["flat", "nested", null]);
  assert.deepEqual(values("deep.x.0"), [7, null, null]);
  assert.deepEqual(values("deep.x.1.y"), [null, null, null]);
  assert.deepEqual(values("deep.length"), [null, null, null], "of a text there are no fields");
  assert.deepEqual(values("toString"), [null, null, null]);
  assert.deepEqual(["n", "deep.x.1.y", "toString", "none"].map((path) => batch.has(path)), [
    ...[true, true, false, false],
  ]);
  // one instance for all batches: nothing of the one before is left
  batch.load([{ n: 5 }] as never, { startPosition: 3 });
  assert.deepEqual([values("n"), values("a.b"), batch.has("a.b")], [[5], [null], false]);
  assert.equal(batch.startPosition, 3);
  batch.load([{ n: 6 }] as never);
  assert.equal(batch.startPosition, 0);
});

Deno.test("the columns of an event shadow fields of the same name, where there are events", () => {
  const batch = new Batch();
  const records = [{ event_id: "field", event_type: "field" }] as never;
  batch.load(records, {
    events: [{ eventId: "k", eventType: "sale", occurredAt: null }],
  });
  const first = (path: string) => batch.column(path)[0];
  assert.deepEqual(["event_id", "event_type", "occurred_at"].map(first), ["k", "sale", null]);
  assert.ok(batch.has("occurred_at"));
  batch.load(records);
  assert.equal(first("event_id"), "field");
  batch.load([], { events: [] });
  assert.equal(batch.has("event_id"), false);
});

Deno.test("the rows that a condition selects are of the batch in hand", () => {
  const batch = new Batch();
  const condition = parseCondition("n > 1") as Condition;
  batch.load([{ n: 1 }, { n: 2 }] as never);
  assert.deepEqual([...batch.select(condition).rows].slice(0, 2), [0, 1]);
  assert.equal(batch.select(condition).rows, batch.select(condition).rows, "they are made once");
  batch.load([{ n: 3 }, { n: 0 }] as never);
  assert.deepEqual([...batch.select(condition).rows].slice(0, 2), [1, 0]);
});
