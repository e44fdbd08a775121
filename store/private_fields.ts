import type { Sql } from "./database.ts";

/** Paths of fields that are left out, and of such as are hashed. */
export interface PrivatePaths {
  exclude: string[];
  hash: string[];
}

/**
 * The private fields of a run: what its dataset has declared for its source, else what the run's conf says, which is
 * declared by it. `mark` tells which secret this server hashes with; null: none. Raises invalid-conf where the conf says
 * otherwise, or where the dataset's hashes were made with another secret.
 */
export async function privateFields(
  sql: Sql,
  runId: string,
  mark: string | null,
): Promise<PrivatePaths> {
  const [row] = await sql<{ fields: PrivatePaths }[]>`
    select etl.declare_private_fields(${runId}, ${mark}) as fields, etl.declare_history(${runId})`;
  return row!.fields;
}

/** Fields of the records in a run's quarantine in whose place their hash stands already. */
export async function hashedBefore(sql: Sql, runId: string): Promise<string[]> {
  const [row] = await sql<{ hash: string[] | null }[]>`
    select params -> 'hash' as hash from etl.runs where run_id = ${runId}`;
  return row?.hash ?? [];
}

/**
 * Declares the private fields of a dataset's source anew; what is not given stays. The next hashes are made with the secret
 * that the servers have by then. Raises not-found, invalid-conf, missing-grant.
 */
export async function alterPrivateFields(
  sql: Sql,
  dataset: string,
  { source, exclude, hash, actor }: {
    /** Default: the only source. */
    source?: string | undefined;
    exclude?: string[] | undefined;
    hash?: string[] | undefined;
    actor: string;
  },
): Promise<PrivatePaths> {
  const list = (paths: string[] | undefined) => paths === undefined ? null : JSON.stringify(paths);
  const [row] = await sql<{ fields: PrivatePaths }[]>`
    select etl.alter_private_fields(${dataset}, ${source ?? null}, ${list(exclude)}::text::jsonb,
      ${list(hash)}::text::jsonb, ${actor}) as fields`;
  return row!.fields;
}
