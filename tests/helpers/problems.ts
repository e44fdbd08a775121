import assert from "node:assert/strict";
import type { Engine } from "./engine.ts";

/** Problem details as they are sent. */
export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  errors?: { field: string; value?: unknown; message: string; expected?: string }[];
}

/** The problem that a response holds; its form is checked. */
export async function problemOf(response: Response): Promise<ProblemBody> {
  assert.equal(
    response.headers.get("content-type"),
    "application/problem+json",
    String(response.status),
  );
  const problem: ProblemBody = await response.json();
  assert.equal(problem.status, response.status);
  assert.match(problem.type, /^\/api\/problems\/[a-z-]+$/);
  for (const member of ["title", "detail", "instance"] as const) {
    assert.equal(typeof problem[member], "string");
  }
  assert.notEqual(problem.type, "/api/problems/internal", problem.detail);
  return problem;
}

/** Asks for a run with a body of data and parameters in the query. */
export const ask = (engine: Engine, query: string, type: string, body: BodyInit) =>
  engine.request(`/api/etl/run?${query}`, {
    method: "POST",
    headers: { "content-type": type },
    body,
  });
