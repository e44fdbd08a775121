import assert from "node:assert/strict";
import { giveBackRun } from "../../store/runs.ts";
import { startEngine } from "../helpers/engine.ts";

Deno.test("an outage is waited for by time, in pauses that grow, and uses no attempt up", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const { run_id } = await engine.submit({ batch_size: 5 });
  const error = {
    type: "/api/problems/database-unavailable",
    status: 503,
    detail: "no space is left on the database's disk.",
  };
  const giveBack = async (minutes: number | null) => {
    const [row] = await sql<{ attempt: number }[]>`
      update etl.runs set state = 'running', attempt = attempt + 1,
        admitted_at = coalesce(admitted_at, clock_timestamp()) where run_id = ${run_id} returning attempt`;
    const given = minutes === null ? error : { ...error, outage_minutes: minutes };
    assert.equal(await giveBackRun(sql, { run_id, attempt: row!.attempt }, given), true);
    const [run] = await sql<
      {
        used: number;
        pause: number;
        state: string;
        error: { detail: string; outage_minutes?: number };
      }[]
    >`
      select attempt - attempt_base as used, state, error,
        extract(epoch from next_attempt_at - clock_timestamp())::double precision as pause
      from etl.runs where run_id = ${run_id}`;
    return run!;
  };
  const used = 0;
  const first = await giveBack(30);
  assert.equal(first.used, used);
  assert.ok(first.pause > 0 && first.pause <= 1, `${first.pause}`);
  assert.equal(first.error.outage_minutes, undefined);
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '20 seconds' where run_id = ${run_id}`;
  const later = await giveBack(30);
  assert.ok(later.pause > 8 && later.pause < 11, `${later.pause}`);
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '29 minutes' where run_id = ${run_id}`;
  const long = await giveBack(30);
  assert.ok(long.pause > 55 && long.pause <= 60, `${long.pause}`);
  assert.equal(long.used, used);
  assert.equal((await giveBack(null)).used, used + 1, "what the run causes counts");
  await sql`update etl.runs set outage_since = clock_timestamp() - interval '31 minutes',
    next_attempt_at = clock_timestamp() where run_id = ${run_id}`;
  const over = await giveBack(30);
  assert.equal(over.state, "failed");
  assert.match(over.error.detail, /no space .*waited for since .*30 minutes of ETL_OUTAGE_MINUTES/);
});
