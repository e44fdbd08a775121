import { Problem } from "../vocabulary/problem.ts";

interface ScriptOptions {
  /** What `--help` and `-h` show; default: there is none, and nothing points to it. */
  help?: string;
}

/**
 * Runs a script's main function and ends the process with the code that it
 * returns: 2 where the command line is wrong. What the user can do something
 * about is told in one sentence; with `ETL_DEBUG=1` also where it came from.
 */
export async function runScript(
  main: () => Promise<number>,
  { help }: ScriptOptions = {},
): Promise<never> {
  if (help !== undefined && Deno.args.some((arg) => arg === "--help" || arg === "-h")) {
    console.log(help);
    Deno.exit(0);
  }
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(`error: ${describe(error, help !== undefined)}`);
    Deno.exit(isWrongUse(error) ? 2 : 1);
  }
}

/** Options that are not for one another, in words. */
export class WrongUse extends Error {
  override readonly name = "WrongUse";
}

/** Also what parseArgs of node:util refuses. */
function isWrongUse(error: unknown): boolean {
  return error instanceof WrongUse ||
    String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS_");
}

function describe(error: unknown, hasHelp: boolean): string {
  if (!(error instanceof Error)) return String(error);
  if (Deno.env.get("ETL_DEBUG")) return error.stack ?? error.message;
  if (error instanceof Problem) return error.message;
  if (isWrongUse(error)) {
    return hasHelp ? `${error.message}\n--help tells how it is used.` : error.message;
  }
  return `${error.message}\nThis was not expected; ETL_DEBUG=1 shows where it happened.`;
}
