import { Problem } from "../problem.ts";

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

/** What each directive matches, as Python's `_strptime` has it in the C locale. */
const DIRECTIVES: Record<string, string> = {
  d: "(?<d>3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9])",
  f: "(?<f>[0-9]{1,6})",
  H: "(?<H>2[0-3]|[01][0-9]|[0-9])",
  I: "(?<I>1[0-2]|0[1-9]|[1-9]| [1-9])",
  j: "(?<j>36[0-6]|3[0-5][0-9]|[12][0-9][0-9]|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9])",
  m: "(?<m>1[0-2]|0[1-9]|[1-9])",
  M: "(?<M>[0-5][0-9]|[0-9])",
  S: "(?<S>6[01]|[0-5][0-9]|[0-9])",
  y: "(?<y>[0-9][0-9])",
  Y: "(?<Y>[0-9]{4})",
  z: "(?<z>[+-][0-9]{2}:?[0-5][0-9](?::?[0-5][0-9](?:\\.[0-9]{1,6})?)?|Z)",
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
    if (/\s/.test(c)) {
      while (/\s/.test(format[i + 1] ?? "")) i++;
      source += "\\s+";
    } else if (c !== "%") {
      source += c.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
    } else {
      const directive = format[++i] ?? "";
      const part = DIRECTIVES[directive];
      if (part === undefined) throw refused(format, `%${directive} is not supported`);
      if (directive !== "%" && seen.has(directive)) {
        throw refused(format, `%${directive} stands twice`);
      }
      seen.add(directive);
      source += part;
    }
  }
  // Every part but \s+ has a bounded length, and the text's length is checked first:
  // backtracking is bounded.
  const pattern = new RegExp(`^${source}$`, "iu");
  return (text) => {
    if (text.length > 200) return null;
    const match = pattern.exec(text);
    if (match === null) return null;
    const groups = match.groups ?? {};
    return isDate(groups) ? groups : null;
  };
}

/**
 * The time that a format's parts say, as ISO 8601; without an offset where the format has none. Null where it says no
 * day, or a time zone that is not known.
 */
export function strptimeIso(g: Record<string, string | undefined>): string | null {
  const two = (text: string | undefined) => (text ?? "0").trim().padStart(2, "0");
  if (g.Y === undefined && g.y === undefined) return null;
  const year = g.Y ?? `${Number(g.y) + (Number(g.y) <= 68 ? 2000 : 1900)}`;
  let day: string;
  if (g.j !== undefined) {
    const date = new Date(Date.UTC(Number(year), 0, Number(g.j)));
    day = date.toISOString().slice(5, 10);
  } else if (g.d === undefined || (g.m ?? g.b ?? g.B) === undefined) return null;
  else day = `${two(`${monthOf(g)}`)}-${two(g.d)}`;
  let hour = Number(g.H ?? g.I ?? 0);
  if (g.I !== undefined) hour = hour % 12 + (g.p?.toLowerCase() === "pm" ? 12 : 0);
  const fraction = g.f === undefined ? "" : `.${g.f}`;
  const offset = g.z === undefined ? g.Z === undefined ? "" : "Z" : g.z;
  return `${year.padStart(4, "0")}-${day}T${two(`${hour}`)}:${two(g.M)}:${
    two(g.S)
  }${fraction}${offset}`;
}

function monthOf(g: Record<string, string | undefined>): number {
  if (g.m !== undefined) return Number(g.m);
  if (g.b !== undefined) return short(MONTHS).indexOf(g.b.toLowerCase()) + 1;
  return g.B === undefined ? 1 : MONTHS.indexOf(g.B.toLowerCase()) + 1;
}

function isDate(g: Record<string, string | undefined>): boolean {
  const year = g.Y !== undefined
    ? Number(g.Y)
    : g.y !== undefined
    ? Number(g.y) + (Number(g.y) <= 68 ? 2000 : 1900)
    : 1900;
  if (year < 1) return false;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  if (g.S !== undefined && Number(g.S) > 59 && Number(g.S) !== 61 && Number(g.S) !== 60) {
    return false;
  }
  // datetime has no leap seconds: strptime accepts 60 and 61 and then fails.
  if (Number(g.S ?? 0) > 59) return false;
  const month = monthOf(g);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]!;
  return g.d === undefined || Number(g.d) <= days;
}

function refused(format: string, why: string): Problem {
  return new Problem("invalid-conf", {
    detail: `The format ${JSON.stringify(format)} cannot be used: ${why}.`,
  });
}
