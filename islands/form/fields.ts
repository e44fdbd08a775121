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
  | "text_or_json";

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
}

export interface FieldGroup {
  name: string;
  fields: Field[];
}

const GROUPS: [name: string, params: string[]][] = [
  ["run", ["run_label", "configuration", "dry_run", "batch_size", "chunk_size"]],
  ["destination", ["schema_name", "table_name", "audit_table_name"]],
  ["quality", ["suite", "enforce_ge", "on_failure", "min_acceptance_ratio", "transform"]],
  ["queue", ["pool", "overlap", "sla_seconds", "full_refresh"]],
];
const LONG = new Set(["query"]);
/** Set by the server, never by a person. */
const HIDDEN = new Set(["upload_id", "type"]);

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
  return {
    path,
    name,
    kind: kindOf(name, bare),
    required,
    description: schema.description ?? "",
    fallback: schema.default === undefined || schema.default === null
      ? undefined
      : typeof schema.default === "string"
      ? schema.default
      : JSON.stringify(schema.default),
    options: (bare.enum ?? []).map(String),
    min: bare.minimum ?? bare.exclusiveMinimum,
    max: bare.maximum,
  };
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
    default:
      return "text_or_json";
  }
}
