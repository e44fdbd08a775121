import type { Sql } from "./database.ts";
import type { Cast, TypedColumn } from "./row_layout.ts";

/** A table of the user's own as a load sees it (etl.own_table). */
export interface OwnTable {
  relation: string;
  owner: string;
  columns: {
    name: string;
    /** That of source.columns by which values are read. */
    type: string;
    sql_type: string;
    is_domain: boolean;
    /** Name of the type below domains. */
    base: string;
    /** That type in SQL, without a modifier. */
    plain: string;
    /** The type to which an assignment rounds or cuts without a word. */
    rounds: string | null;
    /** Characters of a varchar, behind which an assignment cuts spaces without a word. */
    width: number | null;
    /** Whether its collation makes different texts one; null: it has none. */
    folds: boolean | null;
    /** Generated, or an identity: no run writes it. */
    generated: boolean;
  }[];
  /** Columns of unique indexes, the primary key first. */
  keys: string[][];
}

/** The table of that name, if there is one. */
export async function ownTable(
  sql: Sql,
  { schema_name, table_name }: { schema_name: string; table_name: string },
): Promise<OwnTable | null> {
  const [row] = await sql<{ known: OwnTable | null }[]>`
    select etl.own_table(${schema_name}, ${table_name}) as known`;
  return row!.known;
}

/** Gives the table of a run the columns that runs need, where it lacks them. Raises destination-mismatch, missing-grant, conflict. */
export async function addMetadataColumns(
  sql: Sql,
  runId: string,
  { versioned, keyless }: { versioned: boolean; keyless: boolean },
): Promise<void> {
  await sql`select etl.add_metadata_columns(${runId}, ${versioned}, ${keyless})`;
}

/** Refuses a table of the user's own that this session must not write as these parameters of a run want, or that has changed. Raises destination-mismatch, missing-grant. */
export async function checkOwnTable(
  sql: Sql,
  params: {
    schema_name: string;
    table_name: string;
    write: string;
    on_missing: string;
    deleted?: unknown;
  },
): Promise<void> {
  const { schema_name, table_name, write, on_missing, deleted = null } = params;
  const asked = JSON.stringify({ write, on_missing, deleted });
  await sql`select etl.check_own_table(${schema_name}, ${table_name}, ${asked}::text::jsonb)`;
}

/** Types whose binary form is that of the type by which values are read. */
const SAME = new Set([
  "int8",
  "numeric",
  "bool",
  "date",
  "timestamptz",
  "text",
  "varchar",
  "jsonb",
]);
/** Types to which a value of the type by which it is read can be assigned. */
const ASSIGNED = new Set([
  ...SAME,
  "int2",
  "int4",
  "float4",
  "float8",
  "bpchar",
  "name",
  "citext",
  "json",
]);
/** Types by which keys are compared, by the base type; others are no keys, as equal texts are no equal values. */
export const KEYS: Record<string, string> = {
  int2: "bigint",
  int4: "bigint",
  int8: "bigint",
  numeric: "numeric",
  bool: "boolean",
  date: "date",
  timestamptz: "timestamptz",
  timestamp: "timestamp",
  text: "text",
  varchar: "text",
  bpchar: "bpchar",
  uuid: "uuid",
};

/** A fraction of a second with more digits than PostgreSQL keeps. */
const TOO_FINE = "'\\.\\d{6}\\d*[1-9]'";

/**
 * How values reach the columns that are not simply of the type by which they are read, or hold not all its values; and whether
 * a column can be a key.
 */
export function castsOf({ columns }: OwnTable, used: TypedColumn[]): Record<string, Cast> {
  const names = new Set(used.map(({ name }) => name));
  return Object.fromEntries(
    columns.filter(({ name }) => names.has(name)).flatMap((column) => {
      const { name, base, sql_type, is_domain, rounds, width, folds } = column;
      const direct = SAME.has(base) && !is_domain && rounds === null;
      if (direct && width === null && !folds) return [];
      const put = base === "timestamp"
        ? "($ at time zone 'UTC')"
        : ASSIGNED.has(base)
        ? "$"
        : `$::${sql_type}`;
      const key = folds ? null : KEYS[base] ?? null;
      return [[name, { put, holds: heldBy(column, put), key, base, width, direct }]];
    }),
  );
}

/** SQL for whether a column holds a value as it is; null: it does, or PostgreSQL refuses it. */
function heldBy(
  { base, plain, rounds }: OwnTable["columns"][number],
  put: string,
): string | null {
  if (rounds === null) return null;
  switch (base) {
    case "float4":
    case "float8":
      return `$ = $::${rounds}::text::numeric`;
    case "_float4":
    case "_float8":
      return `$::numeric[] = $::${rounds}::text::numeric[]`;
    case "timestamp":
      return `${put} = ${put}::${rounds}`;
    case "name":
    case "char":
      return `$ = $::${rounds}::text`;
    case "money":
      return `($ !~ '^-?\\d+(\\.\\d+)?\\Z' or $::numeric = $::${rounds}::numeric)`;
    case "time":
    case "timetz":
    case "interval":
      return `($::${plain} = $::${rounds} and $ !~ ${TOO_FINE})`;
    default:
      return `$::${plain} = $::${rounds}`;
  }
}
