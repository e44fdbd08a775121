import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import {
  missingFieldsWarning,
  privacyOf,
  PrivateFields,
  refusePrivateKeys,
  withoutValues,
} from "../../pipeline/private_fields.ts";
import { cellsJson } from "../../pipeline/sources/columns.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import { type RecordBatch, type SourceRecord, Unreadable } from "../../pipeline/sources/source.ts";
import { verbatim } from "../../vocabulary/messages.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";

const SECRET = "s".repeat(32);
const h = (text: string) => createHmac("sha256", SECRET).update(text).digest("hex");

function left(text: string, exclude: string[], hash: string[] = []): string {
  const record = parseJson(text) as SourceRecord;
  const fields = new PrivateFields({ exclude, hash, hashed: [], secret: SECRET }, {});
  fields.batch([record]);
  return new Canonicalizer().text(record);
}

Deno.test("private fields are found by their paths: nested, in lists, by the name of a column with dots", () => {
  assert.equal(left(`{"a":1,"b":2}`, ["a"]), `{"b":2}`);
  assert.equal(left(`{"a":{"b":1,"c":2}}`, ["a.b"]), `{"a":{"c":2}}`);
  assert.equal(left(`{"a":[{"b":1,"c":2},{"b":3},4]}`, ["a.b"]), `{"a":[{"c":2},{},4]}`);
  assert.equal(left(`{"a":[{"b":1},{"b":3}]}`, ["a.1.b"]), `{"a":[{"b":1},{}]}`);
  assert.equal(left(`{"a":[1,2,3]}`, ["a.1"]), `{"a":[1,null,3]}`);
  assert.equal(left(`{"a.b":1,"c":2}`, ["a.b"]), `{"c":2}`);
  assert.equal(left(`{"a.b":1,"a":{"b":2}}`, ["a\\.b"]), `{"a":{"b":2}}`);
  assert.equal(left(`{"__proto__":1,"c":2}`, ["__proto__"]), `{"c":2}`);
  assert.equal(left(`{"c":19.9}`, ["constructor", "c.length"]), `{"c":19.9}`);
});

Deno.test("a private field that no record has is told of, and no other", () => {
  const privacy = { exclude: ["a", "x.y"], hash: ["b", "z"], hashed: [], secret: SECRET };
  const fields = new PrivateFields(privacy, {});
  fields.batch([{ a: 1 }, { b: 2 }]);
  const told = JSON.stringify(missingFieldsWarning(privacy, fields.found));
  assert.match(told, /No record has x\.y, z, which/);
  fields.batch([{ x: { y: 1 }, z: null }]);
  assert.deepEqual(missingFieldsWarning(privacy, fields.found), []);
  // in a replay hashes stand in their place already
  const replayed = { ...privacy, exclude: [], hashed: ["b", "z"] };
  assert.deepEqual(missingFieldsWarning(replayed, []), []);
});

Deno.test("what is wrong with a private field is told without its value, also where it holds one or is held by one", () => {
  const told = (path: string, field: string) => {
    const fields = new PrivateFields({ exclude: [path], hash: [], hashed: [], secret: null }, {});
    const records: RecordBatch = [
      new Unreadable("type", verbatim("x@y is no number"), '{"id":1}', field),
    ];
    fields.batch(records);
    return (records[0] as Unreadable).message;
  };
  for (const [path, field] of [["a", "a"], ["a.b", "a"], ["a", "a.b"]] as const) {
    assert.doesNotMatch(`${told(path, field)}`, /x@y/, `${field}, ${path} is private`);
  }
  assert.match(`${told("a", "ab")}`, /x@y/);
});

/** What is shown of a record, as the quarantine has it and as a replay reads it; without a record: as its source has it. */
function shown(
  { raw = null, record = null }: { raw?: string | null; record?: string | null },
  paths: string[],
  conf = {},
): [raw: string | null, record: string | null] {
  const privacy = { exclude: paths, hash: [], hashed: [], secret: null };
  const records: RecordBatch = [{}];
  records.origin = () => ({
    ...{ file: "a.csv", line: 2, record },
    raw: raw === null ? null : new TextEncoder().encode(raw),
  });
  new PrivateFields(privacy, conf).batch(records);
  const origin = records.origin!(0);
  assert.deepEqual([origin.file, origin.line], ["a.csv", 2]);
  return [origin.raw === null ? null : new TextDecoder().decode(origin.raw), origin.record];
}

Deno.test("of a record that is rejected all but its private fields is shown", () => {
  const json = `{"id":12345678901234567890,"who":{"mail":"x@y","n":1}}`;
  const without = `{"id":12345678901234567890,"who":{"n":1}}`;
  assert.deepEqual(shown({ raw: json }, ["who.mail"]), [without, null]);
  assert.deepEqual(shown({ record: json }, ["who.mail"]), [without, null]);
  assert.deepEqual(shown({}, ["who.mail"]), [null, null]);
  const kept = (bytes: number) => `"(${bytes} bytes, not kept: this dataset has private fields)"`;
  assert.deepEqual(shown({ raw: "mail=x@yé" }, ["mail"]), [kept(10), null]);
  assert.deepEqual(shown({ record: '["x@yé"]' }, ["mail"]), [kept(9), null]);
});

Deno.test("of a record of CSV that is rejected the other cells are shown as they stand, and none where a private one may hide", () => {
  const cells = (...all: [string, string][]) => ({
    raw: all.map(([, text]) => text).join(),
    record: cellsJson(all.map(([name]) => name), all.map(([, text]) => text)),
  });
  const row = cells(["id", "007"], ["mail", "x@y"], [
    "who",
    '{"mail":"z@y","n":12345678901234567890}',
  ]);
  for (
    const [paths, left] of [
      [["mail"], [["id", "007"], ["who", '{"mail":"z@y","n":12345678901234567890}']]],
      [["mail", "who.mail"], [["id", "007"], ["who", '{"n":12345678901234567890}']]],
      [["who.mail", "id.x", "mail"], null],
    ] as const
  ) {
    const [raw, record] = shown(row, [...paths]);
    if (left === null) {
      assert.match(raw!, /^"\(\d+ bytes, not kept/);
      assert.equal(record, null);
    } else {
      assert.equal(raw, JSON.stringify(Object.fromEntries(left)));
      assert.deepEqual(Object.values(JSON.parse(record!)), [left]);
    }
  }
  // what is no value hides none, and stands as it is
  for (const [text, conf] of [["", {}], ["n/a", { null_values: ["n/a"] }]] as const) {
    const [raw] = shown(cells(["who", text], ["id", "1"]), ["who.mail"], conf);
    assert.deepEqual(JSON.parse(raw!), { who: text, id: "1" });
  }
  // the name of a column may have dots
  assert.equal(shown(cells(["a.b", "x@y"], ["id", "1"]), ["a.b"])[0], '{"id":"1"}');
});

Deno.test("a hash is of the text that the value has as a key; null and empty texts stay", () => {
  const text =
    `{"a":42,"b":"42","c":19.90,"d":true,"e":null,"f":"","g":{"y":1,"x":2},"i":12345678901234567890}`;
  const hashes = JSON.parse(left(text, [], ["a", "b", "c", "d", "e", "f", "g", "i", "z"]));
  assert.deepEqual(hashes, {
    a: h("42"),
    b: h("42"),
    c: h("19.9"),
    d: h("true"),
    e: null,
    f: "",
    g: h(`{"x":2,"y":1}`),
    i: h("12345678901234567890"),
  });
});

Deno.test("a source is not read in parts by a private column, and what its server says of a value is not told", () => {
  const privacy = { exclude: [], hash: ["mail"], hashed: [], secret: SECRET };
  const told = (slice: unknown) => () => refusePrivateKeys(privacy, [slice]);
  assert.throws(told({ key: [{ name: "mail", type: "text" }] }), /in parts by mail/);
  assert.throws(told({ of: { key: ["id", "mail"] } }), /in parts by mail/);
  told({ key: ["id"] })();
  const problem = (code: string) =>
    new TerminalProblem("source-unreadable", {
      detail: 'a row cannot be read (invalid input syntax for type integer: "x@y")',
      cause: Object.assign(new Error(), { code }),
    });
  assert.match((withoutValues(problem("22P02")) as Problem).message, /type integer: "…"/);
  assert.match((withoutValues(problem("42703")) as Problem).message, /x@y/);
});

Deno.test("a dataset without private fields has none taken out; one that hashes needs the server's secret", () => {
  assert.equal(privacyOf({ exclude: [], hash: [] }, SECRET), null);
  assert.deepEqual(privacyOf({ exclude: ["a"], hash: [] }, SECRET), {
    exclude: ["a"],
    hash: [],
    hashed: [],
    secret: null,
  });
  assert.deepEqual(privacyOf({ exclude: [], hash: ["a"] }, SECRET, ["a"]), {
    exclude: [],
    hash: ["a"],
    hashed: ["a"],
    secret: SECRET,
  });
  assert.throws(
    () => privacyOf({ exclude: [], hash: ["a"] }, null),
    (error: Problem) => error.type === "invalid-conf" && error.errors[0]!.field === "hash",
  );
});
