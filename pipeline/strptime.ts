import { isDay } from "./timestamps.ts";
import { Problem } from "../vocabulary/problem.ts";
import { type Message, say } from "../vocabulary/messages.ts";

const MONTHS = [
  "january",
  "february",
  "march",
  "april",
  "may",
  "june",
  "july",
  "august",
  "september",
  "october",
  "november",
  "december",
];
const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const short = (names: string[]): string[] => names.map((name) => name.slice(0, 3));

/** What Python's \s is. */
const SPACE =
  // deno-lint-ignore no-control-regex
  /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** What each directive matches, as Python's `_strptime` has it in the C locale. */
const DIRECTIVES: Record<string, string> = {
  d: "(?<d>3[01]|[12]\\p{Nd}|0[1-9]|[1-9]| [1-9])",
  f: "(?<f>[0-9]{1,6})",
  H: "(?<H>2[0-3]|[01]\\p{Nd}|\\p{Nd})",
  I: "(?<I>1[0-2]|0[1-9]|[1-9]| [1-9])",
  j: "(?<j>36[0-6]|3[0-5]\\p{Nd}|[12]\\p{Nd}\\p{Nd}|0[1-9]\\p{Nd}|00[1-9]|[1-9]\\p{Nd}|0[1-9]|[1-9])",
  m: "(?<m>1[0-2]|0[1-9]|[1-9])",
  M: "(?<M>[0-5]\\p{Nd}|\\p{Nd})",
  S: "(?<S>6[01]|[0-5]\\p{Nd}|\\p{Nd})",
  y: "(?<y>\\p{Nd}{2})",
  Y: "(?<Y>\\p{Nd}{4})",
  z: "(?<z>[+-]\\p{Nd}{2}:?[0-5]\\p{Nd}(?::?[0-5]\\p{Nd}(?:\\.\\p{Nd}{1,6})?)?|(?-i:Z))",
  Z: "(?<Z>utc|gmt)",
  p: "(?<p>am|pm)",
  a: `(?<a>${short(DAYS).join("|")})`,
  A: `(?<A>${DAYS.join("|")})`,
  b: `(?<b>${short(MONTHS).join("|")})`,
  B: `(?<B>${MONTHS.join("|")})`,
  "%": "%",
};

/**
 * A test for Python's `datetime.strptime(text, format)`, C locale.
 * Supported: %Y %y %m %d %j %H %I %M %S %f %p %a %A %b %B %z %Z %%.
 *
 * @throws Problem invalid-conf naming a directive that is not supported or stands twice.
 */
export function compileStrptime(format: string): (text: string) => boolean {
  const parse = strptimeParser(format);
  return (text) => parse(text) !== null;
}

/** As compileStrptime, but gives what each directive has matched; null where the text does not match. */
export function strptimeParser(
  format: string,
): (text: string) => Record<string, string | undefined> | null {
  let source = "";
  const seen = new Set<string>();
  for (let i = 0; i < format.length; i++) {
    const c = format[i]!;
    if (SPACE.test(c)) {
      while (SPACE.test(format[i + 1] ?? "")) i++;
      source += `${SPACE.source}+`;
    } else if (c !== "%") {
      source += c.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
    } else {
      const directive = format[++i] ?? "";
      const part = DIRECTIVES[directive];
      if (part === undefined) {
        throw refused(format, say("directive-unsupported", { directive: `%${directive}` }));
      }
      if (directive !== "%" && seen.has(directive)) {
        throw refused(format, say("directive-twice", { directive: `%${directive}` }));
      }
      seen.add(directive);
      source += part;
    }
  }
  // Every part but \s+ has a bounded length, and the text's length is checked first:
  // backtracking is bounded.
  const pattern = new RegExp(`^${source}`, "iu");
  return (text) => {
    if (text.length > 200) return null;
    const match = pattern.exec(text);
    // As in Python, what is left over does not make the pattern look for another way.
    if (match === null || match[0].length !== text.length) return null;
    const groups = Object.fromEntries(
      Object.entries(match.groups ?? {}).map(([name, part]) => [name, part && asciiDigits(part)]),
    );
    return isDate(groups) ? groups : null;
  };
}

/**
 * The time that a format's parts say, as ISO 8601; without an offset where the format has none. Null where it says no
 * day, or a time zone that is not known.
 */
export function strptimeIso(g: Record<string, string | undefined>): string | null {
  const two = (text: string | undefined) => (text ?? "0").padStart(2, "0");
  if (g.Y === undefined && g.y === undefined) return null;
  const date = new Date(0);
  // of a year of 365 days, Python's 366th is the first of the next
  if (g.j !== undefined) date.setUTCFullYear(yearOf(g), 0, Number(g.j));
  else if (g.d === undefined || (g.m ?? g.b ?? g.B) === undefined) return null;
  else date.setUTCFullYear(yearOf(g), monthOf(g) - 1, Number(g.d));
  let hour = Number(g.H ?? g.I ?? 0);
  if (g.I !== undefined) hour = hour % 12 + (g.p?.toLowerCase() === "pm" ? 12 : 0);
  const fraction = g.f === undefined ? "" : `.${g.f}`;
  const offset = g.z === undefined ? g.Z === undefined ? "" : "Z" : g.z;
  const day = date.toISOString().slice(0, 10);
  return `${day}T${two(`${hour}`)}:${two(g.M)}:${two(g.S)}${fraction}${offset}`;
}

/** Text with the digits of every script as 0 to 9: each script has its ten in a row. */
function asciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => {
    const code = digit.codePointAt(0)!;
    let value = 0;
    if (code < 0x80) return digit;
    while (/\p{Nd}/u.test(String.fromCodePoint(code - value - 1))) value++;
    return `${value % 10}`;
  });
}

function monthOf(g: Record<string, string | undefined>): number {
  if (g.m !== undefined) return Number(g.m);
  if (g.b !== undefined) return short(MONTHS).indexOf(g.b.toLowerCase()) + 1;
  return g.B === undefined ? 1 : MONTHS.indexOf(g.B.toLowerCase()) + 1;
}

function yearOf({ Y, y }: Record<string, string | undefined>): number {
  if (Y !== undefined || y === undefined) return Number(Y ?? 1900);
  return Number(y) + (Number(y) <= 68 ? 2000 : 1900);
}

function isDate(g: Record<string, string | undefined>): boolean {
  const year = yearOf(g);
  if (year < 1) return false;
  // datetime has no leap seconds: strptime accepts 60 and 61 and then fails.
  if (Number(g.S ?? 0) > 59) return false;
  // A time zone is less than a day.
  if (/^[+-]\d/.test(g.z ?? "") && Number(g.z!.slice(1, 3)) > 23) return false;
  // The day of the year counts, whatever day of a month stands beside it.
  if (g.j !== undefined) return year < 9999 || Number(g.j) <= 365;
  return g.d === undefined || isDay(year, monthOf(g), Number(g.d));
}

function refused(format: string, why: Message): Problem {
  return new Problem("invalid-conf", {
    detail: say("format-refused", { format: JSON.stringify(format), why }),
  });
}
