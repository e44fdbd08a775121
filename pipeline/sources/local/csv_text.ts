// @ts-types="@types/papaparse"
import Papa from "papaparse";

/**
 * Parses whole CSV records, separated by LF, the last one with or without it;
 * `ok` is false when a quoted field is malformed.
 */
export function parseCsv(text: string, delimiter: string): { rows: string[][]; ok: boolean } {
  // The parser itself: Papa.parse would also drop a byte order mark that is data here.
  const parser = new Papa.Parser({ delimiter, newline: "\n", quoteChar: '"', escapeChar: '"' });
  // A line end after the last record too, so that none is parsed differently from the others.
  const lines = text.endsWith("\n") ? text : `${text}\n`;
  const { data, errors } = parser.parse(lines, 0, false) as Papa.ParseResult<string[]>;
  data.pop();
  return { rows: data, ok: errors.every((error) => error.type !== "Quotes") };
}
