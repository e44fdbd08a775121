import assert from "node:assert/strict";
import fc from "fast-check";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import {
  areByValue,
  digitsOf,
  ExactNumber,
  exactNumber,
  jsonText,
  listOf,
  normalNumber,
  numberKey,
  parseVerbatim,
  put,
  setDigits,
} from "../../pipeline/numbers.ts";
import { parseJsonExactly } from "../../pipeline/sources/json_text.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { Transformer, type TransformFunction } from "../../pipeline/stages/transform.ts";

/** A record as a source gives it: numbers as doubles, their digits beside them. */
function read(digits: Record<string, string>): SourceRecord {
  const record: SourceRecord = {};
  for (const [name, text] of Object.entries(digits)) {
    record[name] = Number(text);
    if (`${record[name]}` !== text) setDigits(record, name, text);
  }
  return record;
}

/** The payload that a transform makes of a record, and its key. */
function transformed(record: SourceRecord, transform: TransformFunction, key = "code") {
  const { events, rejected } = new Transformer({ mapping: { key }, sourceName: "s", transform })
    .batch([record], 0);
  assert.deepEqual(rejected, []);
  return { text: events[0]!.text, key: events[0]!.eventId };
}

Deno.test("canonical JSON has the digits that were read, unless the number has changed", () => {
  const record = read({ a: "19.90", b: "123456789012345678901234567.89", c: "1.5" });
  const canonical = new Canonicalizer();
  assert.equal(
    canonical.text(record),
    '{"a":19.90,"b":123456789012345678901234567.89,"c":1.5}',
  );
  record.a = (record.a as number) * 2;
  assert.equal(
    canonical.text(record),
    '{"a":39.8,"b":123456789012345678901234567.89,"c":1.5}',
  );
  const list = [1.1, 2];
  setDigits(list, "0", "1.10");
  assert.equal(canonical.text({ list }), '{"list":[1.10,2]}');
});

Deno.test("a transform calculates with numbers; what it leaves alone keeps its digits, renamed too", () => {
  const record = () => read({ code: "1.10", price: "19.90", big: "12345678901234567.89" });
  assert.deepEqual(transformed(record(), (r) => ({ ...r, total: (r.price as number) * 2 })), {
    text: '{"big":12345678901234567.89,"code":1.10,"price":19.90,"total":39.8}',
    key: "1.10",
  });
  // a copy that knows nothing of symbols, as it comes back from another thread
  assert.deepEqual(
    transformed(
      record(),
      (r) => JSON.parse(JSON.stringify({ id: r.code, nested: { b: r.big } })),
      "id",
    ),
    { text: '{"id":1.10,"nested":{"b":12345678901234567.89}}', key: "1.10" },
  );
  assert.deepEqual(
    transformed(record(), (r) => {
      r.id = r.code!;
      delete r.code;
      return r;
    }, "id"),
    { text: '{"big":12345678901234567.89,"id":1.10,"price":19.90}', key: "1.10" },
  );
});

Deno.test("a number that two fields write differently keeps its digits in its own field only", () => {
  const record = read({ code: "1.10", other: "1.1" });
  assert.equal(
    transformed(record, (r) => ({ code: r.code!, other: r.other!, third: r.other! })).text,
    '{"code":1.10,"other":1.1,"third":1.1}',
  );
  const turned = read({ other: "1.1", code: "1.10" });
  assert.equal(
    transformed(turned, (r) => ({ code: r.code!, other: r.other!, third: r.other! })).text,
    '{"code":1.10,"other":1.1,"third":1.1}',
    "whichever comes first",
  );
});

Deno.test("parseVerbatim() reads JSON so that it is written as it was", () => {
  const text = '{"a":[1.10,{"b":19.90}],"c":123456789012345678901234567890,"d":1.5}';
  assert.equal(new Canonicalizer().text(parseVerbatim(text)), text);
});

Deno.test("parseJsonExactly() says the value of each number, with digits where a double has others", () => {
  const digits = fc.stringMatching(/^[0-9]{0,12}0{0,3}[0-9]{0,12}0{0,6}$/);
  const number = fc.tuple(
    fc.boolean(),
    digits,
    fc.option(digits),
    fc.option(fc.integer({ min: -30, max: 30 })),
  )
    .map(([minus, whole, part, power]) =>
      (minus ? "-" : "") + (whole.replace(/^0+(?=.)/, "") || "0") + (part ? `.${part}` : "") +
      (power === null ? "" : `e${power}`)
    );
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 5_000 }), (texts) => {
      const values = parseJsonExactly(`[${texts.join(",")}]`) as (number | bigint)[];
      texts.forEach((text, i) => {
        const said = normalNumber(text);
        const value = values[i]!;
        if (typeof value === "bigint") assert.equal(normalNumber(`${value}`), said);
        else {
          assert.equal(value, Number(text));
          assert.equal(normalNumber(digitsOf(values)?.[i] ?? `${value}`), said, text);
        }
      });
    }),
    { numRuns: 200 },
  );
});

Deno.test("exactNumber() is a double where that prints the same value, else has every digit; what is no number stays text", () => {
  const cases: [text: string, value: unknown][] = [
    ["12", 12],
    ["-0", 0],
    ["-0.0", 0],
    [`-0.${"0".repeat(20)}`, 0],
    ["007", 7],
    ["1.10", 1.1],
    [`0.1${"0".repeat(20)}`, 0.1],
    ["12345678901234.5", 12345678901234.5],
    ["9007199254740991", 9007199254740991],
    ["9007199254740992", 9007199254740992n],
    ["-9007199254740993", -9007199254740993n],
    ["9".repeat(1_000), BigInt("9".repeat(1_000))],
    ["9".repeat(1_001), "9".repeat(1_001)],
    [`0.${"3".repeat(999)}`, `0.${"3".repeat(999)}`],
    ...["NaN", "Infinity", "-Infinity", "", ".5", "5.", "+5", "1e5", "0x10", "1\n"]
      .map((text): [string, unknown] => [text, text]),
  ];
  for (const [text, value] of cases) {
    // deepEqual tells -0 from 0
    assert.deepEqual(exactNumber(text), value, text.slice(0, 40));
  }
  for (const text of ["9007199254740.993", "0.1234567890123456789", "-12345678901234567.89"]) {
    assert.deepEqual(exactNumber(text), new ExactNumber(text));
  }
});

Deno.test("put() and listOf() keep the digits of a number under any name, '__proto__' too", () => {
  const exact = () => new ExactNumber("0.1234567890123456789");
  const record: SourceRecord = {};
  put(record, "a", exact());
  put(record, "__proto__", exact());
  put(record, "b", "x");
  put(record, "list", listOf([1, exact(), null]));
  const inner: SourceRecord = {};
  put(inner, "__proto__", { a: 1 });
  put(record, "inner", inner);
  assert.deepEqual(Object.keys(record), ["a", "__proto__", "b", "list", "inner"]);
  assert.equal(Object.getPrototypeOf(inner), Object.prototype);
  assert.equal(
    new Canonicalizer().text(record),
    '{"__proto__":0.1234567890123456789,"a":0.1234567890123456789,"b":"x",' +
      '"inner":{"__proto__":{"a":1}},"list":[1,0.1234567890123456789,null]}',
  );
  assert.deepEqual(listOf([1, "a"]), [1, "a"]);
});

Deno.test("a number has one text: without zeros that say nothing, with an exponent in the place of more than 40 zeros", () => {
  const zeros = (count: number) => "0".repeat(count);
  const forms: Record<string, string[]> = {
    "0": ["0", "-0", "0.0", "-0.00", "0e5", "-0e-5", "0.000e9"],
    "100": ["100", "1e2", "1E+2", "100.0", "10.00e1", "1000e-1"],
    "-15": ["-15", "-1.50e1", "-15.0"],
    "1.2": ["1.2", "1.200", "12e-1", "0.12e1", "120e-2"],
    "0.012": ["0.012", "12e-3", "0.0120", "1.2e-2"],
    [`1${zeros(40)}`]: [`1${zeros(40)}`, "1e40", "10e39", "0.1e41"],
    "1e+41": [`1${zeros(41)}`, "1e41", "1.0e+41", "10e40"],
    [`-15${zeros(40)}`]: ["-1.5e41", `-15${zeros(40)}.0`],
    "-1.5e+42": ["-1.5e42", `-15${zeros(41)}`, "-150e40"],
    [`0.${zeros(40)}1`]: ["1e-41", `0.${zeros(40)}10`, "0.1e-40"],
    "1e-42": ["1e-42", `0.${zeros(41)}1`, "10e-43"],
    "2.5e-43": ["2.5e-43", `0.${zeros(42)}25`],
    ["123456789".repeat(6)]: ["123456789".repeat(6), `${"123456789".repeat(6)}.0`],
  };
  for (const [one, others] of Object.entries(forms)) {
    for (const text of others) assert.equal(normalNumber(text), one, text);
  }
});

Deno.test("a number is a key as its text source writes it, of other sources by its value", () => {
  const holder = read({ code: "1.10", other: "1e21", moved: "1.50" });
  const values: SourceRecord = { code: 1.1, other: 1e21, big: 5 };
  setDigits(values, "code", "1.10", { byValue: true });
  assert.deepEqual([areByValue(holder), areByValue(values), areByValue({})], [false, true, false]);
  assert.equal(numberKey(1.1, holder, "code"), "1.10");
  assert.equal(numberKey(1.1, values, "code"), "1.1");
  assert.equal(numberKey(2.5, holder, "moved"), "2.5", "another number than the one read");
  assert.equal(numberKey(1e21, holder, "other"), "1e21");
  for (const one of [holder, values, {}]) {
    assert.equal(numberKey(1e21, one, "none"), "1000000000000000000000");
    assert.equal(numberKey(10n ** 21n, one, "none"), "1000000000000000000000");
  }
  // what a transform leaves alone is a key as before
  assert.equal(transformed({ ...holder }, (r) => ({ code: r.code! })).key, "1.10");
  assert.equal(transformed(values, (r) => ({ code: r.code! })).key, "1.1");
});

Deno.test("a transform's output has the digits of nested fields, each of its own, and may be frozen", () => {
  const record: SourceRecord = { a: read({ x: "1.10" }), b: read({ x: "1.1" }), list: [{ y: 1 }] };
  assert.equal(
    transformed(record, (r) => JSON.parse(JSON.stringify({ a: r.a, b: r.b })), "a.x").text,
    '{"a":{"x":1.10},"b":{"x":1.1}}',
  );
  assert.equal(
    transformed(read({ code: "1.10", price: "19.90" }), (r) => ({ ...r, price: r.code! })).text,
    '{"code":1.10,"price":1.10}',
    "of another field's number",
  );
  const nested: SourceRecord = { none: null, list: [null, "x", { price: read({ x: "19.90" }) }] };
  assert.equal(
    transformed(nested, (r) => JSON.parse(JSON.stringify({ id: 1, ...r })), "id").text,
    '{"id":1,"list":[null,"x",{"price":{"x":19.90}}],"none":null}',
  );
  assert.equal(
    transformed(read({ code: "1.10" }), (r) => Object.freeze({ code: r.code!, n: 1 })).text,
    '{"code":1.1,"n":1}',
  );
});

Deno.test("jsonText() has every digit of integers, at any depth, and indents as it is told", () => {
  const value = { a: 2n ** 60n, b: [-(2n ** 70n), 1.5, "1"] };
  assert.equal(
    jsonText(value),
    '{"a":1152921504606846976,"b":[-1180591620717411303424,1.5,"1"]}',
  );
  assert.equal(jsonText({ a: 1n }, 2), '{\n  "a": 1\n}');
});
