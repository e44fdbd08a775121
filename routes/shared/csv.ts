import Papa from "papaparse";

/** What spreadsheets take for the beginning of a formula, full-width forms too. */
const FORMULA = "[=+\\-@\\uFF0B\\uFF0D\\uFF1D\\uFF20]";
const AT_BEGINNING = new RegExp(`^(?:\\s*${FORMULA}|[\\t\\r\\n])`);
/** Where another cell may begin: the separator of many locales is a semicolon or a tab, whatever the file's is. */
const AFTER_SEPARATOR = new RegExp(`[;\\t\\r\\n][ "']*(?=${FORMULA})`, "g");

/**
 * RFC 4180 with a header. Text that a spreadsheet would take for a formula is given an apostrophe in
 * front, also where a part of it would be a cell of its own to one that separates at semicolons or
 * tabs. Numbers stay as they are.
 */
export function csvText(fields: readonly string[], rows: readonly object[]): string {
  const data = rows.map((row) => {
    const values = row as Record<string, unknown>;
    return fields.map((name) => harmless(values[name]));
  });
  return `${Papa.unparse({ fields: [...fields], data }, { newline: "\r\n" })}\r\n`;
}

function harmless(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const text = value.replace(AFTER_SEPARATOR, "$&'");
  return AT_BEGINNING.test(text) ? `'${text}` : text;
}
