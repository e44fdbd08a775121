import stringWidth from "string-width";
import { printable } from "./printable.ts";

export interface Column {
  title: string;
  align?: "left" | "right";
  /** Longer texts are cropped; default: not at all. */
  maxWidth?: number;
}

/**
 * Rows under aligned titles, two spaces between columns; the last column is not
 * padded, and cropped to what `width` leaves, but never below 20.
 */
export function table(columns: Column[], rows: string[][], width?: number): string[] {
  const cells = rows.map((row) =>
    columns.map(({ maxWidth = Infinity }, i) => cropped(printable(row[i] ?? ""), maxWidth))
  );
  const titles = columns.map(({ title }) => title);
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
      return columns[i]!.align === "right" ? space + text : text + space;
    }).join("  ").trimEnd()
  );
}

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
