import assert from "node:assert/strict";
import type { Client } from "../../store/pg.ts";
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
  items: {
    slot: string;
    slot_previous: string;
    local: string;
    action: string;
    run_id: string;
    state_before: string;
  }[];
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

export type Setting = Record<string, unknown>;

/** Makes a schedule; every hour unless it says otherwise. */
export async function schedule(sql: Client, name: string, settings: Setting = {}): Promise<void> {
  const row = { name, cron: "0 * * * *", ...settings };
  const columns = Object.keys(row).join(", ");
  await sql.query(
    `insert into etl.schedules (${columns})
      select ${columns} from jsonb_populate_record(null::etl.schedules, $1::text::jsonb)`,
    [JSON.stringify(row)],
  );
}

/** Stores slots so many seconds ago. */
export async function slots(sql: Client, name: string, ages: number[]): Promise<void> {
  await sql.query(
    `insert into etl.slots (schedule, slot, slot_previous)
      select $1, now() - age * interval '1 second', now() - (age + 3600) * interval '1 second'
      from unnest($2::float8[]) as age`,
    [name, ages],
  );
}

/** Turns due slots into runs. */
export const tick = async (sql: Client) =>
  (await sql.query("select etl.tick_schedules() as counts")).rows[0].counts;

/** States of a schedule's slots, oldest first. */
export const states = async (sql: Client, name: string): Promise<string[]> =>
  (await sql.query(
    "select state from etl.slots where schedule = $1 order by slot",
    [name],
  )).rows.map((row) => row.state);

/** Ends waiting runs as a server would. */
export const end = (sql: Client) =>
  sql.query(`update etl.runs set state = 'cancelled', ended_at = now() where state = 'queued'`);
