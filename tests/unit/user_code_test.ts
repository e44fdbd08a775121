import assert from "node:assert/strict";
import { digitsOf, setDigits } from "../../pipeline/numbers.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import {
  BadAnswer,
  packEvents,
  packRecords,
  unpackEvents,
  unpackRecords,
} from "../../pipeline/user_code/crossing.ts";
import { say } from "../../vocabulary/messages.ts";
import { Guard, TimeLimit } from "../../pipeline/user_code/guard.ts";
import { HostedTransform } from "../../pipeline/user_code/hosted_modules.ts";
import { Printed } from "../../pipeline/user_code/messages.ts";

const cross = (records: SourceRecord[]) =>
  unpackRecords(structuredClone(packRecords(records, 0).packed));

Deno.test("records cross to a module as they are: large integers, digits beside numbers, odd names", () => {
  const price = { list: 19.9, net: [1.5] };
  setDigits(price, "list", "19.90");
  setDigits(price.net, "0", "1.50");
  const records: SourceRecord[] = [
    { id: 1, text: "a\u0000b\ud800", none: null, yes: true, "": 0 },
    { id: 12345678901234567890n, n: [-1n] },
    JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}'),
    { price },
  ];
  for (const part of [records, [records[0]!, records[2]!, records[3]!], [records[3]!]]) {
    const crossed = cross(part);
    assert.deepEqual(crossed, part);
    const last = crossed.at(-1) as unknown as { price: typeof price };
    assert.deepEqual({ ...digitsOf(last.price) }, { list: "19.90" });
    assert.deepEqual({ ...digitsOf(last.price.net) }, { "0": "1.50" });
  }
});

Deno.test("an answer that no module can have been asked for is refused, whatever is wrong with it", () => {
  const records: SourceRecord[] = [{ id: "a" }, { id: "b" }];
  const hosted = new HostedTransform({ transform: (record: SourceRecord) => record }, {
    mapping: { key: "id", version: "id" },
    sourceName: "s",
  });
  const plain = new HostedTransform({ transform: (record: SourceRecord) => record }, {
    mapping: { key: "id" },
    sourceName: "s",
  });
  const { packed } = packRecords(records, 5);
  const good = plain.batch(packed, 5);
  const read = (answer: unknown) => unpackEvents(answer, { records, start: 5, excluded: [] });
  assert.deepEqual(
    read(structuredClone(good)).events.map(({ eventId, payload }) => [eventId, payload]),
    [
      ["a", { id: "a" }],
      ["b", { id: "b" }],
    ],
  );
  assert.equal(read(hosted.batch(packed, 5)).rejected.length, 2);
  const wrong: Record<string, unknown>[] = [
    { positions: [4, 5] },
    { positions: [5, 7] },
    { positions: [5, 5.5] },
    { positions: [5] },
    { positions: null },
    { outputs: [0, -1] },
    { eventIds: ["a", 5] },
    { occurredAts: [null, "2026-01-01"] },
    { occurredAts: [null, "2026-01-01T00:00:00Z\t\\N"] },
    { versions: [null, "1e999999999"] },
    { versions: [null, "1\n"] },
    { fingerprints: [good.fingerprints[0], null] },
    { fingerprints: [good.fingerprints[0], `${good.fingerprints[1]}\n`] },
    { rejected: [{ position: 9, output: 0, rule: "r", message: "m", field: null }] },
    { rejected: [{ position: 5, output: 0, rule: 1, message: "m", field: null }] },
    { refused: [[2, { rule: "r", message: "m" }]] },
    { refused: [5] },
  ];
  for (const change of wrong) {
    assert.throws(() => read({ ...good, ...change }), BadAnswer, JSON.stringify(change));
  }
  for (const answer of [null, undefined, 5, "batch", [], {}]) {
    assert.throws(() => read(answer), BadAnswer);
  }
  // nor what is said of a record that the module was not given
  const excluded = [{
    position: 6,
    output: 0,
    rule: "r",
    message: say("too-deep", { n: 9 }),
    field: null,
    raw: "",
  }];
  assert.throws(() => unpackEvents(good, { records, start: 5, excluded }), BadAnswer);
  for (const text of ["{", "5", "null", "[]"]) {
    const { events } = read({ ...good, texts: [text, text] });
    assert.throws(() => events[0]!.payload, BadAnswer);
  }
  assert.deepEqual(
    packEvents({ events: [], rejected: [], filtered: 0, extra: 0 }, []).positions,
    [],
  );
});

Deno.test("of lines that a module prints those that are too many are counted once", () => {
  const printed = new Printed(() => null);
  for (let i = 0; i < 1_000; i++) printed.add("info", [i]);
  const { lines, dropped } = printed.take();
  assert.equal(lines.length + dropped, 1_000);
  assert.ok(dropped > 0);
  assert.deepEqual(printed.take(), { lines: [], dropped: 0 });
});

Deno.test("a guard ends loops, also those behind an await, and hands on what is thrown", async () => {
  const guard = new Guard();
  const call = (work: () => void, limitMs = 10_000) =>
    new Promise((resolve) => guard.call(work, limitMs, resolve));
  let done = false;
  assert.equal(await call(() => done = true), null);
  assert.ok(done);
  assert.ok(
    await call(() => {
      for (;;);
    }, 50) instanceof TimeLimit,
  );
  const later = async () => {
    await null;
    for (;;);
  };
  assert.ok(await call(() => void later(), 50) instanceof TimeLimit);
  assert.equal(
    (await call(() => {
      throw new Error("no");
    }) as Error).message,
    "no",
  );
  assert.equal(await call(() => {}), null);
});
