/** Formats that `occurred_at` and a time-valued `version` may have. */
export type TimeFormat = "iso" | "epoch_s" | "epoch_ms" | "epoch_us";

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$/;

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * A time as text in UTC with at most microseconds, as PostgreSQL takes it:
 * "2026-01-31T23:59:59.5Z". Null where the value is not a time of years 1 to
 * 9999 (a 30th of February is none). ISO text without an offset is UTC, and
 * keeps nanoseconds with `decimals: 9`; default 6.
 */
export function toUtcText(
  value: unknown,
  format: TimeFormat = "iso",
  { decimals = 6 }: { decimals?: 6 | 9 } = {},
): string | null {
  if (format !== "iso") return fromEpoch(value, format);
  if (typeof value !== "string") return null;
  return isPlainUtc(value) ? value : fromIso(value, decimals);
}

/** Whether a text is what toUtcText would make of it: most times of machines are, and reading them costs no pattern. */
function isPlainUtc(text: string): boolean {
  const last = text.length - 1;
  if (last < 19 || last > 26 || last === 20 || text.charCodeAt(last) !== 90) return false;
  if (last > 19) {
    if (text.charCodeAt(19) !== 46 || text.charCodeAt(last - 1) === 48) return false;
    for (let i = 20; i < last; i++) if (!isDigit(text.charCodeAt(i))) return false;
  }
  const century = pair(text, 0);
  const year = pair(text, 2);
  return text.charCodeAt(4) === 45 && text.charCodeAt(7) === 45 && text.charCodeAt(10) === 84 &&
    text.charCodeAt(13) === 58 && text.charCodeAt(16) === 58 && century >= 0 && year >= 0 &&
    isDay(century * 100 + year, pair(text, 5), pair(text, 8)) &&
    isBelow(pair(text, 11), 24) && isBelow(pair(text, 14), 60) && isBelow(pair(text, 17), 60);
}

function isDigit(unit: number): boolean {
  return unit >= 48 && unit <= 57;
}

/** Two digits; −1 where they are none. */
function pair(text: string, at: number): number {
  const [tens, ones] = [text.charCodeAt(at), text.charCodeAt(at + 1)];
  return isDigit(tens) && isDigit(ones) ? tens * 10 + ones - 528 : -1;
}

function isBelow(value: number, limit: number): boolean {
  return value >= 0 && value < limit;
}

function fromIso(value: string, decimals: number): string | null {
  const match = ISO.exec(value);
  if (match === null) return null;
  const [, y, mo, d, h = "00", mi = "00", s = "00", fraction = "", offset = "Z"] = match;
  if (!isDay(+y!, +mo!, +d!) || +h > 23 || +mi > 59 || +s > 59) return null;
  const digits = fraction.slice(0, decimals).replace(/0+$/, "");
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

/** Whether a calendar has a day, of a year from 1 on. */
export function isDay(year: number, month: number, day: number): boolean {
  if (year < 1 || month < 1 || month > 12 || day < 1) return false;
  const leap = month === 2 && (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0));
  return day <= DAYS[month - 1]! + (leap ? 1 : 0);
}

const FAR =
  /^([+-]?\d{4,7})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:Z|\+00)?)?( BC)?$/;
/** First day and first year of which PostgreSQL has no date or timestamptz, from 1970-01-01. */
const FIRST_DAY = -2_440_588;
const END_YEARS = { date: 5_874_898, timestamptz: 294_277 };

/** A date or time outside of the years 1 to 9999. */
export interface FarTime {
  /** As PostgreSQL writes it: "0044-03-15 BC", "0044-03-15 12:00:00+00 BC". */
  text: string;
  /** Days from 1970-01-01, and microseconds of the day. */
  day: number;
  micros: number;
}

/**
 * A time in UTC outside of the years 1 to 9999 that PostgreSQL's type holds, as PostgreSQL writes it or as ISO 8601 has it
 * with a sign ("-000043-03-15T12:00:00Z"); null where it is none, or within those years.
 */
export function farTime(value: string, type: "date" | "timestamptz"): FarTime | null {
  const match = FAR.exec(value);
  if (match === null) return null;
  const [, y, mo, d, h = "00", mi = "00", s = "00", fraction = "", bc] = match;
  const year = bc === undefined ? +y! : 1 - +y!;
  if (year >= 1 && year <= 9999 || bc !== undefined && !(+y! > 0)) return null;
  // 400 years have the same days
  if (!isDay(((year % 400) + 400) % 400 + 400, +mo!, +d!)) return null;
  if (+h > 23 || +mi > 59 || +s > 59) return null;
  const micros = (+h * 3600 + +mi * 60 + +s) * 1_000_000 + +fraction.padEnd(6, "0");
  if (type === "date" && micros !== 0) return null;
  const day = dayOf(year, +mo!, +d!);
  if (day < FIRST_DAY || year >= END_YEARS[type]) return null;
  const rest = fraction.replace(/0+$/, "");
  const time = type === "date" ? "" : ` ${h}:${mi}:${s}${rest === "" ? "" : `.${rest}`}+00`;
  const shown = `${year < 1 ? 1 - year : year}`.padStart(4, "0");
  return { text: `${shown}-${mo}-${d}${time}${year < 1 ? " BC" : ""}`, day, micros };
}

/** Days from 1970-01-01 to a day of the Gregorian calendar, of any year; 0 is the year before 1. */
function dayOf(year: number, month: number, day: number): number {
  // years begin in March, so that the day that some have is their last
  const y = month > 2 ? year : year - 1;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const leaps = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return y * 365 + leaps + dayOfYear - 719_468;
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

/** Seconds since 1970 as decimal text with at most nanoseconds, from what toUtcText gives. */
export function utcTextToEpoch(text: string): string {
  const seconds = Date.parse(text.slice(0, 19) + "Z") / 1000;
  const fraction = text.length > 20 ? text.slice(20, -1) : "";
  if (fraction === "") return `${seconds}`;
  if (seconds >= 0) return `${seconds}.${fraction}`;
  // a negative time counts its fraction upwards from the second before
  const nanos = BigInt(-seconds) * 1_000_000_000n - BigInt(fraction.padEnd(9, "0"));
  const rest = (nanos % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  return `-${nanos / 1_000_000_000n}${rest === "" ? "" : `.${rest}`}`;
}
