import { Ajv2020 } from "ajv/dist/2020.js";
import type { ErrorObject, ValidateFunction } from "ajv";
import { Problem } from "../problem.ts";
import { compileSchemaPattern } from "./regex.ts";

/** Largest schema that is accepted, in characters of JSON. */
const MAX_SCHEMA = 200_000;

/**
 * Ajv with the engine of regex.ts in place of RegExp, so that a `pattern`
 * cannot hang a worker. `format` annotates and is not checked, as the
 * specification has it by default.
 */
function newAjv(): Ajv2020 {
  const regExp = Object.assign(
    // Ajv tells patterns apart by their text.
    (pattern: string) =>
      ({ test: compileSchemaPattern(pattern), toString: () => pattern }) as unknown as RegExp,
    { code: "compileSchemaPattern" },
  );
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
  if (JSON.stringify(schema).length > MAX_SCHEMA) {
    throw refused(`it is larger than ${MAX_SCHEMA} characters`);
  }
  // Schemas of earlier drafts are read as 2020-12: their meta-schemas are not at hand.
  const { $schema: _dialect, ...rest } = schema;
  try {
    const validate = newAjv().compile(rest);
    // a schema that refers to itself without looking at a part of the value never ends
    for (const value of [{}, [], "", 0, null]) validate(value);
    return validate;
  } catch (error) {
    if (error instanceof RangeError) {
      throw refused("it refers to itself without end, or is nested too deeply");
    }
    throw refused(error instanceof Error ? error.message : String(error));
  }
}

/** The first thing that is wrong, in words, with the path of the field: "amount must be >= 0". */
export function describeError(errors: ErrorObject[] | null | undefined): string {
  const first = errors?.[0];
  if (first === undefined) return "does not satisfy the schema";
  const at = first.instancePath.slice(1).replaceAll("/", ".");
  return `${at || "the payload"} ${first.message ?? "is not valid"}`;
}

function refused(why: string): Problem {
  return new Problem("invalid-conf", { detail: `The JSON Schema cannot be used: ${why}.` });
}
