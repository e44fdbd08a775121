import type { SourceRecord } from "../sources/source.ts";
import { type FieldError, Problem } from "../../vocabulary/problem.ts";
import { compileSchema, describeError } from "./json_schema.ts";
import { asNumber } from "./python_value.ts";

/** Why a payload is rejected, as it goes into the quarantine. */
export interface Rejection {
  /** `payload_schema:` and the keyword that failed, e.g. `payload_schema:required`. */
  rule: string;
  /** In words: "amount must be >= 0". */
  message: string;
}

export type PayloadCheck = (record: SourceRecord) => Rejection | null;

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
    return [{ field, message: "is no JSON Schema", expected: "a JSON object" }];
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
