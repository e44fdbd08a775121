import assert from "node:assert/strict";
import { compileStrptime, strptimeIso, strptimeParser } from "../../pipeline/strptime.ts";

/** What Python makes of each text in the C locale; null: it refuses it. */
const PYTHON: Record<string, Record<string, string | null>> = {
  "%Y-%m-%d %H:%M:%S.%f": {
    "2026-1-5 0:5:7.5": "2026-01-05T00:05:07.5",
    "2026-12-31 19:59:59.123456": "2026-12-31T19:59:59.123456",
    "2026-10-30 23:00:09.1": "2026-10-30T23:00:09.1",
    "2026-01-05 23:59:59.1234567": null,
    "2026-01-05 24:00:00.0": null,
    "2026-01-05 20:60:00.0": null,
    "2026-01-05 20:00:60.0": null,
    "2026-13-05 20:00:00.0": null,
    "2026-00-05 20:00:00.0": null,
    "2026-10-00 20:00:00.0": null,
    "2026-10-31 20:00:00.": null,
    "0000-10-31 20:00:00.0": null,
  },
  "%d.%m.%y %I%p": {
    "01.02.68 12AM": "2068-02-01T00:00:00",
    "01.02.69 12PM": "1969-02-01T12:00:00",
    "01.02.00 1pm": "2000-02-01T13:00:00",
    "31.10.99 09am": "1999-10-31T09:00:00",
    "01.02.99 0am": null,
    "01.02.99 00am": null,
    "01.02.99 13am": null,
    "1.2.9 1am": null,
  },
  "%Y %j": {
    "2024 366": "2024-12-31T00:00:00",
    "2023 366": "2024-01-01T00:00:00",
    "2024 060": "2024-02-29T00:00:00",
    "2023 1": "2023-01-01T00:00:00",
    "2023 01": "2023-01-01T00:00:00",
    "2023 099": "2023-04-09T00:00:00",
    "2023 359": "2023-12-25T00:00:00",
    "0050 365": "0050-12-31T00:00:00",
    "2023 0": null,
    "2023 367": null,
    "9999 366": null,
    "0000 001": null,
  },
  "%d %b %Y": { "5 MAR 2026": "2026-03-05T00:00:00", "5 Sept 2026": null },
  "%d %B %Y": { "5 September 2026": "2026-09-05T00:00:00", "5 sep 2026": null },
  "%Y-%m-%dT%H:%M:%S%z": {
    "2026-01-05T00:00:00+0130": "2026-01-05T00:00:00+0130",
    "2026-01-05T00:00:00+23:59": "2026-01-05T00:00:00+23:59",
    "2026-01-05T00:00:00Z": "2026-01-05T00:00:00Z",
    "2026-01-05T00:00:00z": null,
    "2026-01-05T00:00:00+24:00": null,
    "2026-01-05T00:00:00+0160": null,
  },
  "%Y-%m-%dT%H:%M%z": {
    "2026-01-05T00:00+01:30:15.5": "2026-01-05T00:00:00+01:30:15.5",
    "2026-01-05T00:00+013015": "2026-01-05T00:00:00+013015",
  },
  "%Y-%m-%d": {
    // of Arabic, and two of the sets of ten that mathematics has one behind the other
    "٢٠٢٦-01-05": "2026-01-05T00:00:00",
    "𝟐𝟎𝟐𝟔-01-05": "2026-01-05T00:00:00",
    "𝟚𝟘𝟚𝟞-01-05": "2026-01-05T00:00:00",
    "2026-01- 5": "2026-01-05T00:00:00",
    "2026-01-  5": null,
  },
  "%d.%m.%Y": { "01.02.2026": "2026-02-01T00:00:00", "01x02x2026": null },
  "(%d)+[%m]{%Y}|^$*?/\\": { "(01)+[02]{2026}|^$*?/\\": "2026-02-01T00:00:00" },
  "%d \t %b  %Y": {
    "5 mar 2026": "2026-03-05T00:00:00",
    "5\nmar   2026": "2026-03-05T00:00:00",
    "5mar 2026": null,
  },
  "%Y-%m-%d%%%%": { "2026-01-05%%": "2026-01-05T00:00:00", "2026-01-05%": null },
  "%a %d %b %Y": { "Mon 5 Jan 2026": "2026-01-05T00:00:00", "Monday 5 Jan 2026": null },
  "%A %d %b %Y": { "monday 5 Jan 2026": "2026-01-05T00:00:00", "Mon 5 Jan 2026": null },
  "%Y-%m-%d %Z": { "2026-01-05 gmt": "2026-01-05T00:00:00Z", "2026-01-05 CET": null },
};

Deno.test("a time is read by a format as Python reads it, and what Python refuses is refused", () => {
  for (const [format, cases] of Object.entries(PYTHON)) {
    const parse = strptimeParser(format);
    for (const [text, iso] of Object.entries(cases)) {
      const parts = parse(text);
      assert.equal(parts && strptimeIso(parts), iso, `${format}: ${text}`);
      assert.equal(compileStrptime(format)(text), iso !== null, `${format}: ${text}`);
    }
  }
});

Deno.test("a day is one that its month has, in the year that the format says, else in 1900", () => {
  const [whole, short] = ["%Y-%m-%d", "%y-%m-%d"].map(compileStrptime);
  for (const year of [1900, 1969, 2000, 2023, 2024, 2068]) {
    for (let month = 1; month <= 12; month++) {
      for (let day = 27; day <= 32; day++) {
        const is = day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
        const rest = `-${month}-${day}`;
        assert.equal(whole!(`${year}${rest}`), is, `${year}${rest}`);
        if (year !== 1900) assert.equal(short!(`${year}`.slice(2) + rest), is, rest);
      }
    }
  }
  assert.ok(!compileStrptime("%d %b")("29 feb") && compileStrptime("%d %b")("28 feb"));
});

Deno.test("a format that says no day of a year matches as in Python, but tells no time", () => {
  for (
    const [format, text] of [
      ["%d %b", "5 mar"],
      ["%Y", "2026"],
      ["%Y-%m", "2026-01"],
      ["%Y %d", "2026 5"],
      ["%H:%M", "12:30"],
    ] as const
  ) {
    const parts = strptimeParser(format)(text);
    assert.ok(parts !== null, format);
    assert.equal(strptimeIso(parts), null, format);
  }
});
