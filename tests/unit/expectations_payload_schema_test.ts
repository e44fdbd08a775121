import assert from "node:assert/strict";
import { z } from "zod";
import { compilePayloadSchema } from "../../pipeline/expectations/expectations.ts";
import { payloadSchemaErrors } from "../../pipeline/expectations/json_schema.ts";
import type { Json } from "../../pipeline/numbers.ts";
import { zodPayloadCheck } from "../../pipeline/user_code/hosted_modules.ts";
import { inSpanish } from "../../vocabulary/messages.ts";
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
  assert.equal(check({ id: "evt-1", tags: ["a", 1] })!.message, "tags.1 must be of type string");
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
      { $ref: "#/const/x", const: null },
      { $ref: "#/$defs/missing" },
      { properties: { a: { pattern: "(?=x)" } } },
      { enum: Array.from({ length: 50_000 }, (_, i) => `value ${i}`) },
    ]
  ) assert.throws(() => compilePayloadSchema(wrong), Problem, JSON.stringify(wrong).slice(0, 80));
});

Deno.test("compilePayloadSchema() refuses a schema whose definitions each refer twice to the one before, whatever refers", () => {
  const names = (n: number) => ({ $ref: `#/$defs/d~1${n}%25` });
  const twice = (each: (of: object) => object) => ({
    ...{ properties: { a: names(20) } },
    $defs: Object.fromEntries([
      ["d/0%", { type: "number" }],
      ...Array.from({ length: 20 }, (_, n) => [`d/${n + 1}%`, each(names(n))]),
    ]),
  });
  for (
    const each of [
      (of: object) => ({ allOf: [of, of] }),
      (of: object) => ({ anyOf: [of, of] }),
      (of: object) => ({ oneOf: [of, of] }),
      (of: object) => ({ not: of, allOf: [of] }),
      (of: object) => ({ if: of, allOf: [of] }),
      (of: object) => ({ then: of, allOf: [of] }),
      (of: object) => ({ else: of, allOf: [of] }),
      (of: object) => ({ dependentSchemas: { x: of, y: of } }),
      (of: object) => ({ $ref: (of as { $ref: string }).$ref, allOf: [of] }),
    ]
  ) {
    assert.throws(
      () => compilePayloadSchema(twice(each)),
      /applies more than 10000 subschemas to one value/,
      `${each}`,
    );
  }
  // what is applied to parts of a value is bounded by the value
  compilePayloadSchema(twice((of) => ({ properties: { x: of, y: of } })));
  compilePayloadSchema(twice((of) => ({ allOf: [of] })));
});

Deno.test("compilePayloadSchema() takes unknown words, formats and other drafts as annotations, and as much as fits", () => {
  const check = compilePayloadSchema({
    $schema: "http://json-schema.org/draft-04/schema#",
    properties: { a: { format: "email", unit: "km" } },
  });
  assert.equal(check({ a: "no e-mail" }), null);
  const long = (length: number) => ({ properties: { a: { description: "x".repeat(length) } } });
  assert.equal(compilePayloadSchema(long(199_000))({ a: 1 }), null);
  assert.throws(() => compilePayloadSchema(long(200_000)), /larger than 200000 characters/);
  let deep: Record<string, unknown> = {};
  for (let i = 0; i < 20_000; i++) deep = { not: deep };
  assert.throws(() => compilePayloadSchema(deep), /without end, or is nested too deeply/);
});

Deno.test("compilePayloadSchema() names a field as it is called, and cuts what it shows of a schema", () => {
  const values = Array.from({ length: 100 }, (_, i) => `value ${i}`);
  const check = compilePayloadSchema({
    properties: { "km/h ~ mph": { enum: values }, of: { properties: { big: { type: "string" } } } },
  });
  const text = JSON.stringify(values).slice(1, 200);
  assert.equal(check({ "km/h ~ mph": 1 })!.message, `km/h ~ mph must be one of: ${text}…`);
  // a list in a part of the record is looked at, too
  assert.equal(check({ of: { big: [2n ** 60n] } })!.message, "of.big must be of type string");
  const integers = compilePayloadSchema({
    properties: { a: { type: "array", items: { type: "integer" } } },
  });
  assert.equal(integers({ a: [2n ** 60n] }), null);
  assert.equal(integers({ a: [2n ** 60n, "x"] })!.message, "a.1 must be of type integer");
});

Deno.test("payloadSchemaErrors() takes no schema for none, and a list for no schema", () => {
  assert.deepEqual(payloadSchemaErrors(undefined), []);
  assert.deepEqual(payloadSchemaErrors({ type: "object" }), []);
  for (const wrong of [null, [], "text", 1]) {
    assert.deepEqual(payloadSchemaErrors(wrong).map(({ field }) => field), ["meta.payload_schema"]);
  }
  assert.match(payloadSchemaErrors({ type: "nonsense" })[0]!.message, /JSON Schema/);
});

Deno.test("zodPayloadCheck() checks by a schema of the user's own", () => {
  const check = zodPayloadCheck(z.object({ a: z.object({ b: z.number() }) }));
  assert.equal(check({ a: { b: 1 } }), null);
  assert.equal(check({ a: { b: "x" } })!.rule, "payload_schema:invalid_type");
  assert.equal(check({ a: { b: "x" } })!.message, "a.b must be of type number");
});

Deno.test("what a JSON Schema says of a payload is Spanish, too", () => {
  const says = (schema: Record<string, unknown>, a: Json) =>
    inSpanish(compilePayloadSchema({ properties: { a: schema } })({ a })!.message);
  for (
    const [schema, value, said] of [
      [{ type: ["string", "null"] }, 1, "a debe ser de tipo string, null"],
      [{ required: ["b"] }, {}, "a debe tener la propiedad obligatoria 'b'"],
      [{ enum: ["x", 2] }, 1, 'a debe ser uno de estos: "x",2'],
      [{ const: "x" }, 1, 'a debe ser exactamente "x"'],
      [{ minimum: 2 }, 1, "a debe ser >= 2"],
      [{ maximum: 0 }, 1, "a debe ser <= 0"],
      [{ exclusiveMinimum: 2 }, 1, "a debe ser > 2"],
      [{ exclusiveMaximum: 0 }, 1, "a debe ser < 0"],
      [{ multipleOf: 2 }, 1, "a debe ser múltiplo de 2"],
      [{ minLength: 2 }, "x", "a NO debe tener menos de 2 caracteres"],
      [{ maxLength: 0 }, "x", "a NO debe tener más de 0 caracteres"],
      [{ minItems: 2 }, [1], "a NO debe tener menos de 2 elementos"],
      [{ maxItems: 0 }, [1], "a NO debe tener más de 0 elementos"],
      [{ minProperties: 2 }, {}, "a NO debe tener menos de 2 propiedades"],
      [{ maxProperties: 0 }, { b: 1 }, "a NO debe tener más de 0 propiedades"],
      [
        { uniqueItems: true },
        [1, 1],
        "a NO debe tener elementos repetidos (los elementos 0 y 1 son idénticos)",
      ],
      [{ pattern: "^y" }, "x", 'a debe seguir el patrón "^y"'],
      [
        { additionalProperties: false },
        { b: 1 },
        "a NO debe tener la propiedad 'b', que el esquema no conoce",
      ],
      [
        { unevaluatedProperties: false },
        { b: 1 },
        "a NO debe tener la propiedad 'b', que el esquema no conoce",
      ],
      [
        { not: {} },
        1,
        "a no cumple el esquema: not, en palabras de su comprobador: must NOT be valid",
      ],
    ] as [Record<string, unknown>, Json, string][]
  ) assert.equal(says(schema, value), said);
  const whole = compilePayloadSchema({ required: ["b"] })({})!.message;
  assert.equal(inSpanish(whole), "el payload debe tener la propiedad obligatoria 'b'");
});

Deno.test("what zod says by itself is Spanish, too, and a module's own words stay", () => {
  const says = (schema: z.ZodType, a?: Json) =>
    inSpanish(zodPayloadCheck(z.object({ a: schema }).strict())({ a: a! })!.message);
  for (
    const [schema, value, said] of [
      [z.string(), 1, "a debe ser de tipo string"],
      [z.string(), undefined, "el payload debe tener la propiedad obligatoria 'a'"],
      [z.string().min(2), "x", "a NO debe tener menos de 2 caracteres"],
      [z.string().max(0), "x", "a NO debe tener más de 0 caracteres"],
      [z.array(z.any()).min(2), [1], "a NO debe tener menos de 2 elementos"],
      [z.array(z.any()).max(0), [1], "a NO debe tener más de 0 elementos"],
      [z.number().min(2), 1, "a debe ser >= 2"],
      [z.number().positive(), 0, "a debe ser > 0"],
      [z.number().max(0), 1, "a debe ser <= 0"],
      [z.number().negative(), 0, "a debe ser < 0"],
      [z.number().multipleOf(2), 1, "a debe ser múltiplo de 2"],
      [z.string().regex(/^y/), "x", 'a debe seguir el patrón "/^y/"'],
      [z.email(), "x", 'a debe tener el formato "email"'],
      [z.enum(["x", "y"]), 1, "a debe ser uno de estos: x, y"],
      [
        z.object({}).strict(),
        { b: 1 },
        "a NO debe tener la propiedad 'b', que el esquema no conoce",
      ],
      [
        z.union([z.string(), z.number()]),
        true,
        "a no cumple el esquema: invalid_union, en palabras de su comprobador: Invalid input",
      ],
      [z.number().max(0, "weighs too much"), 1, "a: weighs too much"],
      [z.number().refine((n) => n < 0, "No es negativo"), 1, "a: No es negativo"],
      // a module's own words that begin as zod's do
      [z.string().min(3, "Invalid code: ask sales"), "x", "a: Invalid code: ask sales"],
      [z.number().max(2, "Too big for a van"), 3, "a: Too big for a van"],
      [
        z.number("Invalid input: expected number, received string"),
        "x",
        "a: Invalid input: expected number, received string",
      ],
    ] as [z.ZodType, Json, string][]
  ) assert.equal(says(schema, value), said);
});

Deno.test("what zod says by itself is known in any language of zod, and a module's words for all its schemas stay", () => {
  const says = () => inSpanish(zodPayloadCheck(z.object({ a: z.number() }))({ a: "x" })!.message);
  try {
    z.config(z.locales.es());
    assert.equal(says(), "a debe ser de tipo number");
    z.config({ customError: () => "not ours" });
    assert.equal(says(), "a: not ours");
  } finally {
    z.config({ ...z.locales.en(), customError: undefined });
  }
});
