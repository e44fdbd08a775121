/** A column of a table of another database. */
export interface SourceColumn {
  name: string;
  /** Its type as that database calls it. */
  type: string;
  /** The type of `source.columns` that holds all its values. */
  declare: string;
}

/** A table of another database. */
export interface SourceTable {
  schema: string;
  name: string;
  columns: SourceColumn[];
  /** Columns that tell its rows apart: its primary key, else a unique key without nulls; null: it has neither. */
  key: string[] | null;
  /** Whether `key` is the primary key. */
  primary: boolean;
  /** As its statistics have it; null where there are none. */
  rows: number | null;
  /** Whether the connection's role may read it. */
  readable: boolean;
}

export interface SourceCatalogue {
  kind: "postgres" | "mysql";
  /** In the order of their names. */
  tables: SourceTable[];
}

/** What catalogues are asked for. */
export interface CatalogueRequest {
  connection: string;
  dsn: string;
  /** `schema.table` with `*` and `?`, or `table` of the connection's own schema. */
  patterns: string[];
}

/** `numeric(p,s)` where that is a type of ours, else `numeric`. */
export function numericType(precision: number | null, scale: number | null): string {
  return precision === null || scale === null || precision > 1_000 || scale < 0 || scale > precision
    ? "numeric"
    : `numeric(${precision},${scale})`;
}
