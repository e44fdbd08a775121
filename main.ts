import { readConfig } from "./server/config.ts";
import { unknownVariables } from "./server/environment_names.ts";
import { secretsOf } from "./server/secrets.ts";
import { startServices } from "./server/server.ts";
import { createLog, type Log, LogTail } from "./telemetry/log.ts";
import { Problem } from "./vocabulary/problem.ts";

/** A stopping server ends after so long, whatever is still in hand. */
const STOP_DEADLINE_MS = 15_000;

/** Composition root: config → database → queue → app → serve → drain. */
async function main(): Promise<void> {
  const env = environment();
  const config = readConfig(env, navigator.hardwareConcurrency);
  const tail = new LogTail();
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    write: (line) => console.error(line),
    secrets: secretsOf(config),
    onEntry: (entry) => tail.add(entry),
  });
  // e.g. the query that postgres.js asks first on each connection, when a pooler's server is away
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.error("something failed that nothing waited for; the server goes on", {
      error: event.reason,
    });
  });
  warnOfNames(env, log);
  const services = await startServices(config, { log, tail, drainMs: STOP_DEADLINE_MS - 3_000 });
  let stopping = false;
  const stop = async (signal: Deno.Signal) => {
    if (stopping) return;
    stopping = true;
    log.info("stopping", { signal });
    const deadline = setTimeout(() => {
      log.error("did not stop in time");
      Deno.exit(1);
    }, STOP_DEADLINE_MS);
    await services.stop(() =>
      Promise.race([server.shutdown(), new Promise((done) => setTimeout(done, 1_000))])
    );
    clearTimeout(deadline);
    log.info("stopped");
    Deno.exit(0);
  };
  // before the address is told: whoever reads it may end this server at once
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => void stop(signal));
  }
  const server = Deno.serve({
    hostname: config.host,
    port: config.port,
    onListen: ({ hostname, port }) => {
      const host = hostname.includes(":") ? `[${hostname}]` : hostname;
      console.log(`listening on http://${host}:${port}`);
    },
  }, services.app.fetch);
}

/** All variables where this process may list them, else those that its launcher names. */
function environment(): Record<string, string> {
  const names = Deno.env.get("ETL_ENVIRONMENT");
  if (names === undefined) return Deno.env.toObject();
  return Object.fromEntries(names.split(",").map((name) => [name, Deno.env.get(name) ?? ""]));
}

/** A misspelt variable is worse than a wrong value: the default counts, and nobody is told. */
function warnOfNames(env: Record<string, string>, log: Log): void {
  for (const { name, meant } of unknownVariables(Object.keys(env))) {
    if (!/^ETL_/i.test(name)) continue;
    log.warn(
      `${name} is set, and nothing reads a variable of that name. ` +
        (meant === undefined ? "Remove it, or see docs/configuration.md." : `Is ${meant} meant?`),
    );
  }
}

function explain(error: unknown, log: Pick<Log, "error">): never {
  if (error instanceof Problem) log.error(error.message);
  else if (error instanceof Deno.errors.AddrInUse) {
    log.error(
      "cannot start: something else listens on this port already, perhaps another server of this " +
        "project. Stop it, or set ETL_PORT to another port.",
    );
  } else if (error instanceof Deno.errors.AddrNotAvailable) {
    log.error("cannot start: ETL_HOST is no address of this machine.");
  } else log.error("cannot start", { error });
  Deno.exit(1);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    explain(
      error,
      createLog({ level: "error", format: "text", write: (line) => console.error(line) }),
    );
  }
}
