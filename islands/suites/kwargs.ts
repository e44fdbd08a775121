import type { KwargForm } from "../../pipeline/expectations/expectations.ts";

/** Rows of a table of expectations, as JSON has them. */
export interface Row {
  type: string;
  kwargs: Record<string, unknown>;
  severity?: string;
  [more: string]: unknown;
}

/** A value as its field shows it; "" for one that is not given. */
export function fieldText({ kind }: Pick<KwargForm, "kind">, value: unknown): string {
  if (value === undefined) return "";
  switch (kind) {
    case "texts":
      if (isTexts(value)) return value.join("\n");
      break;
    case "values":
      if (Array.isArray(value)) return value.map(valueText).join("\n");
      break;
    case "value":
      return valueText(value);
    case "text":
    case "choice":
    case "number":
      if (typeof value === "string") return value;
      break;
  }
  return JSON.stringify(value);
}

/** Texts that can be written a line each. */
const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.every((each) => typeof each === "string" && each !== "" && !each.includes("\n"));

/** A text that would be read as something else has quotes. */
const valueText = (value: unknown): string =>
  typeof value === "string" && value === value.trim() && value !== "" && !value.includes("\n") &&
    typed(value) === value
    ? value
    : JSON.stringify(value);

/** JSON where it is some, else the text. */
function typed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What a field's text stands for; undefined where it is empty. What does not fit is left to the server to refuse. */
export function fieldValue({ kind }: Pick<KwargForm, "kind">, text: string): unknown {
  if (text.trim() === "") return undefined;
  const reference = /^\s*\{\s*"\$PARAMETER"/.test(text) ? typed(text) : text;
  if (typeof reference === "object") return reference;
  switch (kind) {
    case "text":
    case "choice":
      return text;
    case "texts":
      return isJsonList(text) ? JSON.parse(text) : lines(text);
    case "values":
      return lines(text).map((line) => typed(line.trim()));
    default:
      return typed(text.trim());
  }
}

/** A list that could not be written a line each. */
function isJsonList(text: string): boolean {
  const value = text.startsWith('["') ? typed(text) : null;
  return Array.isArray(value) && value.some((each) => each === "" || String(each).includes("\n"));
}

const lines = (text: string) => text.split(/\r?\n/).filter((line) => line.trim() !== "");

/** The JSON of a number that a browser cannot hold: its table would change it. */
export const holdsLongNumbers = (json: string): boolean =>
  /(?<![\d.eE"])-?\d{16,}/.test(json.replace(/"(?:[^"\\]|\\.)*"/g, '""'));
