import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";

/** Refuses records that are marked, until the module is replaced. */
const REFUSES = `export function transform(record) {
  if (record.bad) throw new Error("is bad");
  return record;
}`;

const source = (records: object[]) => ({ type: "inline", name: "shop", key: "id", records });

Deno.test("a replay loads what was rejected with today's transform, and overwrites nothing that came later", async (t) => {
  await using engine = await startEngine(t, { transforms: { checks: REFUSES } });
  const load = (records: object[]) =>
    engine.succeed({ transform: "checks", min_acceptance_ratio: 0, source: source(records) });
  await load([{ id: "changed", v: 0 }, { id: "newer", v: 0 }]);
  const rejecting = await load([
    { id: "changed", v: 1, bad: true },
    { id: "newer", v: 1, bad: true },
    { id: "missing", v: 1, bad: true },
  ]);
  assert.equal(rejecting.counts.rejected, 3);
  await load([{ id: "newer", v: 2 }]);

  await Deno.writeTextFile(
    `${engine.config.transformsDir}/checks.ts`,
    "export const transform = ({ bad: _bad, ...record }) => record;",
  );
  const path = `/api/etl/runs/${rejecting.run_id}/quarantine/replay`;
  const asked = await engine.post(path);
  assert.equal(asked.status, 202, await asked.clone().text());
  const { run_id } = await asked.json();
  const replay = await engine.toEnd(run_id);
  assert.equal(replay.state, "succeeded", JSON.stringify(replay.error));
  const { inserted, updated, unchanged } = replay.counts;
  assert.deepEqual([replay.replay_of, inserted, updated, unchanged], [rejecting.run_id, 1, 1, 1]);
  assert.deepEqual(await engine.payloads(), {
    changed: { id: "changed", v: 1 },
    missing: { id: "missing", v: 1 },
    newer: { id: "newer", v: 2 },
  });
  const again = await engine.post(path);
  assert.equal(again.status, 409, "what was replayed is not replayed again");
  assert.deepEqual((await engine.run(rejecting.run_id)).counts, rejecting.counts);
});
