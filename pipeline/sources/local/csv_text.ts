// @ts-types="@types/papaparse"
import Papa from "papaparse";

/**
 * Parses whole CSV records, separated by LF; `ok` is false when a quoted
 * field is malformed.
 */
export function parseCsv(text: string, delimiter: string): { rows: string[][]; ok: boolean } {
  // The parser itself: Papa.parse would also drop a byte order mark that is data here.
  const parser = new Papa.Parser({ delimiter, newline: "\n", quoteChar: '"', escapeChar: '"' });
  const { data, errors } = parser.parse(text, 0, false) as Papa.ParseResult<string[]>;
  return { rows: data, ok: errors.every((error) => error.type !== "Quotes") };
}
