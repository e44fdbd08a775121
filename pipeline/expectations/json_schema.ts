import { createRequire } from "node:module";
import type { Ajv2020 } from "ajv/dist/2020.js";
import { type Message, say, verbatim } from "../../vocabulary/messages.ts";
import type { ErrorObject, ValidateFunction } from "ajv";
import { type FieldError, Problem } from "../../vocabulary/problem.ts";
import { jsonText } from "../numbers.ts";
import { compileSchemaPattern } from "./regex.ts";
import type { PayloadCheck } from "../event.ts";
import { asNumber } from "./python.ts";

const require = createRequire(import.meta.url);

/** Largest schema that is accepted, in characters of JSON. */
const MAX_SCHEMA = 200_000;

/**
 * Ajv with the engine of regex.ts in place of RegExp, so that a `pattern`
 * cannot hang a worker. `format` annotates and is not checked, as the
 * specification has it by default. Ajv is loaded with the first schema: it would be a tenth of a worker's start.
 */
function newAjv(): Ajv2020 {
  const regExp = Object.assign(
    // Ajv tells patterns apart by their text.
    (pattern: string) =>
      ({ test: compileSchemaPattern(pattern), toString: () => pattern }) as unknown as RegExp,
    { code: "compileSchemaPattern" },
  );
  const { Ajv2020 } = require("ajv/dist/2020.js") as typeof import("ajv/dist/2020.js");
  return new Ajv2020({
    strict: false,
    allErrors: false,
    validateFormats: false,
    logger: false,
    code: { regExp },
  });
}

/**
 * A validator for a JSON Schema, draft 2020-12 (what earlier drafts share
 * with it works too; `$ref` only within the schema).
 *
 * @throws Problem invalid-conf when the schema is not valid or too large.
 */
export function compileSchema(schema: Record<string, unknown>): ValidateFunction {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  const validate = newValidator(schema);
  compiled.set(schema, validate);
  return validate;
}

/** Each schema is made once: it is compiled to be checked, and used afterwards. */
const compiled = new WeakMap<Record<string, unknown>, ValidateFunction>();

function newValidator(schema: Record<string, unknown>): ValidateFunction {
  try {
    const text = jsonText(schema);
    if (text.length > MAX_SCHEMA) throw refused(say("schema-too-long", { n: MAX_SCHEMA }));
    // Schemas of earlier drafts are read as 2020-12: their meta-schemas are not at hand.
    // Ajv compares doubles, and knows no other numbers.
    const { $schema: _dialect, ...rest } = JSON.parse(text);
    refuseMultiplied(rest);
    const validate = newAjv().compile(rest);
    // a schema that refers to itself without looking at a part of the value never ends
    for (const value of [{}, [], "", 0, null]) validate(value);
    return validate;
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (error instanceof RangeError) {
      throw refused(say("schema-endless", {}));
    }
    throw refused(verbatim(error instanceof Error ? error.message : String(error)));
  }
}

/** Subschemas that a schema may apply to one value. */
const MAX_APPLIED = 10_000;

const LISTS = ["allOf", "anyOf", "oneOf"];
const SINGLE = ["not", "if", "then", "else"];

/**
 * Refuses a schema that applies a subschema to the same value again and again: one whose definitions
 * each refer twice to the one before is small, and takes longer for a value than anybody waits. What
 * is applied to a part of a value (`properties`, `items`) is bounded by the value. Throws a
 * RangeError where the schema is nested too deeply.
 */
function refuseMultiplied(root: Record<string, unknown>): void {
  const sizes = new Map<unknown, number>();
  const applied = (schema: unknown): number => {
    if (typeof schema !== "object" || schema === null) return 1;
    const known = sizes.get(schema);
    if (known !== undefined) return known;
    // one that comes back to itself is looked for when it is tried
    sizes.set(schema, 0);
    const each = schema as Record<string, unknown>;
    const inPlace = [
      ...LISTS.flatMap((name) => Array.isArray(each[name]) ? each[name] : []),
      ...SINGLE.flatMap((name) => each[name] === undefined ? [] : [each[name]]),
      ...Object.values(each.dependentSchemas ?? {}),
      ...(typeof each.$ref === "string" ? [pointedAt(root, each.$ref)] : []),
    ];
    const size = inPlace.reduce((sum: number, part) => sum + applied(part), 1);
    if (size > MAX_APPLIED) {
      throw refused(say("schema-subschemas", { n: MAX_APPLIED }));
    }
    sizes.set(schema, size);
    return size;
  };
  const look = (part: unknown): void => {
    if (typeof part !== "object" || part === null) return;
    applied(part);
    for (const value of Object.values(part)) look(value);
  };
  look(root);
}

/** What a reference within a schema (`#/$defs/x`) points at; undefined for others. */
function pointedAt(root: unknown, ref: string): unknown {
  if (ref !== "#" && !ref.startsWith("#/")) return undefined;
  let text = ref.slice(2);
  try {
    text = decodeURIComponent(text);
  } catch {
    return undefined;
  }
  const path = ref === "#" ? [] : text.split("/");
  return path.map(unescaped).reduce((part: unknown, key) => {
    return typeof part === "object" && part !== null && Object.hasOwn(part, key)
      ? (part as Record<string, unknown>)[key]
      : undefined;
  }, root);
}

/** A name as it is, of a JSON pointer (RFC 6901). */
const unescaped = (name: string) => name.replaceAll("~1", "/").replaceAll("~0", "~");

/** What the bounds of a schema say, by their keywords. */
const BOUNDS = {
  minimum: "schema-at-least",
  maximum: "schema-at-most",
  exclusiveMinimum: "schema-more-than",
  exclusiveMaximum: "schema-less-than",
  minLength: "schema-fewer-characters",
  maxLength: "schema-more-characters",
  minItems: "schema-fewer-items",
  maxItems: "schema-more-items",
  minProperties: "schema-fewer-properties",
  maxProperties: "schema-more-properties",
} as const;

/** Characters of a schema's values that a reason shows. */
const SHOWN = 200;
const shown = (value: unknown) => {
  const text = JSON.stringify(value) ?? "null";
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
};

/** The first thing that is wrong, with the path of the field: "amount must be >= 0". */
function describeError(errors: ErrorObject[] | null | undefined): Message {
  const { instancePath = "", keyword = "schema", params = {}, message = "is not valid" } =
    errors?.[0] ?? {};
  const at = instancePath.slice(1).split("/").map(unescaped).join(".") || say("the-payload", {});
  if (Object.hasOwn(BOUNDS, keyword)) {
    return say(BOUNDS[keyword as keyof typeof BOUNDS], { at, n: params.limit });
  }
  switch (keyword) {
    case "type":
      return say("schema-type", { at, type: [params.type].flat().join(", ") });
    case "required":
      return say("schema-required", { at, name: params.missingProperty });
    case "enum":
      return say("schema-enum", {
        at,
        values: shown(params.allowedValues).replace(/^\[|\]$/g, ""),
      });
    case "const":
      return say("schema-const", { at, value: shown(params.allowedValue) });
    case "multipleOf":
      return say("schema-multiple", { at, n: params.multipleOf });
    case "uniqueItems":
      return say("schema-unique", { at, i: params.j, j: params.i });
    case "pattern":
      return say("schema-pattern", { at, pattern: params.pattern });
    case "additionalProperties":
      return say("schema-no-more", { at, name: params.additionalProperty });
    case "unevaluatedProperties":
      return say("schema-no-more", { at, name: params.unevaluatedProperty });
    default:
      return say("schema-other", { at, keyword, words: message });
  }
}

function refused(why: Message): Problem {
  return new Problem("invalid-conf", { detail: say("schema-refused", { why }) });
}

/**
 * A check of payloads against a JSON Schema (draft 2020-12). Integers beyond
 * 2^53 are checked as numbers.
 *
 * @throws Problem invalid-conf when the schema is not valid.
 */
export function compilePayloadSchema(schema: Record<string, unknown>): PayloadCheck {
  const validate = compileSchema(schema);
  return (record) => {
    if (validate(record)) return null;
    // Ajv does not know bigint: only a record that fails is looked at again without any.
    if (hasBigint(record) && validate(withoutBigint(record))) return null;
    const keyword = validate.errors?.[0]?.keyword ?? "schema";
    return { rule: `payload_schema:${keyword}`, message: describeError(validate.errors) };
  };
}

/** What is wrong with the `meta.payload_schema` of a suite. */
export function payloadSchemaErrors(schema: unknown): FieldError[] {
  if (schema === undefined) return [];
  const field = "meta.payload_schema";
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
    return [{ field, message: say("no-json-schema", {}), expected: "a JSON object" }];
  }
  try {
    compileSchema(schema as Record<string, unknown>);
    return [];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [{ field, message: error.message }];
  }
}

function hasBigint(value: unknown): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasBigint);
}

function withoutBigint(value: unknown): unknown {
  if (typeof value === "bigint") return Number(asNumber(value));
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutBigint);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, withoutBigint(v)]));
}
