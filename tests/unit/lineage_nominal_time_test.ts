import assert from "node:assert/strict";
import type { ExportFacts } from "../../store/exports.ts";
import { lineageEvent } from "../../telemetry/integrations/openlineage.ts";

/** What nominalTime says of a run. */
function nominal(slot?: string | null): unknown {
  const run = {
    run_id: "019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d",
    run_label: "sales",
    state: "succeeded",
    replay_of: null,
    schema_name: "public",
    table_name: "etl_improved_events",
    params: { source: { type: "synthetic" } },
    requested_at: "2027-03-28T01:00:04.500Z",
    ended_at: "2027-03-28T01:00:05.000Z",
    error: null,
    ...(slot === undefined ? {} : { slot }),
  } as unknown as ExportFacts["run"];
  const event = lineageEvent("start", {
    facts: { run, stages: [], ended: false, validation: null },
    endNo: 1,
    startedAt: "2027-03-28T01:00:04.600Z",
  }, {
    namespace: "test",
    destination: { namespace: "postgres://localhost:5432", database: "etl" },
    connections: {},
    httpConnections: {},
    dataDir: "/data",
    version: "1",
  });
  const { facets } = event.run as { facets: Record<string, { nominalStartTime: string }> };
  return facets.nominalTime!.nominalStartTime;
}

Deno.test("the nominal time of a scheduled run is its slot, of others their request", () => {
  assert.equal(nominal("2027-03-28T01:00:00+00:00"), "2027-03-28T01:00:00.000Z");
  assert.equal(nominal(null), "2027-03-28T01:00:04.500Z");
  assert.equal(nominal(), "2027-03-28T01:00:04.500Z");
});
