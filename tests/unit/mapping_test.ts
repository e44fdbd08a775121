import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldReader, fieldTextReader, identify, parsePath } from "../../pipeline/field_path.ts";
import {
  compileMapping,
  countKeyTypes,
  keyTypesWarnings,
  type MappingConf,
  RowError,
} from "../../pipeline/mapping.ts";
import { setDigits } from "../../pipeline/numbers.ts";
import { type SourceRecord, Unreadable } from "../../pipeline/sources/source.ts";
import { verbatim } from "../../vocabulary/messages.ts";

function refused(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof RowError) return error.rule;
    throw error;
  }
  return "nothing thrown";
}

Deno.test("fieldReader() reads nested fields, array positions and names with dots", () => {
  const record: SourceRecord = { a: { b: [{ c: 1 }] }, "a.b": 2, n: null };
  assert.deepEqual(parsePath("a\\.b.c"), ["a.b", "c"]);
  assert.deepEqual(parsePath("a\\.b\\.c.d\\.e"), ["a.b.c", "d.e"]);
  assert.equal(fieldReader("a.b.0.c")(record), 1);
  assert.equal(fieldReader("a\\.b")(record), 2);
  assert.equal(fieldReader("n.x")(record), undefined);
  assert.equal(fieldReader("a.b.9")(record), undefined);
});

Deno.test("fieldReader() does not read what a record inherits", () => {
  for (const path of ["__proto__", "constructor", "toString", "a.constructor", "a.__proto__.x"]) {
    assert.equal(fieldReader(path)({ a: {} }), undefined, path);
  }
  assert.equal(fieldReader("__proto__")(JSON.parse('{"__proto__":"own"}')), "own");
  assert.equal(fieldReader("list.length")({ list: [1, 2] }), undefined);
});

Deno.test("fieldTextReader() gives the digits that were read, of a field in objects whose names have dots, too", () => {
  const inner = { code: 1.1 };
  setDigits(inner, "code", "1.10");
  const values = { code: 1.1 };
  setDigits(values, "code", "1.10", { byValue: true });
  const record: SourceRecord = { "a.b": { "c.d": inner }, values, list: [{ x: 2.5 }], t: "x" };
  const [text, key] = [false, true].map((asKey) => (path: string) =>
    fieldTextReader(path, { asKey })(record)
  );
  assert.equal(text!("a\\.b.c\\.d.code"), "1.10");
  assert.equal(key!("a\\.b.c\\.d.code"), "1.10");
  assert.deepEqual([text!("values.code"), key!("values.code")], ["1.10", "1.1"]);
  assert.deepEqual([text!("list.0.x"), text!("t"), text!("no.such")], ["2.5", "x", undefined]);
});

Deno.test("identify(): columns that are all part of the key, or any where the whole record is the key", () => {
  assert.equal(identify(["a"], undefined), true);
  assert.equal(identify(["a"], "a"), true);
  assert.equal(identify(["a", "b"], ["b", "c", "a"]), true);
  assert.equal(identify(["a", "b"], ["a"]), false);
  assert.equal(identify(["b"], ["a"]), false);
  assert.equal(identify(["a"], "a.b"), false, "a part of it is not the column");
  assert.equal(identify(["a.b"], "a\\.b"), true);
});

Deno.test("mappings of equal confs are one, so that they are compiled once; of others they are not", () => {
  const confs: MappingConf[] = [
    {},
    { key: "id" },
    { key: ["id"] },
    { key: "id", version: "at" },
    { key: "id", version: "at", history: true },
    { key: "id", occurred_at: "at" },
    { key: "id", occurred_at: { field: "at", format: "epoch_s" } },
    { key: "id", event_type: "sale" },
    { key: "id", event_type: { field: "sale" } },
    { key: "id", deleted: { field: "op", equals: "D" } },
    { key: "id", deleted: { field: "op", equals: null } },
  ];
  const mappings = confs.map(compileMapping);
  assert.equal(new Set(mappings).size, confs.length);
  assert.deepEqual(confs.map((conf) => compileMapping({ ...conf })), mappings);
  assert.equal(compileMapping({ ...confs[4]! }), mappings[4]);
  for (let i = 0; i < 100; i++) compileMapping({ key: `other${i}` });
  assert.notEqual(compileMapping(confs[4]!), mappings[4], "kept for ever");
});

Deno.test("eventId of one field is its text; numbers keep every digit", () => {
  const eventId = compileMapping({ key: "id" }).eventId!;
  assert.equal(eventId({ id: "a|b" }), "a|b");
  assert.equal(eventId({ id: 9007199254740993n }), "9007199254740993");
  assert.equal(eventId({ id: 1.5 }), "1.5");
  assert.equal(eventId({ id: false }), "false");
});

Deno.test("eventId refuses what identifies nothing", () => {
  const eventId = compileMapping({ key: "id" }).eventId!;
  assert.equal(refused(() => eventId({})), "key_missing");
  assert.equal(refused(() => eventId({ id: null })), "key_missing");
  assert.equal(refused(() => eventId({ id: "" })), "key_missing");
  assert.equal(refused(() => eventId({ id: {} })), "key_type");
  assert.equal(refused(() => eventId({ id: ["a"] })), "key_type");
});

Deno.test("eventId of several fields: other values give another id", () => {
  const eventId = compileMapping({ key: ["a", "b"] }).eventId!;
  const part = fc.string({ unit: fc.constantFrom("|", "\\", "a"), minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(part, part, part, part, (a, b, c, d) => {
      const same = a === c && b === d;
      assert.equal(eventId({ a, b }) === eventId({ a: c, b: d }), same);
    }),
    {
      numRuns: 5000,
      examples: [["a|a", "a", "a", "a|a"], ["a\\", "a", "a", "\\a"], ["\\", "|a", "\\|", "a"]],
    },
  );
});

Deno.test("eventType is a literal, or a field that must hold text, a number or a boolean", () => {
  assert.equal(compileMapping({}).eventType({}), "record");
  assert.equal(compileMapping({ event_type: "sale" }).eventType({}), "sale");
  const { eventType } = compileMapping({ event_type: { field: "t" } });
  assert.equal(eventType({ t: "  sale " }), "sale");
  assert.equal(eventType({ t: 404 }), "404");
  for (const t of [undefined, null, "", "  ", {}, []]) {
    assert.equal(refused(() => eventType({ t } as SourceRecord)), "event_type_missing");
  }
});

Deno.test("occurredAt is null without a field, and refuses what is no time", () => {
  assert.equal(compileMapping({}).occurredAt({ at: "x" }), null);
  const { occurredAt } = compileMapping({ occurred_at: "at" });
  assert.equal(occurredAt({ at: "2026-01-01" }), "2026-01-01T00:00:00Z");
  assert.equal(refused(() => occurredAt({ at: "2026-02-30" })), "occurred_at_invalid");
  assert.equal(refused(() => occurredAt({ at: 0 })), "occurred_at_invalid");
  // of a day that is written in another order it says what to do
  assert.throws(
    () => occurredAt({ at: "31/12/2026 10:00" }),
    /source\.columns .*"format": "%d\/%m\/%Y"/,
  );
  assert.equal(refused(() => occurredAt({ at: "" })), "occurred_at_missing");
  assert.equal(refused(() => occurredAt({})), "occurred_at_missing");
});

Deno.test("occurredAt keeps the microseconds of an epoch that a double does not hold", () => {
  for (
    const [text, at] of [
      ["1700000000.123456789", "2023-11-14T22:13:20.123456Z"],
      ["253402300799.999999", "9999-12-31T23:59:59.999999Z"],
      ["-9000000000.1234567", "1684-10-19T07:59:59.876543Z"],
    ] as const
  ) {
    const record: SourceRecord = { at: Number(text) };
    setDigits(record, "at", text);
    const { occurredAt } = compileMapping({ occurred_at: { field: "at", format: "epoch_s" } });
    assert.equal(occurredAt(record), at);
  }
  const { occurredAt } = compileMapping({ occurred_at: { field: "at", format: "epoch_ms" } });
  assert.equal(occurredAt({ at: 1e-7 }), "1970-01-01T00:00:00Z");
});

Deno.test("version is a number or a time, as decimal text", () => {
  assert.equal(compileMapping({}).version({ v: 1 }), null);
  const { version } = compileMapping({ version: "v" });
  assert.equal(version({ v: 9007199254740993n }), "9007199254740993");
  assert.equal(version({ v: "12345678901234567890.25" }), "12345678901234567890.25");
  assert.equal(version({ v: "1970-01-01T00:00:01.5Z" }), "1.5");
  // of two times within a microsecond one is the newer
  assert.equal(version({ v: "1970-01-01T00:00:01.123456789Z" }), "1.123456789");
  assert.equal(version({ v: "1969-12-31T23:59:58.999999999Z" }), "-1.000000001");
  for (const v of ["", "v2", "1e5", null, true, {}, "NaN", "Infinity"]) {
    assert.equal(refused(() => version({ v } as SourceRecord)), "version_invalid", String(v));
  }
});

Deno.test("key fields that are numbers or booleans here and texts of them there are told of, over all chunks", () => {
  const none = { numbers: 0, numberTexts: 0, booleans: 0, booleanTexts: 0 };
  const told = (...chunks: Partial<typeof none>[]) =>
    keyTypesWarnings(["a"], chunks.map((each) => [{ ...none, ...each }])).length;
  assert.equal(told({ numbers: 1 }, { numberTexts: 1 }), 1);
  assert.equal(told({ booleans: 1 }, { booleanTexts: 1 }), 1);
  assert.equal(told({ booleans: 1, numberTexts: 1 }, { numbers: 0 }), 0);
  assert.equal(told({ numbers: 1, booleanTexts: 1 }), 0);
  const mapping = compileMapping({ key: ["a", "b"] });
  const numbers = [1, -2.5, 3n, "7", "-0.5", "0"];
  const others = ["07", "1.0", "1e3", "-", "", "x", "+1", null];
  const records = [...numbers, ...others, true, "true", "false", "True"].map((a) => ({
    a,
    b: "x",
  }));
  const first = countKeyTypes(mapping, [...records, new Unreadable("type", verbatim("?"), "")]);
  assert.deepEqual(first, [{ numbers: 3, numberTexts: 3, booleans: 1, booleanTexts: 2 }, none]);
  const more = countKeyTypes(mapping, [{ a: 1, b: 1 }], first);
  assert.deepEqual(more.map((each) => each.numbers), [4, 1]);
});
