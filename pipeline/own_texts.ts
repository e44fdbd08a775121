import { say } from "../vocabulary/messages.ts";
import { CellFault } from "./sources/local/csv_values.ts";
import { farTime, toUtcText } from "./timestamps.ts";

/** A text as PostgreSQL takes it for what it says; null where it would take it for something else. */
type Meant = (text: string) => string | null;

const TIME =
  /^(?:([01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?|24:00(?::00(?:\.0+)?)?|(?:[01]\d|2[0-3])(?:[0-5]\d){2}(?:\.\d+)?)(?: ?[AP]M)?$/i;
const TIMETZ = /^(.*?\d)(Z|[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?)?$/i;
const INFINITE = /^-?infinity$/;
/** A digit that says something after the sixth of a second. */
const TOO_FINE = /\.\d{6}\d*[1-9]/;

/** Digits alone: PostgreSQL counts -1 from the highest number down, and reads 010 and 0x10 to other bases. */
function numbered(bits: bigint): Meant {
  return (text) => /^(?:0|[1-9]\d{0,19})$/.test(text) && BigInt(text) < 2n ** bits ? text : null;
}

const time: Meant = (text) => TIME.test(text) && !TOO_FINE.test(text) ? text : null;

/** Without an offset it is UTC, as other times are, whatever zone the session has. */
const timetz: Meant = (text) => {
  const [, at, offset] = TIMETZ.exec(text) ?? [];
  return at !== undefined && time(at) !== null ? `${at}${offset ?? "+00"}` : null;
};

const date: Meant = (text) => {
  if (INFINITE.test(text)) return text;
  const day = text.replace(/(?<=^.{10})[T ]00:00(?::00)?$/, "");
  return day.length === 10 && toUtcText(day) !== null ? day : farTime(text, "date")?.text ?? null;
};

const timestamptz: Meant = (text) =>
  INFINITE.test(text)
    ? text
    : TOO_FINE.test(text)
    ? null
    : toUtcText(text) ?? farTime(text, "timestamptz")?.text ?? null;

/** In UTC, as of a column of its own. */
const timestamp: Meant = (text) => timestamptz(text)?.replace(/Z$|\+00(?= BC$|$)/, "") ?? null;

/** Months of the units whose fractions PostgreSQL rounds to months. */
const MONTHS: [RegExp, bigint][] = [
  [/^y/, 12n],
  [/^dec/, 120n],
  [/^c/, 1_200n],
  [/^mil(?:l?en|s?$)/, 12_000n],
];

/** As sources with types have a span (isoDuration). */
const SPAN = /^P(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(-?\d+(?:\.\d+)?)S)?$/;
/** Digits that a double holds. */
const EXACT_DIGITS = 15;

/** No fraction of a unit is less than PostgreSQL keeps of it; ISO 8601, of which it makes doubles, has no more digits than they have. */
const interval: Meant = (text) => {
  const span = SPAN.exec(text);
  if (span !== null) {
    const [, months = "0", days = "0", seconds = "0"] = span;
    const signed = (part: string) => part.startsWith("-") ? part : `+${part}`;
    return TOO_FINE.test(seconds)
      ? null
      : `${signed(months)} mons ${signed(days)} days ${signed(seconds)} secs`;
  }
  const isIso = /^[-+]?P/i.test(text);
  for (const [, whole, digits, unit] of text.matchAll(/(\d*)\.(\d+)\s*([a-z]*)/gi)) {
    const fraction = digits!.replace(/0+$/, "");
    if (isIso && whole!.length + fraction.length > EXACT_DIGITS) return null;
    const name = unit!.toLowerCase();
    const months = MONTHS.find(([pattern]) => pattern.test(name))?.[1];
    const decimals = months !== undefined
      ? 6
      : /^(?:us|micro)/.test(name)
      ? 0
      : /^m(?:s|illis)/.test(name)
      ? 3
      : 6;
    if (fraction.length > decimals) return null;
    if (months !== undefined && BigInt(fraction || "0") * months % 10n ** BigInt(fraction.length)) {
      return null;
    }
  }
  return text;
};

/** Bytes in hex: other text may be base64, hex without a mark, or text. */
const bytea: Meant = (text) => /^\\x(?:[0-9a-f]{2})*$/i.test(text) ? text : null;

/** By type: what its texts mean, and one that it takes. */
const TEXTS: Record<string, { meant: Meant; sample: string }> = {
  oid: { meant: numbered(32n), sample: "1234" },
  xid: { meant: numbered(32n), sample: "1234" },
  cid: { meant: numbered(32n), sample: "1234" },
  xid8: { meant: numbered(64n), sample: "1234" },
  time: { meant: time, sample: "23:59:59" },
  timetz: { meant: timetz, sample: "23:59:59+00" },
  interval: { meant: interval, sample: "1 day 02:03:04.5" },
  bytea: { meant: bytea, sample: "\\x4869" },
};

/** The same of types that are part of another; in an array bytes have an escaped backslash, and no text of a source is one. */
const { bytea: _bytea, ...SCALARS } = TEXTS;
const PARTS: typeof TEXTS = {
  ...SCALARS,
  date: { meant: date, sample: "2026-01-31" },
  timestamp: { meant: timestamp, sample: "2026-01-31 23:59:59" },
  timestamptz: { meant: timestamptz, sample: "2026-01-31 23:59:59+00" },
};

/** A text of a column, named for its fault, as its type takes it. Throws CellFault where the type would take it for something else. */
export type ReadText = (text: string, column: string) => string;

/**
 * Reads the texts of a column of the user's own, of a type whose words and forms PostgreSQL takes for more than they say: a time
 * with a zone or a date loses it, "now" is a moment, -1 is an oid. `leaf` is the type of its elements or bounds, of a `kind`;
 * null where no text says something else.
 */
export function textReader(leaf: string, kind: "array" | "range" | null): ReadText | null {
  const known = kind === null ? TEXTS : PARTS;
  if (!Object.hasOwn(known, leaf)) return null;
  const { meant, sample } = known[leaf]!;
  const read = (text: string, column: string) => {
    const value = meant(text);
    if (value !== null) return value;
    const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
    throw new CellFault(
      "column_type",
      column,
      leaf === "interval"
        ? say("does-not-fit", { column, value: shown, type: leaf })
        : TOO_FINE.test(text)
        ? say("below-microseconds", { column, value: shown, type: leaf })
        : say("no-such-type", { column, value: shown, type: leaf, sample }),
    );
  };
  if (kind === null) return (text, column) => read(text.trim(), column);
  return (text, column) => {
    const [, bounds = "", rest] = /^(\s*(?:\[[-+\d:]+\])+\s*=)?([^]*)$/.exec(text)!;
    return bounds +
      rest!.replace(
        /[^[\](){},"\s](?:[^[\](){},"]*[^[\](){},"\s])?/g,
        (part) => /^(?:null|empty)$/i.test(part) ? part : read(part, column),
      );
  };
}
