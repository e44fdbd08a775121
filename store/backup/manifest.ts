import { z } from "zod";

const column = z.object({
  name: z.string(),
  /** As format_type() writes it, e.g. `numeric(10,2)`. */
  type: z.string(),
});

const table = z.object({
  schema_name: z.string(),
  table_name: z.string(),
  /** etl: of schema etl; destination: events; reported: audit, metrics, alerts. */
  kind: z.enum(["etl", "destination", "reported"]),
  columns: z.array(column),
  /** The column whose values are given out by a sequence, and the last one that was, as far as the role may see it. */
  identity: z.object({ column: z.string(), last_value: z.number().nullable() }).nullable(),
});

/** The head of a backup: what it holds, and what has to be there before it is restored. */
export const manifestSchema = z.object({
  format: z.literal(1),
  taken_at: z.string(),
  database: z.string(),
  server_version: z.string(),
  /** Arguments of etl.ensure_destination. */
  destinations: z.array(z.object({
    schema_name: z.string(),
    table_name: z.string(),
    audit_table_name: z.string(),
  })),
  tables: z.array(table),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type BackedUpTable = z.infer<typeof table>;
