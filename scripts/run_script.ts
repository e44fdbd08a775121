import { Problem } from "../vocabulary/problem.ts";

/**
 * Runs a script's main function and ends the process with the code that it
 * returns: 2 where the command line is wrong. What the user can do something
 * about is told in one sentence; with `ETL_DEBUG=1` also where it came from.
 */
export async function runScript(main: () => Promise<number>): Promise<never> {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(`error: ${describe(error)}`);
    Deno.exit(isWrongUse(error) ? 2 : 1);
  }
}

/** What parseArgs of node:util refuses. */
function isWrongUse(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS_");
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (Deno.env.get("ETL_DEBUG")) return error.stack ?? error.message;
  if (error instanceof Problem) return error.message;
  if (isWrongUse(error)) return `${error.message}\n--help tells how it is used.`;
  return `${error.message}\nThis was not expected; ETL_DEBUG=1 shows where it happened.`;
}
