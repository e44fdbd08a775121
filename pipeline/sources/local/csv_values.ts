import type { Json } from "../source.ts";

/** How a column's values are read: `n` as numbers, `b` as booleans, `s` as text. */
export type ColumnType = "n" | "b" | "s";

const NUMBER = /^-?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)$/;
const LONGEST_NUMBER = 38;
/** A double holds any decimal of so many significant digits. */
const EXACT_DIGITS = 15;

/**
 * The number that the text says, or undefined where a number would lose
 * something: "007", "+5", "1e5" and decimals that a double cannot hold are
 * text. Integers beyond 2^53 are bigint; "1.50" is 1.5 and ".5" is 0.5.
 */
export function toNumber(text: string): number | bigint | undefined {
  if (text.length > LONGEST_NUMBER || !NUMBER.test(text)) return undefined;
  const value = Number(text);
  if (text.length <= EXACT_DIGITS) return value === 0 ? 0 : value;
  const point = text.indexOf(".");
  if (point < 0) return Number.isSafeInteger(value) ? value : BigInt(text);
  const trimmed = text.replace(/\.?0+$/, "").replace(/^(-?)\./, "$10.");
  const digits = trimmed.replace(/^[-0.]+/, "").replace(".", "");
  if (digits.length <= EXACT_DIGITS) return value === 0 ? 0 : value;
  return String(value) === trimmed ? value : undefined;
}

/** One cell as JSON: an empty one is null, and what does not fit its column's type stays text. */
export function toCell(text: string, type: ColumnType): Json {
  if (text === "") return null;
  if (type === "n") return toNumber(text) ?? text;
  if (type === "b") return text === "true" ? true : text === "false" ? false : text;
  return text;
}

/** The type that every one of a column's sampled values has; text when there is no value. */
export function columnType(values: string[]): ColumnType {
  let type: ColumnType | undefined;
  for (const value of values) {
    if (value === "") continue;
    const own = value === "true" || value === "false"
      ? "b"
      : toNumber(value) === undefined
      ? "s"
      : "n";
    if (type !== undefined && type !== own) return "s";
    type = own;
  }
  return type ?? "s";
}
