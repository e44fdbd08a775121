import assert from "node:assert/strict";
import type { Engine } from "./engine.ts";

export type Body = Record<string, unknown>;

/** What GET /api/schedules/{name}/slots answers with. */
export interface Slots {
  ahead: { slot: string; local: string; slot_previous: string; state: string }[];
  past: { slot: string; state: string; note: string | null }[];
  next: string | null;
}

/** What a backfill answers with. */
export interface Backfill {
  runs: number;
  kept: number;
  items: { slot: string; local: string; action: string; run_id: string; state_before: string }[];
}

/** Creates or changes a schedule. */
export const put = (engine: Engine, name: string, body: Body) =>
  engine.request(`/api/schedules/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

/** A JSON answer of status 200, 201 or 202. */
export async function ok<T = Body>(response: Response): Promise<T> {
  const body = await response.json();
  assert.ok(response.ok, JSON.stringify(body));
  return body;
}

export const slotsOf = async (engine: Engine, name: string, query = "") =>
  await ok<Slots>(await engine.request(`/api/schedules/${name}/slots?${query}`));
