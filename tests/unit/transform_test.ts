import { verbatim } from "../../vocabulary/messages.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Transformer, type TransformFunction } from "../../pipeline/stages/transform.ts";
import type { MappingConf } from "../../pipeline/mapping.ts";
import { packRecords, unpackEvents } from "../../pipeline/user_code/crossing.ts";
import { HostedTransform } from "../../pipeline/user_code/hosted_modules.ts";
import { type SourceRecord, Unreadable } from "../../pipeline/sources/source.ts";

/** The stage as a run has it: a module's function on the other side of the line to its host. */
function transformer(
  transform?: TransformFunction,
  mapping: MappingConf = { key: "id" },
): Pick<Transformer, "batch"> {
  const options = { mapping, sourceName: 'a"b' };
  if (transform === undefined) return new Transformer(options);
  const hosted = new HostedTransform({ transform }, options);
  return {
    batch(records, start) {
      const { packed, rejected: excluded } = packRecords(records, start);
      const answer = structuredClone(hosted.batch(structuredClone(packed), start));
      return unpackEvents(answer, { records, start, excluded });
    },
  };
}

const rules = (of: { rejected: { rule: string }[] }) => of.rejected.map(({ rule }) => rule);

Deno.test("transform: the fingerprint is the SHA-256 of the event's canonical JSON", () => {
  const { events } = transformer(undefined, {
    key: "id",
    event_type: { field: "t" },
    occurred_at: "at",
    version: "v",
  }).batch([{ v: 3, t: "x", id: "k", at: "2026-01-01T01:00:00+01:00" }], 7);
  const expected = '{"event_id":"k","event_type":"x","occurred_at":"2026-01-01T00:00:00Z",' +
    '"payload":{"at":"2026-01-01T01:00:00+01:00","id":"k","t":"x","v":3},"source":"a\\"b","version":3}';
  assert.equal(events[0]!.fingerprint, createHash("sha256").update(expected).digest("hex"));
  assert.equal(events[0]!.position, 7);
  assert.equal(events[0]!.raw, null);
});

Deno.test("transform: a record that could not be read is rejected where it stood", () => {
  const { rejected, events } = transformer().batch(
    [{ id: 1 }, new Unreadable("json_syntax", verbatim("line 2"), '{"a'), { id: 2 }],
    10,
  );
  assert.deepEqual(events.map(({ position }) => position), [10, 12]);
  const { position, rule, message, raw } = rejected[0]!;
  assert.deepEqual([position, rule, message, raw], [11, "json_syntax", verbatim("line 2"), '{"a']);
});

Deno.test("transform: null, undefined and an empty list drop a record; several outputs are extra", () => {
  const outputs: Record<string, unknown> = {
    a: null,
    b: undefined,
    c: [],
    d: { id: "d" },
    e: [{ id: "e1" }, { id: "e2" }, { id: "e3" }],
  };
  const records = Object.keys(outputs).map((id) => ({ id }));
  const batch = transformer((record) => outputs[record.id as string] as null).batch(records, 0);
  assert.deepEqual([batch.filtered, batch.extra, batch.rejected.length], [3, 2, 0]);
  assert.deepEqual(
    batch.events.map(({ position, output, eventId }) => [position, output, eventId]),
    [
      [3, 0, "d"],
      [4, 0, "e1"],
      [4, 1, "e2"],
      [4, 2, "e3"],
    ],
  );
});

Deno.test("transform: what a module throws or gives wrongly is quarantined with what was read", () => {
  const wrong: Record<string, (record: SourceRecord) => unknown> = {
    throws: (record) => {
      record.id = "changed";
      throw new Error("no such rate");
    },
    text: () => "text",
    list: () => [[1]],
    date: () => ({ id: "x", at: new Date(0) }),
    hole: () => ({ id: "x", at: undefined }),
    endless: function endless(record): unknown {
      return endless(record);
    },
  };
  const one = transformer((record) => wrong[record.id as string]!(record) as null);
  const batch = one.batch(Object.keys(wrong).map((id) => ({ id })), 0);
  assert.deepEqual(batch.events, []);
  assert.deepEqual(rules(batch), [
    "transform_error",
    "transform_output",
    "transform_output",
    "not_json",
    "not_json",
    "transform_error",
  ]);
  assert.deepEqual(
    batch.rejected.map(({ raw }) => raw),
    Object.keys(wrong).map((id) => `{"id":"${id}"}`),
  );
  assert.match(batch.rejected[0]!.message, /no such rate/);
});

Deno.test("transform: outputs of one record with the same key are quarantined, the others go on", () => {
  const batch = transformer(() => [{ id: 1 }, { id: 2, n: 1 }, { id: "1" }]).batch([{ id: 0 }], 0);
  assert.deepEqual(batch.events.map(({ eventId }) => eventId), ["2"]);
  assert.deepEqual(rules(batch), ["same_key", "same_key"]);
  assert.deepEqual(batch.rejected.map(({ output }) => output), [0, 2]);
  assert.equal(batch.extra, 2);
});

Deno.test("transform: several equal outputs without a key are the same event", () => {
  const one = transformer(() => [{ a: 1 }, { a: 1 }], {});
  assert.deepEqual(rules(one.batch([{}], 0)), ["same_key", "same_key"]);
});

Deno.test("transform: a record nested too deeply to store is quarantined, not the end of the run", () => {
  const deep = JSON.parse(`{"id":"deep","a":${"[".repeat(20_000)}${"]".repeat(20_000)}}`);
  for (const one of [transformer(), transformer((record) => record)]) {
    const batch = one.batch([deep, { id: "ok" }], 0);
    assert.deepEqual(rules(batch), ["not_storable"]);
    assert.deepEqual(batch.events.map(({ eventId }) => eventId), ["ok"]);
  }
});

Deno.test("transform: each record has one fate", () => {
  const batch = transformer((record) =>
    record.n === 1 ? null : record.n === 2 ? [record, { id: "e" }] : record
  )
    .batch(Array.from({ length: 9 }, (_, i) => i === 4 ? { n: 3 } : { id: i, n: i % 3 }), 0);
  const { events, rejected, filtered, extra } = batch;
  assert.equal(events.length + rejected.length + filtered - extra, 9);
});

Deno.test("a transform that returns a promise fails as a whole, and not record by record", () => {
  for (
    const transform of [(record: object) => Promise.resolve(record), () => ({ then: () => {} })]
  ) {
    const transformer = new Transformer({
      mapping: {},
      sourceName: "s",
      transform: transform as never,
    });
    assert.throws(
      () => transformer.batch([{ id: 1 }], 0),
      /return the record, not a promise/,
    );
  }
});
