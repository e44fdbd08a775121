/** Formats that `occurred_at` and a time-valued `version` may have. */
export type TimeFormat = "iso" | "epoch_s" | "epoch_ms" | "epoch_us";

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$/;

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * A time as text in UTC with at most microseconds, as PostgreSQL takes it:
 * "2026-01-31T23:59:59.5Z". Null where the value is not a time of years 1 to
 * 9999 (a 30th of February is none). ISO text without an offset is UTC.
 */
export function toUtcText(value: unknown, format: TimeFormat = "iso"): string | null {
  if (format !== "iso") return fromEpoch(value, format);
  if (typeof value !== "string") return null;
  const match = ISO.exec(value);
  if (match === null) return null;
  const [, y, mo, d, h = "00", mi = "00", s = "00", fraction = "", offset = "Z"] = match;
  if (!isDay(+y!, +mo!, +d!) || +h > 23 || +mi > 59 || +s > 59) return null;
  const digits = fraction.slice(0, 6).replace(/0+$/, "");
  const tail = digits === "" ? "Z" : `.${digits}Z`;
  if (offset === "Z" || offset === "z") return `${y}-${mo}-${d}T${h}:${mi}:${s}${tail}`;
  const minutes = +offset.slice(1, 3) * 60 + +(offset.slice(3).replace(":", "") || "0");
  if (minutes > 18 * 60) return null;
  const utc = new Date(0);
  utc.setUTCFullYear(+y!, +mo! - 1, +d!);
  utc.setUTCHours(+h, +mi - (offset[0] === "-" ? -minutes : minutes), +s);
  return withFraction(utc, tail);
}

function isDay(year: number, month: number, day: number): boolean {
  if (year < 1 || month < 1 || month > 12 || day < 1) return false;
  const leap = month === 2 && (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0));
  return day <= DAYS[month - 1]! + (leap ? 1 : 0);
}

const UNITS_PER_SECOND = { epoch_s: 1, epoch_ms: 1_000, epoch_us: 1_000_000 };

function fromEpoch(value: unknown, format: Exclude<TimeFormat, "iso">): string | null {
  const number = typeof value === "number" || typeof value === "bigint"
    ? Number(value)
    : typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value)
    ? Number(value)
    : NaN;
  if (!Number.isFinite(number)) return null;
  const seconds = Math.floor(number / UNITS_PER_SECOND[format]);
  const micros = Math.round(
    (number - seconds * UNITS_PER_SECOND[format]) * (1_000_000 / UNITS_PER_SECOND[format]),
  );
  const utc = new Date((seconds + Math.floor(micros / 1_000_000)) * 1000);
  const digits = (micros % 1_000_000).toString().padStart(6, "0").replace(/0+$/, "");
  return withFraction(utc, digits === "" ? "Z" : `.${digits}Z`);
}

function withFraction(utc: Date, tail: string): string | null {
  const year = utc.getUTCFullYear();
  if (!(year >= 1 && year <= 9999)) return null;
  return utc.toISOString().slice(0, 19) + tail;
}

/** Seconds since 1970 as decimal text with at most microseconds, from what toUtcText gives. */
export function utcTextToEpoch(text: string): string {
  const seconds = Date.parse(text.slice(0, 19) + "Z") / 1000;
  const fraction = text.length > 20 ? text.slice(20, -1) : "";
  if (fraction === "") return `${seconds}`;
  // a negative time counts its fraction upwards from the second before
  return seconds >= 0
    ? `${seconds}.${fraction}`
    : `${(seconds * 1_000_000 + Number(fraction.padEnd(6, "0"))) / 1_000_000}`;
}
