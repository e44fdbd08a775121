import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { SlotClock, tidyZone } from "../../pipeline/schedules/cron.ts";

/** Slots after an instant as the clocks of the zone show them. */
function after(cron: string, zone: string, from: string, limit: number): string[] {
  const clock = new SlotClock(cron, zone);
  return [...clock.after(new Date(from), { limit })].map((slot) => clock.local(slot).slice(5, 22));
}

const MADRID = "Europe/Madrid";
const NEW_YORK = "America/New_York";

Deno.test("a local time that spring leaves out is due once, when the clocks change", () => {
  assert.deepEqual(after("30 2 * * *", MADRID, "2027-03-27T00:00:00Z", 3), [
    "03-27T02:30:00+01",
    "03-28T03:00:00+02",
    "03-29T02:30:00+02",
  ]);
  assert.deepEqual(after("30 2 * * *", NEW_YORK, "2027-03-13T06:00:00Z", 3), [
    "03-13T02:30:00-05",
    "03-14T03:00:00-04",
    "03-15T02:30:00-04",
  ]);
  assert.deepEqual(after("0 2 * * *", MADRID, "2027-03-27T12:00:00Z", 2), [
    "03-28T03:00:00+02",
    "03-29T02:00:00+02",
  ]);
  // 02:00 and 02:30 are the same instant on that day, and 03:00 is it too
  assert.deepEqual(after("*/30 2 * * *", MADRID, "2027-03-27T12:00:00Z", 3), [
    "03-28T03:00:00+02",
    "03-29T02:00:00+02",
    "03-29T02:30:00+02",
  ]);
  assert.deepEqual(after("0,30 2-3 * * *", NEW_YORK, "2027-03-13T12:00:00Z", 3), [
    "03-14T03:00:00-04",
    "03-14T03:30:00-04",
    "03-15T02:00:00-04",
  ]);
});

Deno.test("a local time that autumn has twice is due once, the first time", () => {
  assert.deepEqual(after("30 2 * * *", MADRID, "2027-10-30T12:00:00Z", 2), [
    "10-31T02:30:00+02",
    "11-01T02:30:00+01",
  ]);
  assert.deepEqual(after("30 1 * * *", NEW_YORK, "2027-11-06T12:00:00Z", 2), [
    "11-07T01:30:00-04",
    "11-08T01:30:00-05",
  ]);
  assert.deepEqual(after("*/30 2 * * *", MADRID, "2027-10-30T12:00:00Z", 3), [
    "10-31T02:00:00+02",
    "10-31T02:30:00+02",
    "11-01T02:00:00+01",
  ]);
  // asked for between the two, it does not come a second time
  assert.deepEqual(after("45 1 * * *", NEW_YORK, "2027-11-07T06:10:00Z", 1), [
    "11-08T01:45:00-05",
  ]);
});

Deno.test("an expression for every hour is due each hour that passes, whatever the clocks say", () => {
  const gaps = (cron: string, zone: string, from: string) => {
    const slots = [...new SlotClock(cron, zone).after(new Date(from), { limit: 200 })];
    return new Set(
      slots.slice(1).map((slot, i) => (slot.getTime() - slots[i]!.getTime()) / 60_000),
    );
  };
  for (const zone of [MADRID, NEW_YORK]) {
    for (const day of ["2027-03-12", "2027-03-27", "2027-10-29", "2027-11-06"]) {
      const from = `${day}T00:00:00Z`;
      assert.deepEqual(gaps("0 * * * *", zone, from), new Set([60]), `${zone} ${day}`);
      assert.deepEqual(gaps("*/15 * * * *", zone, from), new Set([15]), `${zone} ${day}`);
      assert.deepEqual(gaps("@hourly", zone, from), new Set([60]), `${zone} ${day}`);
    }
  }
});

Deno.test("slots are the same forwards and backwards, through both changes of the clocks", () => {
  const crons = [
    "0 2 * * *",
    "30 2 * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "0 * * * *",
    "15 3 * * 0",
  ];
  for (const [start, end] of [["2027-03-10", "2027-04-08"], ["2027-10-25", "2027-11-10"]]) {
    const [from, to] = [new Date(`${start}T00:00:00Z`), new Date(`${end}T00:00:00Z`)];
    for (const zone of [MADRID, NEW_YORK, "UTC", "Australia/Lord_Howe"]) {
      for (const cron of crons) {
        const clock = new SlotClock(cron, zone);
        const forwards = [...clock.after(from, { until: to })].map((slot) => slot.getTime());
        const backwards: number[] = [];
        for (const slot of clock.before(new Date(to.getTime() + 1))) {
          if (slot <= from) break;
          backwards.push(slot.getTime());
        }
        assert.deepEqual(forwards, backwards.toReversed(), `${cron} ${zone}`);
        assert.equal(new Set(forwards).size, forwards.length);
      }
    }
  }
});

Deno.test("the slot before an instant in the hour that autumn repeats is that of the first time", () => {
  for (
    const [zone, cron, at, before] of [
      [MADRID, "30 2 * * *", "2027-10-31T02:00:00+01:00", "2027-10-31T02:30:00+02:00"],
      [MADRID, "30 2 * * *", "2027-10-31T02:45:00+01:00", "2027-10-31T02:30:00+02:00"],
      [MADRID, "30 2 * * *", "2027-10-31T02:30:00+02:00", "2027-10-30T02:30:00+02:00"],
      [NEW_YORK, "45 1 * * *", "2027-11-07T01:10:00-05:00", "2027-11-07T01:45:00-04:00"],
      ["America/Santiago", "30 23 * * *", "2027-04-03T23:10:00-04:00", "2027-04-03T23:30:00-03:00"],
      [
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2027-04-04T01:40:00+10:30",
        "2027-04-04T01:45:00+11:00",
      ],
    ] as const
  ) {
    const [slot] = new SlotClock(cron, zone).before(new Date(at), { limit: 1 });
    assert.equal(slot!.toISOString(), new Date(before).toISOString(), `${zone} ${at}`);
  }
});

Deno.test("zones have any of IANA's names, and their case is tidied", () => {
  for (
    const name
      of "GMT CET EST5EDT Japan Singapore PRC Zulu UTC W-SU Asia/Calcutta America/Port-au-Prince Etc/GMT+5"
        .split(" ")
  ) {
    assert.equal(tidyZone(name.toLowerCase()), name);
    assert.equal([...new SlotClock("@daily", name).after(new Date(0), { limit: 1 })].length, 1);
  }
  for (const none of ["+02:00", "", "Mars", "Europe", "UTC+2"]) {
    assert.equal(tidyZone(none), undefined);
  }
});

Deno.test("a day of local times is one slot a day, whatever the zone does", () => {
  for (const zone of [MADRID, NEW_YORK, "Australia/Lord_Howe", "Africa/Casablanca"]) {
    for (const cron of ["30 2 * * *", "30 1 * * *", "0 0 * * *", "@daily"]) {
      const from = new Date("2026-12-31T12:00:00Z");
      const slots = [
        ...new SlotClock(cron, zone).after(from, { until: new Date("2027-12-31T12:00:00Z") }),
      ];
      assert.equal(slots.length, 365, `${cron} ${zone}`);
    }
  }
});

Deno.test("what is wrong with an expression or a zone is told with its field and what would be right", () => {
  const cases: [string, string, string, RegExp, RegExp?][] = [
    ["* * * * * *", "UTC", "cron", /has 6 fields; seconds and years are not supported/],
    ["0 0 * * * * 2027", "UTC", "cron", /has 7 fields/],
    ["* * *", "UTC", "cron", /has 3 of the five fields/, /minute hour day month weekday/],
    ["", "UTC", "cron", /fields/],
    ["@reboot", "UTC", "cron", /not a known shorthand/, /@hourly/],
    ["@every 5m", "UTC", "cron", /shorthand/],
    ["61 * * * *", "UTC", "cron", /cannot be read: Invalid value for minute: 61/],
    ["a b c d e", "UTC", "cron", /cannot be read/],
    ["0 0 30 2 *", "UTC", "cron", /is never due/],
    ["2027-01-01T00:00:00", "UTC", "cron", /fields/],
    [
      "* * * * *",
      "Europe/Madird",
      "time_zone",
      /did you mean Europe\/Madrid\?/,
      /^Europe\/Madrid$/,
    ],
    ["* * * * *", "Europe/Madri", "time_zone", /did you mean Europe\/Madrid\?/],
    ["* * * * *", "New York", "time_zone", /did you mean America\/New_York\?/],
    ["* * * * *", "+02:00", "time_zone", /not a known time zone/, /IANA/],
    ["* * * * *", "", "time_zone", /not a known time zone/],
    ["* * * * *", "Mars/Olympus_Mons_Station", "time_zone", /not a known time zone$/],
  ];
  for (const [cron, zone, field, message, expected] of cases) {
    assert.throws(() => new SlotClock(cron, zone), (error) => {
      assert.ok(error instanceof Problem);
      assert.equal(error.errors.length, 1, error.message);
      assert.equal(error.errors[0]!.field, field);
      assert.match(error.errors[0]!.message, message);
      if (expected !== undefined) assert.match(error.errors[0]!.expected!, expected);
      return true;
    }, `${cron} ${zone}`);
  }
  assert.throws(() => new SlotClock("nope", "nowhere"), /2 errors: cron .*; time_zone /);
});

Deno.test("shorthands, names, ranges and zones under an older name are accepted", () => {
  for (
    const cron of [
      "@hourly",
      "@daily",
      "@midnight",
      "@weekly",
      "@monthly",
      "@yearly",
      "@annually",
      "0  9 * JAN-MAR MON-FRI",
      " 5 4 * * sun ",
      "0 0 29 2 *",
      "0 0 * * 7",
      "*/7 * * * *",
    ]
  ) assert.equal([...new SlotClock(cron, "UTC").after(new Date(), { limit: 2 })].length, 2, cron);
  for (
    const zone of [
      "Asia/Calcutta",
      "Asia/Kolkata",
      "Europe/Kiev",
      "Europe/Kyiv",
      "Etc/UTC",
      "America/Argentina/Ushuaia",
    ]
  ) {
    new SlotClock("@daily", zone);
  }
});

Deno.test("8 days of minutes are 11,520 slots", () => {
  const clock = new SlotClock("* 0-22,23 * * *", MADRID);
  const from = new Date("2027-03-25T00:00:00Z");
  const slots = [...clock.after(from, { until: new Date(from.getTime() + 8 * 86_400_000) })];
  assert.equal(slots.length, 8 * 1440);
});
