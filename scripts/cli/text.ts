import stringWidth from "string-width";
import type { FieldError, Problem } from "../../vocabulary/problem.ts";

/** A column of a table: its title, what it shows of an item, and how; texts longer than `maxWidth` are cropped. */
export type Column<T> = [
  title: string,
  show: (item: T) => string,
  how?: { align?: "right"; maxWidth?: number },
];

/** For columns of numbers. */
export const RIGHT = { align: "right" } as const;

/**
 * Items under aligned titles, two spaces between columns; the last column is not
 * padded, and cropped to what `width` leaves, but never below 20.
 */
export function table<T>(items: T[], columns: Column<T>[], width?: number): string[] {
  const cells = items.map((item) =>
    columns.map(([, show, how]) => cropped(printable(show(item)), how?.maxWidth ?? Infinity))
  );
  const titles = columns.map(([title]) => title);
  const widths = columns.map((_, i) =>
    Math.max(...[titles, ...cells].map((row) => stringWidth(row[i]!)))
  );
  const before = widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0);
  const room = width === undefined ? Infinity : Math.max(20, width - before);
  widths[widths.length - 1] = Math.min(widths.at(-1)!, room);
  return [titles, ...cells].map((row) =>
    row.map((whole, i) => {
      const text = i === widths.length - 1 ? cropped(whole, room) : whole;
      const space = " ".repeat(widths[i]! - stringWidth(text));
      return columns[i]![2]?.align === "right" ? space + text : text + space;
    }).join("  ").trimEnd()
  );
}

/** A time of the API to the minute, as tables show it; empty without one. */
export const minuteOf = (at: string | null | undefined): string =>
  at?.slice(0, 16).replace("T", " ") ?? "";

/** Text of at most `width` columns; what is left out is shown as "…". */
export function cropped(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let result = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += stringWidth(segment);
    if (used > width - 1) break;
    result += segment;
  }
  return `${result}…`;
}

/**
 * Text as a terminal may show it: control characters, which could move the
 * cursor or change colours, are written as escapes. Line breaks stay if `lines`.
 */
export function printable(text: string, { lines = false } = {}): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/g, (c) => {
    if (c === "\n") return lines ? c : "\\n";
    if (c === "\t") return lines ? c : "\\t";
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/**
 * A problem for people: what happened, then each field that is wrong on its
 * own line with the value that was given and what would be right.
 */
export function problemText(problem: Problem): string {
  const { errors } = problem;
  // the detail lists the errors again after a colon; below they are easier to read
  const detail = errors.length > 0 ? problem.message.replace(listed(errors), ".") : problem.message;
  return [
    printable(detail, { lines: true }),
    ...errors.map((error) => `  ${fieldErrorText(error)}`),
  ].join("\n");
}

function listed(errors: FieldError[]): string {
  return `: ${errors.map(({ field, message }) => `${field} ${message}`).join("; ")}`;
}

function fieldErrorText({ field, value, message, expected }: FieldError): string {
  const given = value === undefined ? "" : ` (${shortened(JSON.stringify(value), 80)})`;
  const right = expected === undefined || message.includes(expected)
    ? ""
    : `; expected: ${expected}`;
  return printable(`${field}${given} ${message}${right}`);
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
