import assert from "node:assert/strict";
import { z } from "zod";
import { compilePayloadSchema } from "../../pipeline/expectations/expectations.ts";
import { zodPayloadCheck } from "../../pipeline/user_code/hosted_modules.ts";
import { Problem } from "../../vocabulary/problem.ts";

const schema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  type: "object",
  required: ["id"],
  properties: {
    id: { type: "string", pattern: "^evt-[0-9]+$" },
    amount: { type: "number", minimum: 0 },
    count: { type: "integer" },
    tags: { type: "array", items: { type: "string" } },
  },
};

Deno.test("compilePayloadSchema() names the rule and the field that is wrong", () => {
  const check = compilePayloadSchema(schema);
  assert.equal(check({ id: "evt-1", amount: 2, tags: ["a"] }), null);
  assert.deepEqual(check({ amount: 1 }), {
    rule: "payload_schema:required",
    message: "the payload must have required property 'id'",
  });
  assert.deepEqual(check({ id: "evt-1", amount: -1 }), {
    rule: "payload_schema:minimum",
    message: "amount must be >= 0",
  });
  assert.equal(check({ id: "evt-1", tags: ["a", 1] })!.message, "tags.1 must be string");
  assert.equal(check({ id: "x" })!.rule, "payload_schema:pattern");
});

Deno.test("compilePayloadSchema() keeps the patterns of several fields apart", () => {
  const check = compilePayloadSchema({
    properties: { a: { pattern: "^a" }, b: { pattern: "^b" } },
  });
  assert.equal(check({ a: "a", b: "b" }), null);
  assert.equal(check({ a: "b", b: "b" })!.message, 'a must match pattern "^a"');
  assert.equal(check({ a: "a", b: "a" })!.message, 'b must match pattern "^b"');
});

Deno.test("compilePayloadSchema() takes integers beyond 2^53 for integers", () => {
  const check = compilePayloadSchema(schema);
  assert.equal(check({ id: "evt-1", count: 2n ** 60n, amount: 2n ** 60n }), null);
  assert.equal(check({ id: "evt-1", amount: -(2n ** 60n) })!.rule, "payload_schema:minimum");
});

Deno.test("compilePayloadSchema() cannot be made to hang by a pattern", () => {
  const check = compilePayloadSchema({ properties: { a: { pattern: "^(a+)+$" } } });
  const start = performance.now();
  assert.notEqual(check({ a: "a".repeat(50_000) + "!" }), null);
  assert.ok(performance.now() - start < 2_000);
});

Deno.test("compilePayloadSchema() refuses what is no schema", () => {
  for (
    const wrong of [
      { type: "nonsense" },
      { $ref: "https://example.org/other.json" },
      { $ref: "#" },
      { allOf: [{ $ref: "#" }] },
      { properties: { a: { pattern: "(?=x)" } } },
      { enum: Array.from({ length: 50_000 }, (_, i) => `value ${i}`) },
    ]
  ) assert.throws(() => compilePayloadSchema(wrong), Problem, JSON.stringify(wrong).slice(0, 80));
});

Deno.test("zodPayloadCheck() checks by a schema of the user's own", () => {
  const check = zodPayloadCheck(z.object({ a: z.object({ b: z.number() }) }));
  assert.equal(check({ a: { b: 1 } }), null);
  assert.equal(check({ a: { b: "x" } })!.rule, "payload_schema:invalid_type");
  assert.match(check({ a: { b: "x" } })!.message, /^a\.b: /);
});
