import assert from "node:assert/strict";
import type { ValidationResult } from "../../pipeline/expectations/expectations.ts";
import type { Engine } from "./engine.ts";

export type Given = [type: string, kwargs: Record<string, unknown>];

/** A suite in the JSON of Great Expectations 1.x. */
export function suiteOf(...given: Given[]) {
  return { name: "any", expectations: given.map(([type, kwargs]) => ({ type, kwargs })) };
}

export const NOT_NULL: Given = ["expect_column_values_to_not_be_null", { column: "amount" }];
export const POSITIVE: Given = [
  "expect_column_values_to_be_between",
  { column: "amount", min_value: 0 },
];
export const UNIQUE: Given = ["expect_column_values_to_be_unique", { column: "amount" }];

export async function putSuite(engine: Engine, name: string, suite: unknown): Promise<void> {
  const response = await engine.request(`/api/suites/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(suite),
  });
  const text = await response.text();
  assert.ok(response.ok, text);
}

/** What the suite of a run found. */
export async function validationOf(engine: Engine, runId: string): Promise<ValidationResult> {
  const response = await engine.request(`/api/etl/runs/${runId}/validation`);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

/** The problem that an answer must be. */
export async function problemOf(
  response: Response,
): Promise<{
  status: number;
  type: string;
  detail: string;
  errors: { field: string; message: string; expected?: string }[];
}> {
  const text = await response.text();
  const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json");
  assert.ok(isProblem, `${response.status} ${text.slice(0, 1000)}`);
  const { type, detail, errors = [] } = JSON.parse(text);
  return { status: response.status, type: type.replace("/api/problems/", ""), detail, errors };
}
