/**
 * `deno task start` and `deno task dev`: the server, with the embedded
 * PostgreSQL before it when `KPIS_PG_DSN` is not set. Only this process may
 * start others; the server that it starts may not. It ends with the server's
 * exit code.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { launch, type Launched, onEndingSignal } from "./launch.ts";
import { runScript } from "./run_script.ts";
import { setupDatabase } from "./setup_db.ts";

const HELP = `Usage: deno task start | deno task dev

Starts the server, with the settings of the environment (docs/configuration.md). Without KPIS_PG_DSN a
PostgreSQL of its own is started before it, and stopped after it.

  --watch   start again when a file changes, as deno task dev does
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      watch: { type: "boolean", default: false },
      entry: { type: "string" }, // of tests
    },
  });
  const state: { launched?: Launched; ending?: Deno.Signal } = {};
  using _signals = onEndingSignal((signal) => {
    state.ending = signal;
    state.launched?.stop(signal);
  });
  const launched = state.launched = await launch({
    projectDir: resolve(import.meta.dirname ?? ".", ".."),
    env: Deno.env.toObject(),
    watch: values.watch,
    ...(values.entry ? { entry: values.entry } : {}),
    // Another database is prepared by who administers it: `deno task setup-db`.
    prepare: async (dsn, postgres) => {
      if (postgres) await setupDatabase(dsn);
    },
    log: (message) => console.error(message),
    onLine: (line, stream) => stream === "stdout" ? console.log(line) : console.error(line),
  });
  if (state.ending) launched.stop(state.ending);
  const code = await launched.ended;
  // A watcher has no exit code of its own: it ends by the signal.
  return values.watch && state.ending ? 0 : code;
}

await runScript(main, { help: HELP });
