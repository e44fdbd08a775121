import assert from "node:assert/strict";
import { z } from "zod";
import {
  checkConsumers,
  type ConsumerContext,
  datasetName,
  defineConsumer,
} from "../../pipeline/consumers/consumer.ts";
import { Problem } from "../../vocabulary/problem.ts";

const none = z.object({});

const define = (options: object) => () =>
  defineConsumer({
    name: "ok",
    datasets: ["s.t"],
    params: none,
    run: () => Promise.resolve(),
    ...options,
  });

const link = (name: string, datasets: string[], emits: string[]) =>
  define({ name, datasets, emits })();

Deno.test("consumers that would start themselves are refused with the shortest way round, and double names", () => {
  checkConsumers([link("a", ["s.x"], ["s.y"]), link("b", ["s.x", "s.y"], ["s.z"])]);
  assert.throws(
    () => checkConsumers([link("a", ["s.x"], ["s.y"]), link("b", ["s.y"], ["s.x"])]),
    (error) => error instanceof Problem && error.message.includes("s.x → a → s.y → b → s.x"),
  );
  assert.throws(() => checkConsumers([link("a", ["s.x"], ["s.x"])]), Problem);
  assert.throws(
    () => checkConsumers([link("a", ["s.x"], []), link("a", ["s.y"], [])]),
    /two consumers named a/,
  );
  // what leads to the circle is not of it, and a way that ends hides none
  assert.throws(
    () =>
      checkConsumers([
        link("in", ["s.w"], ["s.end", "s.x"]),
        link("a", ["s.x"], ["s.y"]),
        link("b", ["s.y"], ["s.x"]),
      ]),
    /: s\.x → a → s\.y → b → s\.x\. /,
  );
});

Deno.test("what is wrong with a consumer's definition is said, with what would be right", () => {
  for (const name of ["Not OK", "1a", "", "x".repeat(64)]) {
    assert.throws(define({ name }), /name must be lower-case/);
  }
  assert.throws(define({ pauseMs: 1 }), /pauseMs is for mode batch/);
  for (const pauseMs of [-1, 600_001, NaN]) {
    assert.throws(define({ mode: "batch", pauseMs }), /pauseMs is from 0 to 600,000/);
  }
  for (const timeoutMs of [99, 86_400_001, NaN]) {
    assert.throws(define({ timeoutMs }), /timeoutMs is from 100 to 86,400,000/);
  }
  for (const wrong of ["events", "a.b.c", ".t"]) {
    assert.throws(define({ datasets: [wrong] }), /written schema\.table/);
    assert.throws(define({ emits: [wrong] }), /written schema\.table/);
  }
  assert.throws(define({ params: z.object({ n: z.number() }) }), /needs a default: n/);
});

Deno.test("a consumer is given each event by itself, within ten minutes, the unchanged too, and reaches no host, unless it says otherwise", () => {
  const { run: _run, parseParams: _parse, ...plain } = define({})();
  assert.deepEqual(plain, {
    name: "ok",
    datasets: ["s.t"],
    emits: [],
    timeoutMs: 600_000,
    hosts: [],
    mode: "each",
    pauseMs: 0,
    skipUnchanged: false,
  });
  const given = {
    name: "x".repeat(63),
    emits: ["s.u"],
    timeoutMs: 86_400_000,
    hosts: ["api.test:443"],
    mode: "batch",
    pauseMs: 600_000,
    skipUnchanged: true,
  };
  const { run: _, parseParams: __, ...full } = define(given)();
  assert.deepEqual(full, { ...given, datasets: ["s.t"] });
});

Deno.test("a dataset may be written as the original did, in schema public unless it names another", () => {
  const names = [
    ["postgres://etl_improved/etl_improved_events", "public.etl_improved_events"],
    ["postgres://etl_improved/sales.orders", "sales.orders"],
    ["sales.orders", "sales.orders"],
  ] as const;
  for (const [written, name] of names) assert.equal(datasetName(written), name);
  const { datasets, emits } = define({ datasets: [names[0][0]], emits: [names[1][0]] })();
  assert.deepEqual([datasets, emits], [[names[0][1]], [names[1][1]]]);
});

Deno.test("a consumer's parameters are read once: defaults are filled in, and what is wrong is named by its field", async () => {
  const given: unknown[] = [];
  const consumer = define({
    params: z.object({
      days: z.string().default("7").transform(Number),
      of: z.object({ unit: z.enum(["day", "hour"]) }).default({ unit: "day" }),
    }),
    run: ({ params }: ConsumerContext<unknown>) => Promise.resolve(given.push(params)),
  })();
  for (const params of [{}, { days: "3", of: { unit: "hour" } }]) {
    await consumer.run({ params: consumer.parseParams(params) } as never);
  }
  assert.deepEqual(given, [{ days: 7, of: { unit: "day" } }, { days: 3, of: { unit: "hour" } }]);
  for (
    const [params, field] of [[{ dayz: "3" }, "dayz"], [
      { of: { unit: "year" } },
      "of.unit",
    ]] as const
  ) {
    assert.throws(() => consumer.parseParams(params), (error) => {
      assert.ok(error instanceof Problem);
      assert.deepEqual(error.errors.map((each) => each.field), [field]);
      assert.match(error.message, new RegExp(`ok.*${field}`));
      return true;
    });
  }
});
