import { join } from "node:path";
import { readConfig } from "../server/config.ts";
import { Problem } from "../vocabulary/problem.ts";

export interface ServerEnvironmentOptions {
  /** Directory of the project. */
  projectDir: string;
}

/**
 * Adds to `env` what the server's permissions are computed from, makes the directories, and
 * throws a Problem that says what is wrong, before anything is started. Without `KPIS_PG_DSN` the
 * embedded database is meant, which has its address later.
 */
export async function prepareServerEnvironment(
  env: Record<string, string>,
  { projectDir }: ServerEnvironmentOptions,
): Promise<void> {
  env.ETL_DATA_DIR ||= await madeDir("ETL_DATA_DIR", join(projectDir, "data"));
  env.ETL_SPOOL_DIR = await madeDir(
    "ETL_SPOOL_DIR",
    env.ETL_SPOOL_DIR || join(projectDir, ".data", "spool"),
  );
  env.ETL_HOST ||= "127.0.0.1";
  env.ETL_PORT ||= "8080";
  readConfig({ ...env, KPIS_PG_DSN: env.KPIS_PG_DSN || "postgres://embedded" }, 1);
}

async function madeDir(name: string, path: string): Promise<string> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new Problem("bad-request", {
      detail: `The directory ${path} cannot be made: ${
        (cause as Error).message
      }. Set ${name} to one that can be written to.`,
      cause,
    });
  }
  return path;
}
