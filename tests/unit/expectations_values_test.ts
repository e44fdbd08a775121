import assert from "node:assert/strict";
import fc from "fast-check";
import {
  codePointLength,
  compareText,
  equalityKey,
  pythonText,
  shown,
} from "../../pipeline/expectations/python.ts";
import { compileStrptime } from "../../pipeline/strptime.ts";
import { hashValue } from "../../pipeline/expectations/distinct.ts";
import { Problem } from "../../vocabulary/problem.ts";

Deno.test("compareText() orders by code point", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
    const x = [...a].map((c) => c.codePointAt(0)!);
    const y = [...b].map((c) => c.codePointAt(0)!);
    const i = x.findIndex((code, k) => code !== y[k]);
    const expected = i < 0 ? x.length - y.length : i >= y.length ? 1 : x[i]! - y[i]!;
    assert.equal(Math.sign(compareText(a, b)), Math.sign(expected));
  }));
  // by UTF-16 unit, U+10000 would come before U+FFFF
  assert.ok(compareText("\u{10000}", "\uffff") > 0);
  assert.ok(compareText("\uffff", "\u{10000}") < 0);
});

Deno.test("codePointLength() counts what Python counts", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.equal(codePointLength(text), [...text].length);
  }));
});

Deno.test("pythonText() writes values as Python's str() does", () => {
  assert.equal(pythonText(1e16), "1e+16");
  assert.equal(pythonText(123456.75), "123456.75");
  assert.equal(pythonText(0.00001), "1e-05");
  // an integer that a double holds exactly is one, what it only may hold was read as a float
  assert.equal(pythonText(3), "3");
  assert.equal(pythonText(2 ** 53), "9007199254740992.0");
  assert.equal(pythonText(true), "True");
  assert.equal(pythonText(2n ** 70n), "1180591620717411303424");
  assert.equal(
    pythonText({ a: [1, null, "it's", 'say "x"', "both '\""], é: "\n\u00a0\u200b" }),
    `{'a': [1, None, "it's", 'say "x"', 'both \\'"'], 'é': '\\n\\xa0\\u200b'}`,
  );
});

Deno.test("equalityKey() makes one of what Python says is equal", () => {
  assert.equal(equalityKey(true), equalityKey(1));
  assert.equal(equalityKey(-0), equalityKey(0));
  assert.equal(equalityKey(5n), equalityKey(5));
  assert.equal(equalityKey(10n ** 20n), equalityKey(1e20));
  assert.notEqual(equalityKey(2n ** 60n), equalityKey(2n ** 60n + 1n));
  assert.notEqual(equalityKey("1"), equalityKey(1));
  assert.equal(equalityKey([1]), undefined);
});

Deno.test("hashValue() differs for values that differ and not for equal ones", () => {
  const hash = (value: unknown): string => hashValue(value).join();
  const seen = new Map<string, unknown>();
  for (let i = 0; i < 20_000; i++) {
    for (const value of [i, String(i), i / 7, -i, `x${i}`, [i], { i }, [String(i)]]) {
      const key = hash(value);
      const known = seen.get(key);
      assert.ok(
        known === undefined || known === value || (known === 0 && i === 0),
        `${known} ${value}`,
      );
      seen.set(key, value);
    }
  }
  assert.equal(hash({ a: 1, b: [2] }), hash({ b: [2], a: true }));
  assert.equal(hash(7n), hash(7));
  const digits = String(2n ** 70n + 1n);
  assert.notEqual(hash(BigInt(digits)), hash(digits));
});

Deno.test("hashValue() spreads every word, also for values that hardly differ", () => {
  for (let word = 0; word < 4; word++) {
    const buckets = new Array<number>(64).fill(0);
    for (let i = 0; i < 64_000; i++) {
      buckets[hashValue(`evt-0-${String(i).padStart(10, "0")}`)[word]! & 63]!++;
      buckets[hashValue(i)[word]! >>> 26]!++;
    }
    for (const n of buckets) assert.ok(n > 1_700 && n < 2_300, `${n} of 2000 in word ${word}`);
  }
});

Deno.test("compileStrptime() knows dates that are none", () => {
  const day = compileStrptime("%Y-%m-%d");
  assert.deepEqual(
    ["2024-02-29", "2023-02-29", "2024-2-9", "2024-13-01", "2024-02-29 ", ""].map(day),
    [true, false, true, false, false, false],
  );
  const time = compileStrptime("%d/%b/%Y %I:%M:%S.%f %p %z");
  assert.equal(time("03/Feb/2024 11:59:59.123 PM +01:00"), true);
  assert.equal(time("03/feb/2024   1:59:59.123 am Z"), true);
  assert.equal(time("03/Foo/2024 11:59:59.123 PM +01:00"), false);
  assert.equal(time("03/feb/2024   1:59:59.123 am z"), false);
  assert.equal(time("03/feb/2024 1:59:59.123 am +2400"), false);
  assert.equal(day("２０２４-02-29"), true);
  assert.equal(compileStrptime("%b %d %j")("Feb 30 045"), true);
  assert.equal(compileStrptime("%Y %j")("9999 366"), false);
  assert.throws(() => compileStrptime("%Q"), Problem);
  assert.throws(() => compileStrptime("%Y %Y"), Problem);
});

Deno.test("shown() is plain JSON of bounded size", () => {
  assert.equal(shown("x".repeat(1_000)), "x".repeat(1_000));
  assert.equal(shown("x".repeat(1_001)), "x".repeat(1_000) + "…");
  fc.assert(
    fc.property(fc.anything({ withBigInt: true }), (value) => {
      if (typeof value === "symbol" || typeof value === "function") return;
      assert.ok((JSON.stringify(shown(value)) ?? "").length < 10_000);
    }),
    { numRuns: 300 },
  );
});
