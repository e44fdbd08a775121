import type { Field } from "./fields.ts";

/** What the inputs hold, by path; empty: not given. */
export type FormValues = Record<string, string>;
export type Conf = Record<string, unknown>;

/** What the fields hold, as the conf of a run; what is empty is left out. */
export function confOf(fields: Field[], values: FormValues, sourceType: string): Conf {
  const conf: Conf = {};
  const source: Conf = { type: sourceType };
  for (const field of fields) {
    const text = values[field.path] ?? "";
    if (text.trim() === "") continue;
    const value = valueOf(field, text);
    if (field.path.startsWith("source.")) source[field.name] = value;
    else conf[field.name] = value;
  }
  if (values["source.upload_id"]) source.upload_id = values["source.upload_id"];
  const isDefault = sourceType === "synthetic" && Object.keys(source).length === 1;
  return isDefault ? conf : { ...conf, source };
}

/** A field's text as its value; what does not parse stays text, and the server says what is wrong. */
function valueOf({ kind }: Field, text: string): unknown {
  switch (kind) {
    case "integer":
    case "number": {
      const number = Number(text);
      return Number.isFinite(number) && Number.isSafeInteger(Math.trunc(number)) ? number : text;
    }
    case "boolean":
      return text === "true";
    case "names":
      return text.split(",").map((name) => name.trim()).filter((name) => name !== "");
    case "json":
      return parsed(text);
    case "text_or_json":
      return /^\s*([[{]|-?\d+(\.\d+)?\s*$)/.test(text) ? parsed(text) : text;
    default:
      return text;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A conf as what the inputs hold. */
export function valuesOf(conf: Conf): FormValues {
  const values: FormValues = {};
  for (const [name, value] of Object.entries(conf)) {
    if (name === "source" && typeof value === "object" && value !== null) {
      for (const [member, each] of Object.entries(value)) {
        values[`source.${member}`] = member === "page_key" && Array.isArray(each)
          ? each.join(", ")
          : textOf(each);
      }
    } else values[name] = textOf(value);
  }
  return values;
}

const textOf = (value: unknown): string =>
  value === null || value === undefined
    ? ""
    : typeof value === "string"
    ? value
    : JSON.stringify(value);

export type Dialect = "curl" | "cli" | "sql";

/** The same request from elsewhere, ready to be pasted. */
export function equivalent(
  dialect: Dialect,
  conf: Conf,
  { origin, header = "" }: { origin: string; header?: string },
): string {
  const json = Object.keys(conf).length === 0 ? "{}" : JSON.stringify(conf);
  const inShell = `'${json.replaceAll("'", `'\\''`)}'`;
  switch (dialect) {
    case "curl":
      return `curl -X POST ${origin}/api/etl/run${header} \\\n  -H 'content-type: application/json' \\\n  -d ${inShell}`;
    case "cli":
      return `deno task etl run --server ${origin} \\\n  --conf ${inShell}`;
    case "sql":
      return `select etl.request_run(\n  '${json.replaceAll("'", "''")}'::jsonb\n);`;
  }
}
