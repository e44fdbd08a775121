import assert from "node:assert/strict";
import {
  compileSuite,
  isRowWise,
  payloadSchemaOf,
  readSuiteFiles,
} from "../../pipeline/expectations/expectations.ts";
import { syntheticRecord } from "../../pipeline/sources/synthetic.ts";
import { Problem } from "../../vocabulary/problem.ts";

const suitesDir = new URL("../../suites", import.meta.url).pathname;

Deno.test("the suite of the default table ships and holds for synthetic events", async () => {
  const suites = await readSuiteFiles(suitesDir);
  const suite = suites.get("etl_improved_events")!;
  assert.equal(suite.expectations.every(isRowWise), true);
  const records = Array.from({ length: 500 }, (_, i) => syntheticRecord(i, 0));
  const events = records.map(({ id, event_type, occurred_at }) => ({
    eventId: id as string,
    eventType: event_type as string,
    occurredAt: occurred_at as string,
  }));
  const compiled = compileSuite(suite);
  const state = compiled.newState({ chunkNo: 0 });
  compiled.observe(state, records, { events });
  assert.equal(compiled.finish(compiled.serializeState(state)).success, true);
  assert.equal(compiled.failingRows(records, { events }).size, 0);
});

Deno.test("the suite of the default table fails an event without a type", async () => {
  const suites = await readSuiteFiles(suitesDir);
  const compiled = compileSuite(
    suites.get("etl_improved_events")!,
  );
  const events = [{ eventId: "1", eventType: "", occurredAt: null }];
  assert.equal(compiled.failingRows([{}], { events }).size, 1);
});

Deno.test("readSuiteFiles() names the file that is no suite", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/broken.json`, "{");
    await assert.rejects(
      readSuiteFiles(dir),
      (error) => error instanceof Problem && error.message.includes("/broken.json: "),
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("payloadSchemaOf() finds the JSON Schema in a suite's meta", () => {
  const suite = { name: "s", expectations: [], suite_parameters: {}, meta: {} };
  assert.equal(payloadSchemaOf(suite), undefined);
  const schema = { type: "object" };
  assert.deepEqual(payloadSchemaOf({ ...suite, meta: { payload_schema: schema } }), schema);
});

Deno.test("readSuiteFiles() keeps every digit of integers beyond 2^53", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${dir}/big.json`,
      `{"name": "big", "expectations": [{"type": "expect_column_max_to_be_between",
        "kwargs": {"column": "a", "max_value": 9007199254740993}}]}`,
    );
    const suite = (await readSuiteFiles(dir)).get("big")!;
    assert.equal(suite.expectations[0]!.kwargs.max_value, 9007199254740993n);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
