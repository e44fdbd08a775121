import assert from "node:assert/strict";
import { verbatim } from "../../vocabulary/messages.ts";
import { higher, notePosition } from "../../pipeline/sources/modules/positions.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import { type RecordBatch, Unreadable } from "../../pipeline/sources/source.ts";

Deno.test("of two positions the higher is the larger number, the later moment, else the later text; times before numbers before texts", () => {
  const lowToHigh = [
    ["a", "b", "pending"],
    ["-10", "-9.5", "-9.45", "-0.5", "0", "0.25", "0.5", "9", "10", "10.05", "10.5"],
    ["12345678901234567890", "12345678901234567891", "12345678901234567891.1"],
    ["2026-01-01", "2026-01-01T00:00:01Z", "2026-01-01 00:00:02", "2026-01-01T01:00:03+01:00"],
    ["2026-01-01T10:00:00+02:00", "2026-01-01T08:30:00Z", "2026-01-01T08:45"],
    // a moment of its own for each of a second's billionths
    ["2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00.123457Z"],
    ["zzz", "-1", "2001-01-01"],
  ];
  for (const row of lowToHigh) {
    for (const [i, low] of row.entries()) {
      for (const high of row.slice(i + 1)) {
        assert.equal(higher(low, high), high, `${low} < ${high}`);
        assert.equal(higher(high, low), high, `${high} > ${low}`);
      }
      assert.equal(higher(low, undefined), low);
      assert.equal(higher(undefined, low), low);
    }
  }
});

Deno.test("a time without an offset is one of UTC, wherever the server is", () => {
  const zone = Deno.env.get("TZ");
  Deno.env.set("TZ", "Asia/Tokyo");
  try {
    assert.equal(new Date("2026-01-01T00:00:00").toISOString(), "2025-12-31T15:00:00.000Z");
    const [utc, earlier] = ["2026-01-01T00:00:00", "2025-12-31T23:00:00Z"];
    assert.equal(higher(utc, earlier), utc);
    assert.equal(higher("2026-01-01", "2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
  } finally {
    if (zone === undefined) Deno.env.delete("TZ");
    else Deno.env.set("TZ", zone);
  }
});

Deno.test("the position of a batch is its highest value with every digit; what is ahead of the clock is counted, with its first example", () => {
  const now = Date.parse("2026-01-10T12:00:00Z");
  const noted = (records: unknown[], field = "at") => {
    const batch = records as RecordBatch;
    notePosition(batch, field, now);
    return [batch.position, batch.noPositions?.records, batch.noPositions?.example];
  };
  const none = [undefined, undefined];
  assert.deepEqual(noted([]), [undefined, ...none]);
  assert.deepEqual(noted([{ at: 9 }, { at: 10 }, { at: null }, {}, { at: true }]), ["10", ...none]);
  const nested = [{ a: { at: 1 } }, { a: null }, { a: 5 }, { a: { at: 12345678901234567890n } }];
  assert.deepEqual(noted(nested, "a.at"), ["12345678901234567890", ...none]);
  const digits = parseJson('[{"at": 0.10000000000000000001}, {"at": 0.1}]') as unknown[];
  assert.deepEqual(noted(digits), ["0.10000000000000000001", ...none]);
  const unread = new Unreadable("json_syntax", verbatim("not valid JSON"), "99");
  assert.deepEqual(noted([unread, { raw: "1" }], "raw"), ["1", ...none], "what was not read");
  // half a day ahead at most, as a time without a zone may be of any; one that has a zone is not ahead at all
  const ahead = [
    "2026-01-11T02:00:01",
    "9999-12-31",
    "2026-01-11T01:59:59",
    "2026-01-11T02:30:00+02:00",
    "2026-01-10T12:00:30Z",
  ];
  assert.deepEqual(noted(ahead.map((at) => ({ at }))), [
    "2026-01-11T01:59:59",
    3,
    "2026-01-11T02:00:01",
  ]);
  assert.deepEqual(noted([{ at: "2026-01-10T12:00:30Z" }, { at: "2026-01-10T12:00:00Z" }]), [
    "2026-01-10T12:00:00Z",
    ...none,
  ]);
});
