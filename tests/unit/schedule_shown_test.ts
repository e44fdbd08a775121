import assert from "node:assert/strict";
import { localOf, shown } from "../../routes/schedule_body.ts";

const row = {
  ...{ name: "s", description: null, cron: "0 3 * * *", time_zone: "Europe/Madrid", conf: {} },
  ...{ configuration: null, active: true, paused: true, paused_until: null as string | null },
  ...{ missed: "last", grace_seconds: 120, overlap: "skip", last_slot: null, problem: null },
  ...{ next_slot: null as string | null, slots_until: "2027-01-10T00:00:00.000Z" as string | null },
  ...{ created_at: "2027-01-01T00:00:00Z", updated_at: "2027-01-01T00:00:00Z", updated_by: null },
};
const next = (more: Partial<typeof row>) => {
  const { next_slot, next_slot_local } = shown({ ...row, ...more } as never);
  return [next_slot, next_slot_local];
};

Deno.test("a schedule shows its next slot, as the clocks of its zone do, and in words when it is due", () => {
  assert.deepEqual(next({ next_slot: "2027-07-02T01:00:00.000Z" }), [
    "2027-07-02T01:00:00.000Z",
    "2027-07-02T03:00:00+02:00",
  ]);
  assert.equal(shown(row as never).cron_words, "At 03:00");
  assert.deepEqual(next({}), [null, null]);
});

Deno.test("a pause that ends later than slots are stored shows the first slot at its end or after it", () => {
  const slot = ["2027-02-01T02:00:00.000Z", "2027-02-01T03:00:00+01:00"];
  assert.deepEqual(next({ paused_until: "2027-01-31T12:00:00.000Z" }), slot);
  assert.deepEqual(next({ paused_until: "2027-02-01T02:00:00.000Z" }), slot, "the end is no pause");
  assert.notDeepEqual(next({ paused_until: "2027-02-01T02:00:00.001Z" }), slot);
  // within what is stored the database knows; without a plan nobody does; what is off has none
  assert.deepEqual(next({ paused_until: "2027-01-09T00:00:00.000Z" }), [null, null]);
  assert.deepEqual(next({ paused_until: "2027-02-01T00:00:00Z", slots_until: null }), [null, null]);
  assert.deepEqual(next({ paused_until: "2027-02-01T00:00:00Z", active: false }), [null, null]);
});

Deno.test("a time of a zone that this server does not know is shown in UTC", () => {
  assert.equal(localOf("2027-01-01T00:00:00.5Z", "Mars/Olympus"), "2027-01-01T00:00:00Z");
});
