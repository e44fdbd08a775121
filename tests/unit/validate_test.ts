import { verbatim } from "../../vocabulary/messages.ts";
import assert from "node:assert/strict";
import { validateBatch } from "../../pipeline/stages/validate.ts";
import { Transformer } from "../../pipeline/stages/transform.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";

function rulesOf(records: SourceRecord[], maxPayloadBytes = 1 << 20): (string | null)[] {
  const mapping = { key: "id", event_type: { field: "t" }, version: "v" };
  const { events } = new Transformer({ mapping, sourceName: "s" }).batch(
    records.map((record) => ({ t: "t", v: 1, ...record })),
    0,
  );
  assert.equal(events.length, records.length);
  const { valid, rejected } = validateBatch(events, { maxPayloadBytes });
  assert.equal(valid.length + rejected.length, records.length);
  return records.map((_, i) => rejected.find(({ position }) => position === i)?.rule ?? null);
}

Deno.test("validate: what PostgreSQL cannot store is rejected wherever it stands", () => {
  assert.deepEqual(
    rulesOf([
      { id: "a\u0000" },
      { id: "a", x: "\u0000" },
      { id: "a", "\u0000": 1 },
      { id: "a", t: "\u0000t" },
      { id: "a", x: ["\ud800"] },
      { id: "\udfff" },
      { id: "a", x: "\\u0000", y: "\u{1f600}", z: "\u0001" },
    ]),
    [
      "nul_character",
      "nul_character",
      "nul_character",
      "nul_character",
      "unicode",
      "unicode",
      null,
    ],
  );
});

Deno.test("validate: keys, types, versions and payloads have their limits, in bytes where bytes count", () => {
  assert.deepEqual(
    rulesOf([
      { id: "a".repeat(2000) },
      { id: "a".repeat(2001) },
      { id: "é".repeat(1000) },
      { id: "é".repeat(1001) },
      { id: "a", t: "t".repeat(200) },
      { id: "a", t: "t".repeat(201) },
      { id: "a", v: 10n ** 199n },
      { id: "a", v: 10n ** 200n },
    ]),
    [
      null,
      "key_too_long",
      null,
      "key_too_long",
      null,
      "event_type_too_long",
      null,
      "version_invalid",
    ],
  );
  const size = '{"id":"a","t":"t","v":1,"x":""}'.length;
  assert.deepEqual(rulesOf([{ id: "a", x: "é".repeat(20) }], size + 40), [null]);
  assert.deepEqual(rulesOf([{ id: "a", x: "é".repeat(20) }], size + 39), ["payload_too_large"]);
});

Deno.test("validate: a further check of the payload rejects with its own rule and the record as read", () => {
  const { events } = new Transformer({ mapping: { key: "id" }, sourceName: "s" }).batch([
    { id: 1 },
    { id: 2 },
  ], 0);
  const { valid, rejected } = validateBatch(events, {
    maxPayloadBytes: 1000,
    checks: [({ id }) => id === 1 ? { rule: "odd", message: verbatim("is odd") } : null],
  });
  assert.deepEqual(valid.map(({ eventId }) => eventId), ["2"]);
  assert.deepEqual(rejected, [
    {
      position: 0,
      output: 0,
      rule: "odd",
      message: "is odd",
      field: null,
      raw: '{"id":1}',
      key: "1",
    },
  ]);
});
