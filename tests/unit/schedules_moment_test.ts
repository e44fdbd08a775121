import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { readMoment } from "../../pipeline/schedules/moment.ts";

const read = (text: string, end = false, timeZone = "Europe/Madrid") =>
  readMoment(text, { field: "from", timeZone, end }).toISOString();

Deno.test("readMoment() takes a day of the zone, from its beginning or to its end", () => {
  // this day has 23 hours
  assert.equal(read("2027-03-28"), "2027-03-27T23:00:00.000Z");
  assert.equal(read("2027-03-28", true), "2027-03-28T21:59:59.999Z");
  assert.equal(read("2027-03-28", false, "UTC"), "2027-03-28T00:00:00.000Z");
});

Deno.test("readMoment() takes a local time of the zone, and an instant whatever the zone", () => {
  assert.equal(read("2027-03-28T03:30"), "2027-03-28T01:30:00.000Z");
  assert.equal(read("2027-03-28 03:30:05"), "2027-03-28T01:30:05.000Z");
  assert.equal(read("2027-03-28T03:30:00Z", true), "2027-03-28T03:30:00.000Z");
  assert.equal(read("2027-03-28T03:30:00-04:00"), "2027-03-28T07:30:00.000Z");
});

Deno.test("readMoment() names the field, the value and what would be right", () => {
  for (
    const text of ["", "yesterday", "2027-02-30", "2027-13-01", "2027-03-28T25:00", "12:00", "1"]
  ) {
    assert.throws(() => read(text), (error) => {
      assert.ok(error instanceof Problem, text);
      assert.deepEqual([error.status, error.errors[0]!.field, error.errors[0]!.value], [
        400,
        "from",
        text,
      ]);
      assert.match(error.errors[0]!.expected!, /2027-03-28/);
      return true;
    });
  }
});
