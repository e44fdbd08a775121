import type { FieldError } from "../vocabulary/problem.ts";
import type { Sql } from "./database.ts";

export interface ResolvedParams {
  params: Record<string, unknown>;
  /** Where each value came from. */
  origins: Record<string, string>;
  /** Field errors as they are shown; empty where everything is valid. */
  errors: FieldError[];
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
    select etl.with_declaration(params, origins) as params, origins, errors from etl.resolve_params(${
    JSON.stringify(conf)
  }::text::jsonb)`;
  return row!;
}

/** Stores what a server's environment says of parameters, for whoever asks through SQL. */
export async function publishEnvironment(
  sql: Sql,
  { run, maintenance }: { run: Record<string, unknown>; maintenance: Record<string, unknown> },
): Promise<void> {
  await sql`
    update etl.param_schema as p set environment = e.run, maintenance_environment = e.maintenance
    from (select ${JSON.stringify(run)}::text::jsonb as run,
      ${JSON.stringify(maintenance)}::text::jsonb as maintenance) as e
    where (p.environment, p.maintenance_environment) is distinct from (e.run, e.maintenance)`;
}
