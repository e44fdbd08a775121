import { parseExact } from "../../vocabulary/exact_json.ts";

/** The part of JSON Schema that the run parameters use. */
export interface JsonSchema {
  type?: string;
  default?: unknown;
  description?: string;
  enum?: (string | number)[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minLength?: number;
  maxLength?: number;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
}

export type FieldKind =
  | "text"
  | "long_text"
  | "integer"
  | "number"
  | "boolean"
  | "choice"
  | "names"
  | "json"
  | "text_or_json"
  /** A fixed text, or a field of the records. */
  | "text_or_field"
  /** A field of the records, and one of `options`: how it is written. */
  | "field_and_format"
  /** Types of columns, by name. */
  | "columns";

/** One input of the form. */
export interface Field {
  /** "batch_size", "source.path" */
  path: string;
  name: string;
  kind: FieldKind;
  required: boolean;
  description: string;
  /** What holds when the field is left empty, as text; undefined where nothing does. */
  fallback: string | undefined;
  options: string[];
  /** "0 to 1,000" in numbers of the schema; undefined where there are no bounds. */
  min: number | undefined;
  max: number | undefined;
  /** Of a text that may be JSON: what else it may be. Default: a text, a list or an object alone. */
  scalars?: ("number" | "boolean")[];
  /** Whether it is one character, which may be a space. Default: false. */
  character?: boolean;
  /** What can be said of a column beside its type, where the field is `columns`. */
  members?: { name: string; list: boolean }[];
}

export interface FieldGroup {
  name: string;
  fields: Field[];
}

const GROUPS: [name: string, params: string[]][] = [
  ["run", ["run_label", "configuration", "dry_run", "batch_size", "chunk_size"]],
  ["destination", [
    "schema_name",
    "table_name",
    "layout",
    "write",
    "on_missing",
    "max_delete_ratio",
    "deleted",
    "schema_policy",
    "exclude",
    "hash",
    "add_columns",
    "audit_table_name",
  ]],
  ["quality", ["suite", "enforce_ge", "on_failure", "min_acceptance_ratio", "transform"]],
  ["queue", ["pool", "priority", "overlap", "sla_seconds", "timeout_seconds", "full_refresh"]],
];
const LONG = new Set(["query"]);
/** Set by the server, never by a person. */
const HIDDEN = new Set(["upload_id", "type", "cells"]);

/** The parameters in groups; what no group names is in the last one. */
export function fieldGroups(schema: JsonSchema): FieldGroup[] {
  const all = Object.entries(schema.properties ?? {}).filter(([name]) => name !== "source");
  const named = new Set(GROUPS.flatMap(([, params]) => params));
  const byName = new Map(all);
  const field = (name: string) => {
    const found = name === "configuration" ? { type: "string" } : byName.get(name);
    return found === undefined ? [] : [fieldOf(name, found, false)];
  };
  return [
    ...GROUPS.map(([name, params]) => ({ name, fields: params.flatMap(field) })),
    {
      name: "advanced",
      fields: all.filter(([name]) => !named.has(name)).flatMap(([n]) => field(n)),
    },
  ];
}

/** Kinds of source: the `type` of each branch. */
export function sourceTypes(schema: JsonSchema): string[] {
  return (schema.properties?.source?.oneOf ?? []).map((branch) =>
    String(branch.properties?.type?.const)
  );
}

/** The fields of a kind of source, those first that it cannot do without. */
export function sourceFields(schema: JsonSchema, type: string): Field[] {
  const branch = schema.properties?.source?.oneOf?.find((each) =>
    each.properties?.type?.const === type
  );
  const required = new Set(branch?.required ?? []);
  return Object.entries(branch?.properties ?? {}).filter(([name]) => !HIDDEN.has(name))
    .map(([name, each]) => fieldOf(`source.${name}`, each, required.has(name)))
    .sort((a, b) => Number(b.required) - Number(a.required));
}

function fieldOf(path: string, schema: JsonSchema, required: boolean): Field {
  const name = path.slice(path.lastIndexOf(".") + 1);
  const bare = withoutNull(schema);
  const kind = kindOf(name, bare);
  return {
    path,
    name,
    kind,
    required,
    description: schema.description ?? "",
    fallback: schema.default === undefined || schema.default === null || isEmptyList(schema.default)
      ? undefined
      : typeof schema.default === "string"
      ? schema.default
      : JSON.stringify(schema.default),
    options: (kind === "field_and_format" ? fieldForm(bare)!.format!.enum! : bare.enum ?? [])
      .map(String),
    min: bare.minimum ?? bare.exclusiveMinimum,
    max: bare.maximum,
    scalars: (["number", "boolean"] as const).filter((type) => allows(bare, type)),
    character: bare.type === "string" && bare.maxLength === 1,
    ...(kind === "columns" ? { members: columnMembers(bare) } : {}),
  };
}

/** The members of the object with a field's name that may stand for a text. */
function fieldForm(schema: JsonSchema): Record<string, JsonSchema> | undefined {
  const mayBeText = schema.anyOf?.some(({ type }) => type === "string");
  return mayBeText
    ? schema.anyOf!.find(({ properties }) => properties?.field !== undefined)?.properties
    : undefined;
}

/** The forms that a column's declaration may have, where the schema has declarations by name. */
const columnForms = ({ additionalProperties: each }: JsonSchema): JsonSchema[] =>
  typeof each === "object" && each.anyOf?.some(({ properties }) => properties?.type !== undefined)
    ? each.anyOf
    : [];

function columnMembers(schema: JsonSchema): NonNullable<Field["members"]> {
  const members = Object.assign({}, ...columnForms(schema).map(({ properties }) => properties));
  return Object.entries(members as Record<string, JsonSchema>)
    .filter(([name]) => name !== "type")
    .map(([name, { type }]) => ({ name, list: type === "array" }));
}

const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0;

function allows(schema: JsonSchema, type: "number" | "boolean"): boolean {
  return schema.type === type || type === "number" && schema.type === "integer" ||
    typeof schema.const === type ||
    [...schema.anyOf ?? [], ...schema.oneOf ?? []].some((each) => allows(each, type));
}

/** A nullable schema without its null. */
function withoutNull(schema: JsonSchema): JsonSchema {
  const rest = schema.anyOf?.filter(({ type }) => type !== "null");
  return rest?.length === 1 ? { ...schema, ...rest[0] } : schema;
}

function kindOf(name: string, schema: JsonSchema): FieldKind {
  if (schema.enum !== undefined) return "choice";
  if (LONG.has(name)) return "long_text";
  switch (schema.type) {
    case "integer":
    case "number":
    case "boolean":
      return schema.type;
    case "string":
      return "text";
    case "array":
      return schema.items?.type === "string" ? "names" : "json";
    default: {
      if (columnForms(schema).length > 0) return "columns";
      const form = fieldForm(schema);
      if (form === undefined) return "text_or_json";
      return form.format?.enum === undefined ? "text_or_field" : "field_and_format";
    }
  }
}

/** What the inputs hold, by path; empty: not given. */
export type FormValues = Record<string, string>;
export type Conf = Record<string, unknown>;

/** What the fields hold, as the conf of a run; what is empty is left out. */
export function confOf(fields: Field[], values: FormValues, sourceType: string): Conf {
  const conf: Conf = {};
  const source: Conf = { type: sourceType };
  for (const field of fields) {
    const text = values[field.path] ?? "";
    if (text === "" || !field.character && text.trim() === "") continue;
    const value = valueOf(field, text);
    if (field.path.startsWith("source.")) source[field.name] = value;
    else conf[field.name] = value;
  }
  if (values["source.upload_id"]) source.upload_id = values["source.upload_id"];
  if (values["source.cells"]) source.cells = values["source.cells"] === "true";
  // generated records are the default, of which nothing needs to be said; what was said stays
  const isDefault = sourceType === "synthetic" && Object.keys(source).length === 1 &&
    !values["source.type"];
  return isDefault ? conf : { ...conf, source };
}

/** A field's text as its value; what does not parse stays text, and the server says what is wrong. */
function valueOf({ name, kind, scalars = [], character }: Field, text: string): unknown {
  switch (kind) {
    case "integer":
    case "number": {
      const number = Number(text);
      return Number.isFinite(number) && Number.isSafeInteger(Math.trunc(number)) ? number : text;
    }
    case "boolean":
      return text === "true";
    case "names":
      return namesOf(text);
    case "json":
      return parsed(text);
    case "columns":
    case "text_or_field":
    case "field_and_format":
    case "text_or_json": {
      if (name === "deleted" && DELETION.test(text)) return deletionIn(text);
      const isJson = /^\s*([[{]|"[^]*"\s*$)/.test(text) ||
        scalars.includes("number") && /^\s*-?\d+(\.\d+)?\s*$/.test(text) ||
        scalars.includes("boolean") && /^\s*(true|false)\s*$/.test(text);
      return isJson ? parsed(text) : text;
    }
    default:
      // a tab cannot be typed into an input
      return character && text === "\\t" ? "\t" : text;
  }
}

/** "op = D": records whose field `op` says D are deletions. */
const DELETION = /^\s*([^\s={["][^={["]*?)\s*=\s*(.*?)\s*$/;

function deletionIn(text: string): Conf {
  const [, field, equals = ""] = DELETION.exec(text)!;
  const isScalar = /^(null|true|false|-?\d+(\.\d+)?|".*")$/.test(equals);
  return { field, equals: isScalar ? parsed(equals) : equals };
}

/** A field that a text names as JSON does: `{"field": "at", "format": "epoch_ms"}`; null for any other text. */
export function fieldIn(text: string): { field: string; format?: string } | null {
  const value = text.trimStart().startsWith("{") ? parsed(text) as Conf : null;
  return typeof value?.field === "string" ? value as { field: string } : null;
}

/** Names with commas between them, or as JSON. */
export const namesOf = (text: string): string[] =>
  namesIn(text) ?? text.split(",").map((name) => name.trim()).filter((name) => name !== "");

/** The text that `namesOf` reads. */
export const namesText = (names: string[]): string => textOf("null_values", names);

/** A list of names that is written as JSON; undefined for any other text. */
function namesIn(text: string): string[] | undefined {
  if (!text.trimStart().startsWith("[")) return undefined;
  const list = parsed(text);
  return Array.isArray(list) && list.every((name) => typeof name === "string") ? list : undefined;
}

function parsed(text: string): unknown {
  try {
    return parseExact(text);
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
        values[`source.${member}`] = textOf(member, each);
      }
    } else values[name] = textOf(name, value);
  }
  return values;
}

/** Lists of names, which are written with commas where each can be. */
const NAMES = new Set(
  ["page_key", "connections", "exclude", "hash", "null_values", "true_values", "false_values"],
);
/** Texts in whose place JSON may stand: what reads as JSON is quoted. */
const TEXTS_OR_JSON = new Set([
  "key",
  "event_type",
  "occurred_at",
  "quote",
  "header",
  "records",
  "columns",
]);

function textOf(name: string, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") {
    return TEXTS_OR_JSON.has(name) && /^\s*([[{]|"[^]*"\s*$)/.test(value)
      ? JSON.stringify(value)
      : value;
  }
  if (name === "deleted") {
    const { field, equals } = value as { field: string; equals: unknown };
    for (const shown of [`${field} = ${equals}`, `${field} = ${JSON.stringify(equals)}`]) {
      if (DELETION.test(shown) && isDeepEqual(deletionIn(shown), value)) return shown;
    }
  }
  const plain = NAMES.has(name) && Array.isArray(value) &&
    value.every((each) =>
      typeof each === "string" && each !== "" && each === each.trim() && !/^\[|,/.test(each)
    );
  return plain ? value.join(", ") : JSON.stringify(value);
}

const isDeepEqual = (a: Conf, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** A text as a shell takes it. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export type Dialect = "curl" | "cli" | "sql";

/** The same request from elsewhere, ready to be pasted. */
export function equivalent(
  dialect: Dialect,
  conf: Conf,
  { origin, header = "" }: { origin: string; header?: string },
): string {
  const json = Object.keys(conf).length === 0 ? "{}" : JSON.stringify(conf);
  const inShell = quoted(json);
  switch (dialect) {
    case "curl":
      return `curl -X POST ${origin}/api/etl/run${header} \\\n  -H 'content-type: application/json' \\\n  -d ${inShell}`;
    case "cli":
      return `deno task etl run --server ${origin} \\\n  --conf ${inShell}`;
    case "sql":
      return `select etl.request_run(\n  '${json.replaceAll("'", "''")}'::jsonb\n);`;
  }
}
