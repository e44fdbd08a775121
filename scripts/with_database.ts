import { Problem } from "../vocabulary/problem.ts";
import { connectionProblem } from "../store/connection_problem.ts";
import { resolveEnvironment } from "./environment.ts";
import { startEmbeddedPostgres } from "./postgres/embedded.ts";

/**
 * Calls with the database that KPIS_PG_DSN names, or with the embedded one,
 * which runs for as long as the call takes, and the environment. A Problem is shown as its message,
 * and ends the program with 1.
 */
export async function withDatabase(
  use: (dsn: string, env: Record<string, string>) => Promise<void>,
): Promise<void> {
  try {
    const env = resolveEnvironment(Deno.env.toObject());
    const dsn = env.KPIS_PG_DSN;
    if (dsn) {
      return await use(dsn, env).catch((error) => {
        throw connectionProblem(error, dsn) ?? error;
      });
    }
    const dataDir = env.ETL_EMBEDDED_PG_DIR;
    const postgres = await startEmbeddedPostgres(dataDir ? { dataDir } : {});
    try {
      await use(postgres.dsn, env);
    } finally {
      await postgres.stop();
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
