import assert from "node:assert/strict";
import fc from "fast-check";
import { Canonicalizer, unstorable } from "../../pipeline/canonical.ts";
import type { Json } from "../../pipeline/sources/source.ts";

/** RFC 8785 with exact integers, written as plainly as possible. */
function plainly(value: Json): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(plainly).join(",")}]`;
  const keys = Object.keys(value).sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
  return `{${keys.map((key) => `${JSON.stringify(key)}:${plainly(value[key]!)}`).join(",")}}`;
}

/** Any 16-bit units, halves of surrogate pairs included. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.constantFrom("__proto__", "constructor", "1", "10", "", "\u0000", '"\\', "\ud800"),
);

const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }),
    anyText,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(anyText, tie("value")), { maxLength: 5 }).map(fromEntries),
  ),
})).value;

/** Like JSON.parse, `__proto__` becomes a key like any other. */
function fromEntries(entries: [string, Json][]): Json {
  const object = {};
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return object;
}

function reversed(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(reversed);
  return fromEntries(
    Object.entries(value).reverse().map(([key, member]) => [key, reversed(member)]),
  );
}

Deno.test("canonical JSON is what a plain implementation gives, whatever was seen before", () => {
  // one instance for all: remembered shapes must never show
  const canonical = new Canonicalizer();
  fc.assert(
    fc.property(json, (value) => assert.equal(canonical.text(value), plainly(value))),
    { numRuns: 2000 },
  );
});

Deno.test("canonical JSON does not depend on the order of keys", () => {
  const canonical = new Canonicalizer();
  fc.assert(
    fc.property(json, (value) => {
      assert.equal(canonical.text(reversed(value)), canonical.text(value));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("canonical JSON reads back as the same value", () => {
  const canonical = new Canonicalizer();
  const withoutBigints = json.filter((value) => !/\d{16}/.test(plainly(value)));
  fc.assert(
    fc.property(withoutBigints, (value) => {
      const text = canonical.text(value);
      assert.equal(canonical.text(JSON.parse(text)), text);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("canonical JSON keeps every digit of integers and the shortest form of doubles", () => {
  const canonical = new Canonicalizer();
  const text = (value: Json) => canonical.text(value);
  assert.equal(text(9007199254740993n), "9007199254740993");
  assert.equal(text(-(10n ** 30n)), "-1" + "0".repeat(30));
  assert.equal(
    text([0, -0, 1.0, 0.1 + 0.2, 1e21, 5e-324]),
    "[0,0,1,0.30000000000000004,1e+21,5e-324]",
  );
});

Deno.test("canonical JSON sorts by UTF-16 code units, not by code points or as numbers", () => {
  const text = new Canonicalizer().text({ "\ufb33": 1, "\u{1f600}": 2, "10": 3, "9": 4, "": 5 });
  assert.equal(text, '{"":5,"10":3,"9":4,"\u{1f600}":2,"\ufb33":1}');
});

Deno.test("canonical JSON refuses what JSON does not have", () => {
  const canonical = new Canonicalizer();
  const refused: unknown[] = [
    undefined,
    NaN,
    Infinity,
    () => 1,
    Symbol("s"),
    new Date(0),
    new Map([["a", 1]]),
    Promise.resolve(1),
    { a: undefined },
    { a: 1, b: NaN, c: 1 },
    { a: 1, b: -Infinity },
    [undefined],
  ];
  for (const value of refused) {
    // an object of these names may be one that is written in a quicker way
    canonical.text({ a: 1, b: 2, c: 3 });
    assert.throws(() => canonical.text(value as Json), TypeError, String(value));
  }
  assert.equal(canonical.text(Object.create(null)), "{}");
});

Deno.test("canonical JSON refuses what jsonb cannot hold: deep nesting, endless digits", () => {
  const canonical = new Canonicalizer();
  const nested = (levels: number): Json => JSON.parse("[".repeat(levels) + "]".repeat(levels));
  assert.equal(canonical.text(nested(1000)).length, 2000);
  assert.throws(() => canonical.text(nested(1001)), /nested deeper than 1000 levels/);
  assert.equal(canonical.text(10n ** 131_071n).length, 131_072);
  assert.equal(canonical.text(-(10n ** 131_071n)).length, 131_073);
  assert.throws(() => canonical.text(10n ** 131_072n), /more than 131072 digits/);
});

Deno.test("unstorable() finds NUL and halves of surrogate pairs, and nothing else", () => {
  const canonical = new Canonicalizer();
  fc.assert(
    fc.property(anyText, fc.boolean(), (text, asKey) => {
      const found = unstorable(canonical.text(asKey ? { [text]: 1 } : [text]));
      const nul = text.includes("\u0000");
      const half = !text.isWellFormed();
      if (nul || half) assert.ok(found !== null && (nul || found === "surrogate"), found ?? "null");
      else assert.equal(found, null);
    }),
    { numRuns: 2000 },
  );
  assert.equal(unstorable(canonical.text("\\u0000 and \\\\ud800 as text")), null);
});

Deno.test("an object of more than 10,000 names is refused, in whatever depth", () => {
  const wide = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));
  assert.match(new Canonicalizer().text({ a: [wide(10_000)] }), /"k9999":9999/);
  assert.throws(
    () => new Canonicalizer().text({ a: [wide(10_001)] }),
    /10001 names; the limit is 10000/,
  );
});
