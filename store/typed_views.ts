import type { Sql } from "./database.ts";

/** A declared column of a typed view. */
export interface DatasetColumn {
  name: string;
  /** Into payload, as in a source's mapping: "properties.mag". */
  path: string;
  type: "text" | "integer" | "numeric" | "boolean" | "date" | "timestamptz" | "jsonb";
}

/** The typed view of a dataset and what it is made from. */
export interface TypedView {
  dataset: string;
  /** "schema.view"; null without one. */
  view: string | null;
  columns: DatasetColumn[];
  /** Columns of the table that every typed view begins with. */
  fixed: string[];
  /** Whether the view is there: it goes and comes with its table. */
  exists: boolean;
}

function viewColumns(sql: Sql) {
  return sql`d.dataset, d.schema_name || '.' || d.view_name as view, coalesce(d.columns, '[]') as columns,
    etl.typed_view_fixed() as fixed,
    coalesce(etl.is_typed_view(to_regclass(quote_ident(d.schema_name) || '.' || quote_ident(d.view_name)), d.dataset), false) as exists`;
}

/** Null for a dataset that no run has written. */
export async function typedView(sql: Sql, dataset: string): Promise<TypedView | null> {
  const [row] = await sql<TypedView[]>`
    select ${viewColumns(sql)} from etl.datasets as d where d.dataset = ${dataset}`;
  return row ?? null;
}

/** Typed views by dataset. */
export async function listTypedViews(sql: Sql): Promise<TypedView[]> {
  return await sql<TypedView[]>`
    select ${viewColumns(sql)} from etl.datasets as d order by d.dataset`;
}

/**
 * Declares the columns of a dataset and makes its view, null takes both away.
 * Raises problems: not-found, invalid-conf, conflict, missing-grant.
 */
export async function setDatasetColumns(
  sql: Sql,
  dataset: string,
  { columns, view, actor }: { columns: unknown; view?: string | null | undefined; actor: string },
): Promise<void> {
  await sql`select etl.set_dataset_columns(${dataset}, ${JSON.stringify(columns)}::text::jsonb,
    ${view ?? null}, ${actor})`;
}

/** Columns that fit what is in the table. */
export interface ColumnProposal {
  columns: DatasetColumn[];
  /** Rows that were looked at. */
  rows: number;
  /** Paths that were found and are not proposed, as most rows lack them. */
  left_out: number;
}

/** Raises not-found where there is no table. */
export async function proposeColumns(
  sql: Sql,
  dataset: string,
  sample: number,
): Promise<ColumnProposal> {
  const [row] = await sql<{ proposal: ColumnProposal }[]>`
    select etl.propose_dataset_columns(${dataset}, ${sample}) as proposal`;
  return row!.proposal;
}
