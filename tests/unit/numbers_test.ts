import assert from "node:assert/strict";
import fc from "fast-check";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { digitsOf, normalNumber, parseVerbatim, setDigits } from "../../pipeline/numbers.ts";
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
