import assert from "node:assert/strict";
import fc from "fast-check";
import { farTime, toUtcText, utcTextToEpoch } from "../../pipeline/timestamps.ts";

Deno.test("toUtcText() takes days that the calendar has, and no others", () => {
  for (
    const day of ["2024-02-29", "2000-02-29", "2026-04-30", "0001-01-01", "9999-12-31"]
  ) {
    assert.equal(toUtcText(day), `${day}T00:00:00Z`);
  }
  for (
    const day of [
      "2023-02-29",
      "1900-02-29",
      "2026-02-30",
      "2026-04-31",
      "2026-13-01",
      "2026-00-10",
      "2026-01-00",
      "0000-01-01",
      "10000-01-01",
      "-001-01-01",
      "2026-1-1",
      "20260101",
      "2026-01",
      "today",
      "",
      " 2026-01-01",
      "2026-01-01\n",
    ]
  ) {
    assert.equal(toUtcText(day), null, JSON.stringify(day));
  }
});

Deno.test("toUtcText() takes a time that is written as it writes it, and nothing that only looks so", () => {
  for (
    const time of ["2026-01-31T23:59:59Z", "2024-02-29T00:00:00.5Z", "0001-01-01T00:00:00.000001Z"]
  ) {
    assert.equal(toUtcText(time), time);
  }
  assert.equal(toUtcText("2026-01-01T00:00:00.100Z"), "2026-01-01T00:00:00.1Z");
  assert.equal(toUtcText("2026-01-01T00:00:00.000Z"), "2026-01-01T00:00:00Z");
  assert.equal(toUtcText("2026-01-01T00:00:00.1234567Z"), "2026-01-01T00:00:00.123456Z");
  for (
    const time of [
      "2026-02-30T00:00:00Z",
      "0000-01-01T00:00:00Z",
      "2026-01-01T24:00:00Z",
      "2026-01-01T00:60:00Z",
      "2026-01-01T00:00:60Z",
      "2026-01-01T00:00:00.Z",
      "2026-01-01T00:00:00.5xZ",
      "2026-01-01t00:00:00Z",
      "2026/01/01T00:00:00Z",
      "20_6-01-01T00:00:00Z",
      "2026-01-01T00:00:0-Z",
    ]
  ) {
    assert.equal(toUtcText(time), null, time);
  }
});

Deno.test("toUtcText() agrees with the calendar on every day of four centuries", () => {
  for (let year = 1700; year <= 2100; year += 1) {
    for (let month = 1; month <= 12; month++) {
      for (const day of [28, 29, 30, 31, 32]) {
        const text = [String(year), String(month).padStart(2, "0"), day].join("-");
        const date = new Date(`${text}T00:00:00Z`);
        const exists = !Number.isNaN(date.getTime()) && date.getUTCDate() === day;
        assert.equal(toUtcText(text) !== null, exists, text);
      }
    }
  }
});

Deno.test("toUtcText() brings offsets to UTC, also across days and years", () => {
  const cases: Record<string, string | null> = {
    "2026-01-01T00:30:00+01:00": "2025-12-31T23:30:00Z",
    "2026-12-31 23:59:59-0800": "2027-01-01T07:59:59Z",
    "2024-02-28T20:00:00-05": "2024-02-29T01:00:00Z",
    "2026-06-01T12:00:00 +05:30": "2026-06-01T06:30:00Z",
    "2026-06-01T12:00Z": "2026-06-01T12:00:00Z",
    "2026-06-01T12:00:00z": "2026-06-01T12:00:00Z",
    "0001-01-01T00:00:00+00:01": null,
    "9999-12-31T23:59:59-00:01": null,
    "2026-06-01T12:00:00+18:00": "2026-05-31T18:00:00Z",
    "2026-06-01T12:00:00-01:59": "2026-06-01T13:59:00Z",
    "2026-06-01T12:00:00+01:60": null,
    "2026-06-01T12:00:00+18:01": null,
    "2026-06-01T12:00:00+1": null,
    "2026-06-01T24:00:00Z": null,
    "2026-06-01T12:60:00Z": null,
    "2026-06-01T12:00:60Z": null,
    "2026-06-01T12Z": null,
  };
  for (const [given, expected] of Object.entries(cases)) {
    assert.equal(toUtcText(given), expected, given);
  }
});

Deno.test("toUtcText() keeps microseconds and cuts off what is finer", () => {
  assert.equal(toUtcText("2026-01-01T00:00:00.1"), "2026-01-01T00:00:00.1Z");
  assert.equal(toUtcText("2026-01-01T00:00:00,123456789Z"), "2026-01-01T00:00:00.123456Z");
  assert.equal(toUtcText("2026-01-01T00:00:00.000000999Z"), "2026-01-01T00:00:00Z");
  assert.equal(toUtcText("2026-01-01T00:00:00.120000+01"), "2025-12-31T23:00:00.12Z");
});

Deno.test("toUtcText() reads epochs in their unit, negative ones too, as number or text", () => {
  assert.equal(toUtcText(0, "epoch_s"), "1970-01-01T00:00:00Z");
  assert.equal(toUtcText(-1, "epoch_s"), "1969-12-31T23:59:59Z");
  assert.equal(toUtcText(-1, "epoch_ms"), "1969-12-31T23:59:59.999Z");
  assert.equal(toUtcText(-1n, "epoch_us"), "1969-12-31T23:59:59.999999Z");
  assert.equal(toUtcText("-0.5", "epoch_s"), "1969-12-31T23:59:59.5Z");
  assert.equal(toUtcText(1_700_000_000.123457, "epoch_s"), "2023-11-14T22:13:20.123457Z");
  assert.equal(toUtcText("1700000000123.4567", "epoch_ms"), "2023-11-14T22:13:20.123456Z");
  assert.equal(toUtcText("1700000000123456", "epoch_us"), "2023-11-14T22:13:20.123456Z");
  assert.equal(toUtcText(`1.${"1".repeat(30)}`, "epoch_s"), "1970-01-01T00:00:01.111111Z");
  assert.equal(toUtcText(1_700_000_000_123.4, "epoch_ms"), "2023-11-14T22:13:20.1234Z");
  // beyond 2^53 microseconds, where a double would lose digits
  assert.equal(toUtcText(250_000_000_000_000_001n, "epoch_us"), "9892-03-08T12:26:40.000001Z");
  assert.equal(toUtcText("250000000000000001", "epoch_us"), "9892-03-08T12:26:40.000001Z");
  for (
    const wrong of [
      "",
      "1e3",
      "0x10",
      " 1",
      "1 ",
      "abc",
      NaN,
      Infinity,
      1e20,
      true,
      null,
      {},
      "9".repeat(400),
      10n ** 400n,
    ]
  ) {
    assert.equal(toUtcText(wrong, "epoch_s"), null, String(wrong).slice(0, 20));
  }
});

Deno.test("utcTextToEpoch() has the order and the microseconds of the times", () => {
  const micros = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n });
  fc.assert(
    fc.property(micros, (value) => {
      const text = utcTextToEpoch(toUtcText(value, "epoch_us")!);
      const match = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(text);
      assert.ok(match !== null, text);
      const back = BigInt(match[2]! + (match[3] ?? "").padEnd(6, "0"));
      assert.equal(match[1] === "-" ? -back : back, value);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("farTime() takes the dates and times that PostgreSQL has, and none beyond", () => {
  const text = (value: string, type: "date" | "timestamptz") => farTime(value, type)?.text ?? null;
  assert.equal(text("4714-11-24 BC", "date"), "4714-11-24 BC");
  assert.equal(text("4714-11-23 BC", "date"), null);
  assert.equal(text("5874897-12-31", "date"), "5874897-12-31");
  assert.equal(text("5874898-01-01", "date"), null);
  assert.equal(text("-004713-11-24T00:00:00Z", "timestamptz"), "4714-11-24 00:00:00+00 BC");
  assert.equal(text("-004713-11-23T23:59:59Z", "timestamptz"), null);
  assert.equal(text("+294276-12-31T23:59:59Z", "timestamptz"), "294276-12-31 23:59:59+00");
  assert.equal(text("+294277-01-01T00:00:00Z", "timestamptz"), null);
  assert.equal(text("2026-01-01", "date"), null, "which is not far");
  assert.equal(text("9999-12-31", "date"), null, "nor is this");
  assert.equal(text("10000-01-01", "date"), "10000-01-01");
  assert.equal(text("0001-01-01", "date"), null);
  assert.equal(text("0001-12-31 BC", "date"), "0001-12-31 BC");
  assert.equal(text("-000043-03-15", "date"), "0044-03-15 BC");
  assert.equal(text("0000-03-15 BC", "date"), null, "there is no year 0 before Christ");
  assert.equal(text("-10000-03-15 BC", "date"), null, "nor one before it with a sign");
  assert.equal(text("0044-03-15 12:00:00 BC", "date"), null, "a date with a time");
  assert.equal(text("0044-02-30 BC", "date"), null);
  // the year before the first, and each fourth one before it, has a 29th of February
  assert.deepEqual(
    ["0001", "0002", "0004", "0005", "0101", "0401"].map((year) =>
      text(`${year}-02-29 BC`, "date") !== null
    ),
    [true, false, false, true, false, true],
  );
  const at = (time: string) => text(`0044-03-15 ${time} BC`, "timestamptz");
  assert.equal(at("12:00:00.50+00"), "0044-03-15 12:00:00.5+00 BC");
  assert.equal(at("12:00:00Z"), "0044-03-15 12:00:00+00 BC");
  for (const wrong of ["24:00:00", "12:60:00", "12:00:60", "12:00:00+01"]) {
    assert.equal(at(wrong), null, wrong);
  }
  assert.equal(farTime("0044-03-15 01:02:03.5 BC", "timestamptz")!.micros, 3_723_500_000);
});

Deno.test("farTime() counts days from 1970 as the calendar does, before the year 1 and after 9999", () => {
  const two = (part: number) => `${part}`.padStart(2, "0");
  const day = fc.integer({ min: -2_440_588, max: 50_000_000 });
  fc.assert(
    fc.property(day, (given) => {
      const date = new Date(given * 86_400_000);
      const year = date.getUTCFullYear();
      const sign = year < 0 ? "-" : "";
      const text = `${sign}${`${Math.abs(year)}`.padStart(sign ? 6 : 4, "0")}-` +
        `${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
      const far = farTime(text, "date");
      assert.equal(far?.day, year >= 1 && year <= 9999 ? undefined : given, text);
    }),
    { numRuns: 2000 },
  );
});
