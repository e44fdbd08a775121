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
    /** Name of the type of an array's elements or a range's bounds, below domains; "record" of a composite. */
    leaf: string;
    kind: "array" | "range" | null;
    /** That type in SQL, of an array of `leaf`, without a modifier. */
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

/**
 * How values reach the columns that are not simply of the type by which they are read, or hold not all its values; and whether
 * a column can be a key.
 */
export function castsOf({ columns }: OwnTable, used: TypedColumn[]): Record<string, Cast> {
  const names = new Set(used.map(({ name }) => name));
  return Object.fromEntries(
    columns.filter(({ name }) => names.has(name)).flatMap((column) => {
      const { name, base, leaf, kind, sql_type, is_domain, rounds, width, folds } = column;
      const direct = SAME.has(base) && !is_domain && rounds === null;
      if (direct && width === null && !folds) return [];
      const put = base === "timestamp"
        ? "($ at time zone 'UTC')"
        : ASSIGNED.has(base)
        ? "$"
        : `$::${sql_type}`;
      const key = folds ? null : KEYS[base] ?? null;
      return [[name, { put, holds: heldBy(column, put), key, base, leaf, kind, width, direct }]];
    }),
  );
}

/** SQL for the numbers of a text, in their order. */
const numbersOf = (text: string) =>
  `(select array_agg(m[1]::numeric order by m[1]::numeric)
    from regexp_matches(${text}, '(-?(?:\\d+\\.?\\d*|\\.\\d+)(?:e[-+]?\\d+)?)', 'gi') as m)`;

/** SQL for whether a column holds a value as it is; null: it does, or PostgreSQL refuses it. */
function heldBy(
  { leaf, kind, plain, rounds }: OwnTable["columns"][number],
  put: string,
): string | null {
  if (rounds === null) return null;
  if (leaf === "record" || kind === "range") return `$ = $::${rounds}::text`;
  switch (leaf) {
    case "float4":
    case "float8":
      return kind === "array"
        ? `$::numeric[] = $::${rounds}::text::numeric[]`
        : `$ = $::${rounds}::text::numeric`;
    case "timestamp":
      if (kind === null) return `${put} = ${put}::${rounds}`;
      break;
    case "name":
    case "char":
      return kind === "array" ? `$::text[] = $::${rounds}::text[]` : `$ = $::${rounds}::text`;
    case "money":
      // what is no plain number must be as the column writes it: 12,34 is 1234 there
      return kind === "array"
        ? `$::text[] = $::${rounds}::text[]`
        : `case when $ ~ '^-?\\d+(\\.\\d+)?\\Z' then $::numeric = $::${rounds}::numeric else $ = $::${rounds}::text end`;
    case "point":
    case "lseg":
    case "box":
    case "path":
    case "polygon":
    case "circle":
      return `${numbersOf("$")} = ${numbersOf(`$::${rounds}::text`)}`;
  }
  // of domains as elements no array is compared with another one
  return `$::${plain} = $::${rounds}${kind === "array" ? `::${plain}` : ""}`;
}
