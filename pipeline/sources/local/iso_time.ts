export type TimeUnit = "MILLIS" | "MICROS" | "NANOS";

const PER_MILLI: Record<TimeUnit, bigint> = { MILLIS: 1n, MICROS: 1_000n, NANOS: 1_000_000n };
const SUB_DIGITS: Record<TimeUnit, number> = { MILLIS: 0, MICROS: 3, NANOS: 6 };

/** ISO 8601 of a time since the epoch, with as many digits as it needs; Z only for UTC. */
export function isoTimestamp(
  value: bigint,
  { unit, utc }: { unit: TimeUnit; utc: boolean },
): string {
  const per = PER_MILLI[unit];
  // Floor, also before 1970, so that the digits below count forwards.
  let millis = value / per;
  let rest = value % per;
  if (rest < 0n) {
    rest += per;
    millis -= 1n;
  }
  const date = new Date(Number(millis));
  const text = Number.isNaN(date.getTime()) ? "" : date.toISOString();
  if (text === "") return `${value} ${unit.toLowerCase()} since 1970-01-01`;
  const digits = rest === 0n ? "" : String(rest).padStart(SUB_DIGITS[unit], "0");
  return text.slice(0, -1) + digits + (utc ? "Z" : "");
}

/** "HH:MM:SS", with a fraction where there is one. */
export function timeOfDay(value: bigint, unit: TimeUnit): string {
  const day = isoTimestamp(value, { unit, utc: false });
  return day.slice(day.indexOf("T") + 1).replace(
    /\.?0+$/,
    (zeros) => zeros.includes(".") ? "" : zeros,
  );
}
