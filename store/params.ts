import type { Sql } from "./database.ts";

export interface ResolvedParams {
  params: Record<string, unknown>;
  /** Where each value came from. */
  origins: Record<string, string>;
  /** Field errors as they are shown; empty where everything is valid. */
  errors: { field: string; message: string; value?: unknown; expected?: string }[];
}

/** Everything that the database finds wrong with a conf: its own checks, configurations, pools, suites. */
export async function confErrors(sql: Sql, conf: unknown): Promise<ResolvedParams["errors"]> {
  const [row] = await sql<{ errors: ResolvedParams["errors"] }[]>`
    select etl.conf_errors(${JSON.stringify(conf)}::text::jsonb) as errors`;
  return row!.errors;
}

/** The parameters that a run with this conf would have. Makes no run. */
export async function resolveParams(sql: Sql, conf: unknown): Promise<ResolvedParams> {
  const [row] = await sql<ResolvedParams[]>`
    select params, origins, errors from etl.resolve_params(${JSON.stringify(conf)}::text::jsonb)`;
  return row!;
}
