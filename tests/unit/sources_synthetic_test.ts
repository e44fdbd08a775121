import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { syntheticRecord } from "../../pipeline/sources/synthetic.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

Deno.test("synthetic source gives so many records, in slices of chunk_size", async () => {
  await using folder = await SourceFolder.create({ maxRecords: 1_205, chunkSize: 500 });
  const { plan, slices, records } = await readAll({ type: "synthetic" }, folder.ctx);
  assert.equal(plan.records, 1_205);
  assert.deepEqual(slices.map((slice) => slice.length), [500, 500, 205]);
  assert.equal(new Set(records.map(({ id }) => id)).size, 1_205);
  assert.deepEqual(records[700], syntheticRecord(700, 0));
});

Deno.test("syntheticRecord() is the same on every machine, and other for another seed", () => {
  assert.deepEqual(syntheticRecord(0, 0), {
    id: "evt-0-0000000000",
    user_id: 15365,
    event_type: "purchase",
    occurred_at: "2025-01-01T00:00:00.322Z",
    amount: 33.57,
    currency: "EUR",
    country: "MX",
    attributes: { device: "desktop", campaign: "newsletter", items: 2, returning: false },
  });
  const hash = createHash("sha256");
  for (let i = 0; i < 10_000; i++) hash.update(JSON.stringify(syntheticRecord(i, 7)));
  assert.equal(hash.digest("hex").slice(0, 16), "a48f424931c779d3");
  assert.notDeepEqual(syntheticRecord(5, 1), syntheticRecord(5, 2));
  assert.notDeepEqual(syntheticRecord(2 ** 32 + 5, 1), syntheticRecord(5, 1));
});

Deno.test("synthetic records have every kind of event", () => {
  const types = new Set(Array.from({ length: 1_000 }, (_, i) => syntheticRecord(i, 0).event_type));
  assert.deepEqual([...types].sort(), ["add_to_cart", "page_view", "purchase", "refund", "signup"]);
});
