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
  const offsetMinutes = +(offset.slice(3).replace(":", "") || "0");
  const minutes = +offset.slice(1, 3) * 60 + offsetMinutes;
  if (offsetMinutes > 59 || minutes > 18 * 60) return null;
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

/** Microseconds of one unit, and the decimals with which a number of that unit gives them. */
const UNITS = {
  epoch_s: { perUnit: 1_000_000n, decimals: 6 },
  epoch_ms: { perUnit: 1_000n, decimals: 3 },
  epoch_us: { perUnit: 1n, decimals: 0 },
};

function fromEpoch(value: unknown, format: Exclude<TimeFormat, "iso">): string | null {
  const micros = epochMicros(value, format);
  if (micros === null) return null;
  const seconds = floorDiv(micros, 1_000_000n);
  const digits = (micros - seconds * 1_000_000n).toString().padStart(6, "0").replace(/0+$/, "");
  return withFraction(new Date(Number(seconds) * 1000), digits === "" ? "Z" : `.${digits}Z`);
}

/** Microseconds since 1970. Doubles are rounded to them; further digits of text are cut off, as in ISO text. */
function epochMicros(value: unknown, format: Exclude<TimeFormat, "iso">): bigint | null {
  const { perUnit, decimals } = UNITS[format];
  if (typeof value === "bigint") return value * perUnit;
  const text = typeof value === "number" && Number.isFinite(value)
    ? value.toFixed(decimals)
    : typeof value === "string"
    ? value
    : "";
  const match = /^(-?)(\d{1,18})(?:\.(\d{1,30}))?$/.exec(text);
  if (match === null) return null;
  const [, sign, whole, fraction = ""] = match;
  // nine more digits than the unit has, so that the cut falls behind the microseconds
  const scaled = BigInt(whole! + fraction.slice(0, 9).padEnd(9, "0")) * perUnit;
  return floorDiv(sign === "-" ? -scaled : scaled, 1_000_000_000n);
}

function floorDiv(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b < 0n ? quotient - 1n : quotient;
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
  if (seconds >= 0) return `${seconds}.${fraction}`;
  // a negative time counts its fraction upwards from the second before
  const micros = BigInt(-seconds) * 1_000_000n - BigInt(fraction.padEnd(6, "0"));
  const rest = (micros % 1_000_000n).toString().padStart(6, "0").replace(/0+$/, "");
  return `-${micros / 1_000_000n}${rest === "" ? "" : `.${rest}`}`;
}
