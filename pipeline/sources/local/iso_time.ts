export type TimeUnit = "SECONDS" | "MILLIS" | "MICROS" | "NANOS";

const PER_SECOND: Record<TimeUnit, bigint> = {
  SECONDS: 1n,
  MILLIS: 1_000n,
  MICROS: 1_000_000n,
  NANOS: 1_000_000_000n,
};
const DIGITS: Record<TimeUnit, number> = { SECONDS: 0, MILLIS: 3, MICROS: 6, NANOS: 9 };

/** What stands for infinity where PostgreSQL's infinity is written (DuckDB), in 64 and 32 bits. */
const FOREVER = 2n ** 63n - 1n;
const FOREVER_DAYS = 2 ** 31 - 1;

/** ISO 8601 of a time since the epoch, with as many digits as it needs; Z only for UTC. */
export function isoTimestamp(
  value: bigint,
  { unit, utc }: { unit: TimeUnit; utc: boolean },
): string {
  if (value === FOREVER) return "infinity";
  if (value === -FOREVER) return "-infinity";
  const { seconds, rest } = split(value, unit);
  const date = new Date(Number(seconds) * 1_000);
  if (Number.isNaN(date.getTime())) return `${value} ${unit.toLowerCase()} since 1970-01-01`;
  // always thousandths, and finer ones only where there are some
  let digits = String(rest).padStart(DIGITS[unit], "0").slice(0, DIGITS[unit]).padEnd(3, "0");
  if (/^0*$/.test(digits.slice(3))) digits = digits.slice(0, 3);
  return `${date.toISOString().slice(0, -4)}${digits}${utc ? "Z" : ""}`;
}

/** The date of a day since 1970-01-01. */
export function isoDate(day: number): string {
  if (day === FOREVER_DAYS) return "infinity";
  if (day === -FOREVER_DAYS) return "-infinity";
  const date = new Date(day * 86_400_000);
  return Number.isNaN(date.getTime())
    ? `${day} days since 1970-01-01`
    : date.toISOString().split("T")[0]!;
}

/** "HH:MM:SS", with a fraction where there is one. */
export function timeOfDay(value: bigint, unit: TimeUnit): string {
  const { seconds, rest } = split(value, unit);
  const two = (part: bigint) => String(part).padStart(2, "0");
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}` +
    fraction(rest, unit);
}

/** ISO 8601 of a span of time: "P1Y2M3DT4.5S", "PT0S" for none. */
export function isoDuration(
  { months = 0, days = 0, value, unit }: {
    months?: number;
    days?: number;
    value: bigint;
    unit: TimeUnit;
  },
): string {
  const size = value < 0n ? -value : value;
  const { seconds, rest } = split(size, unit);
  const time = value === 0n ? "" : `T${value < 0n ? "-" : ""}${seconds}${fraction(rest, unit)}S`;
  const text = `P${months === 0 ? "" : `${months}M`}${days === 0 ? "" : `${days}D`}${time}`;
  return text === "P" ? "PT0S" : text;
}

/** Whole seconds, rounded down also before 1970, and what is left of the unit. */
function split(value: bigint, unit: TimeUnit): { seconds: bigint; rest: bigint } {
  const per = PER_SECOND[unit];
  const rest = ((value % per) + per) % per;
  return { seconds: (value - rest) / per, rest };
}

function fraction(rest: bigint, unit: TimeUnit): string {
  return rest === 0n ? "" : `.${String(rest).padStart(DIGITS[unit], "0").replace(/0+$/, "")}`;
}
