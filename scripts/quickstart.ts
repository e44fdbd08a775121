/**
 * `deno task quickstart`: from a fresh clone to a loaded data set and a running
 * server. scripts/install.ts has run before.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Problem } from "../vocabulary/problem.ts";
import { quickstart } from "./quickstart_flow.ts";
import { runScript } from "./run_script.ts";
import { Terminal } from "./terminal.ts";

const HELP = `Sets everything up and loads a real data set.

  deno task quickstart [--once] [--port PORT]

  --once       end after the load; the last line is its summary as JSON, the exit code its outcome
  --port PORT  port of the server; default: ETL_PORT, else 8080, else a free one
  --help       this

A PostgreSQL of its own is started unless KPIS_PG_DSN names one. Its data is kept, so that
the second time nothing is left to load.`;

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

async function main(): Promise<number> {
  const { once, port, help } = readArguments();
  if (help) {
    console.log(HELP);
    return 0;
  }
  const terminal = new Terminal();
  terminal.line(`\n  ${terminal.paint("bold", "etl-improved")} quickstart\n`);
  return await quickstart({
    terminal,
    once,
    projectDir: PROJECT_DIR,
    env: Deno.env.toObject(),
    ...(port === undefined ? {} : { port }),
  });
}

function readArguments(): { once: boolean; port: number | undefined; help: boolean } {
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        once: { type: "boolean", default: false },
        port: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const port = values.port === undefined ? undefined : Number(values.port);
    if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
      throw new Error(`--port must be a whole number from 0 to 65535, not '${values.port}'`);
    }
    return { once: values.once, port, help: values.help };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Problem("bad-request", { detail: `${detail}\n\n${HELP}` });
  }
}

await runScript(main);
