import { quoteIdent } from "./quote.ts";

/** A column of a typed table. */
export interface TypedColumn {
  name: string;
  /** Into the record, as in a source's mapping: "properties.mag". */
  path: string;
  /** text, integer, numeric, numeric(p,s), boolean, date, timestamptz or jsonb. */
  type: string;
}

/** What a dataset of layout `typed` has declared (etl.datasets.declared); plain data, as workers get it. */
export interface TypedTable {
  /** The one source that owns all rows. */
  source: string;
  /** Paths of the key; null: the record's hash, in a column `_etl_key`. */
  key: string[] | null;
  version: string | null;
  /** As in the source's mapping. */
  occurred_at: unknown;
  /** Every version of a key is kept: the last field of the key is the version. */
  history?: boolean;
  columns: TypedColumn[];
  /** How values are read where later confs do not say (sources/columns.ts); as the first load's conf had it. */
  reading?: unknown;
  /** Whether it is a table of the user's own, which no run makes or alters. */
  own?: boolean;
  /** Of such a table, as a run finds it, never stored: columns that take values otherwise than they are read, or not all of them, by name. */
  casts?: Record<string, Cast>;
}

/** How a value that was read reaches a column of another type. `$` is the value in SQL. */
export interface Cast {
  put: string;
  /** True where the column holds the value as it is; null: it does, or PostgreSQL refuses it. */
  holds: string | null;
  /** A type as which a key is compared; null: such a column is no key. */
  key: string | null;
  /** Name of the type below domains. */
  base: string;
  /** Name of the type of an array's elements or a range's bounds; otherwise `base`. */
  leaf: string;
  kind: "array" | "range" | null;
  /** Characters of a varchar, behind which an assignment cuts spaces without a word. */
  width: number | null;
  /** Whether COPY takes values as they are sent. */
  direct: boolean;
}

/**
 * How the rows of a table lie in it: what COPY, comparison and upsert have to know. Names are quoted.
 */
export interface RowLayout {
  /** Columns of a finished row, in the order in which they are sent. */
  columns: readonly string[];
  key: readonly string[];
  fingerprint: string;
  runId: string;
  /** Null where rows have no version. */
  version: string | null;
  firstSeenAt: string;
  updatedAt: string;
  /** When a mirror marked the row as gone; null where the table has no such column. */
  deletedAt: string | null;
  /** SQL that is true where a row has the key of an entry of a table of keys. */
  hasKey(row: string, entry: string): string;
  /** SQL that is true for a row of another owner; `source` is the source's name in SQL. */
  isForeign(row: string, source: string): string;
  /** SQL for the owner's name and for the key, as texts that are shown. */
  owner(row: string): string;
  keyText(row: string): string;
  /** SQL for the key of a row as a table of keys has it. */
  entryKey(row: string): string;
  /** SQL that gives every run one order of keys, so that two of them do not wait for each other in a circle. */
  order: string;
  /** Definitions of the columns of a table for rows on their way; null: those of the destination. */
  stage: string | null;
  /** Whether COPY takes rows as they are sent. */
  direct: boolean;
  /** SQL for the values of a staged row, in the order of `columns`, and for those of its key. */
  values(row: string): string[];
  keyValues(row: string): string[];
  /** SQL that is true where the destination holds the values of a staged row as they are; null: always. */
  holds(row: string): string | null;
}

/** Columns of a finished event, in the order in which they are sent. */
export const ROW_COLUMNS = [
  "event_id",
  "event_type",
  "occurred_at",
  "source",
  "version",
  "payload",
  "fingerprint",
  "event_date",
  "event_hour",
  "run_id",
] as const;

/** The events table: a row an event, the record as jsonb. */
export const EVENTS: RowLayout = {
  columns: ROW_COLUMNS.map(quoteIdent),
  key: [quoteIdent("event_id")],
  fingerprint: "fingerprint",
  runId: "run_id",
  version: "version",
  firstSeenAt: "first_seen_at",
  updatedAt: "updated_at",
  deletedAt: null,
  hasKey: (row, entry) => `${row}.event_id = ${entry}.event_id`,
  isForeign: (row, source) => `${row}.source <> ${source}`,
  owner: (row) => `${row}.source`,
  keyText: (row) => `${row}.event_id`,
  entryKey: (row) => `${row}.event_id`,
  order: 'event_id collate "C"',
  stage: null,
  direct: true,
  values: (row) => EVENTS.columns.map((column) => `${row}.${column}`),
  keyValues: (row) => [`${row}.event_id`],
  holds: () => null,
};

/** The column that holds the record's hash where a table has no key of its own. */
const HASH_COLUMN: TypedColumn = { name: "_etl_key", path: "", type: "text" };

/** The columns of a table's key, in the order of the key. */
export function keyColumns({ key, columns }: TypedTable): TypedColumn[] {
  if (key === null) return [HASH_COLUMN];
  return key.map((path) => columns.find((column) => column.path === path)!);
}

/** A table with the record's fields as columns. A row that no run has written has no `_etl_run_id` and is foreign. */
function typedLayout(table: TypedTable): RowLayout {
  const keys = keyColumns(table);
  const part = (entry: string, i: number) =>
    keys.length === 1 ? `${entry}.event_id` : `(${entry}.event_id::text[])[${i + 1}]`;
  const { casts = {} } = table;
  const staged = [
    ...(table.key === null ? [HASH_COLUMN] : []),
    ...table.columns,
    { name: "_etl_run_id", type: "uuid" },
    { name: "_etl_fingerprint", type: "bytea" },
    ...(table.version === null ? [] : [{ name: "_etl_version", type: "numeric" }]),
  ];
  const castOf = (name: string) => Object.hasOwn(casts, name) ? casts[name]! : null;
  const fill = (template: string, row: string, name: string) =>
    template.replaceAll("$", () => `${row}.${quoteIdent(name)}`);
  const value = (row: string, name: string) => fill(castOf(name)?.put ?? "$", row, name);
  return {
    columns: staged.map(({ name }) => quoteIdent(name)),
    stage: staged.map(({ name, type }) => `${quoteIdent(name)} ${sqlType(type)}`).join(", "),
    direct: Object.values(casts).every((cast) => cast.direct),
    values: (row) => staged.map(({ name }) => value(row, name)),
    keyValues: (row) => keys.map(({ name }) => value(row, name)),
    holds: (row) => {
      const checks = table.columns.flatMap(({ name }) => {
        const holds = castOf(name)?.holds ?? null;
        return holds === null ? [] : [`coalesce(${fill(holds, row, name)}, true)`];
      });
      return checks.length === 0 ? null : checks.join(" and ");
    },
    key: keys.map(({ name }) => quoteIdent(name)),
    fingerprint: "_etl_fingerprint",
    runId: "_etl_run_id",
    version: table.version === null ? null : "_etl_version",
    firstSeenAt: "_etl_first_seen_at",
    updatedAt: "_etl_updated_at",
    deletedAt: null,
    hasKey: (row, entry) =>
      keys.map(({ name, type }, i) =>
        `${row}.${quoteIdent(name)} = ${part(entry, i)}${asKey(castOf(name)?.key ?? sqlType(type))}`
      ).join(" and "),
    isForeign: (row) => `${row}._etl_run_id is null`,
    owner: () => "'none: no run has written it'::text",
    keyText: (row) =>
      keys.map(({ name }) => `${row}.${quoteIdent(name)}::text`).join(" || '|' || "),
    entryKey: (row) => {
      const texts = keys.map(({ name }) => `${row}.${quoteIdent(name)}::text`);
      return texts.length === 1 ? texts[0]! : `array[${texts.join(", ")}]::text`;
    },
    order: keys.map(({ name, type }) =>
      `${quoteIdent(name)}${sqlType(type) === "text" ? ' collate "C"' : ""}`
    ).join(", "),
  };
}

/** The column in which a mirror marks rows that its source no longer has, in tables of either layout. */
const MARK_COLUMN = "_etl_deleted_at";

/** The layout of the table that a run loads; `marks`: it has the column for marked rows. */
export function layoutOf(
  { table, marks = false }: { table: TypedTable | null; marks?: boolean },
): RowLayout {
  const layout = table === null ? EVENTS : typedLayout(table);
  return marks ? { ...layout, deletedAt: MARK_COLUMN } : layout;
}

const asKey = (type: string) => type === "text" ? "" : `::${type}`;

/** PostgreSQL's name of a type of a column: `integer` has 64 bits, as in typed views. */
export function sqlType(type: string): string {
  return type === "integer" ? "bigint" : type;
}
