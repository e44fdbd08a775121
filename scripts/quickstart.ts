/**
 * `deno task quickstart`: from a fresh clone to a loaded data set and a running
 * server. scripts/install.ts has run before.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { databasePlace } from "../store/dsn.ts";
import type { RunDetail } from "../vocabulary/run_schema.ts";
import { Problem, TerminalProblem } from "../vocabulary/problem.ts";
import { post, remoteApi } from "./cli/api.ts";
import { followRun } from "./cli/run_follow.ts";
import { RunScreen, runSummary, summaryLines } from "./cli/run_screen.ts";
import { launch, type Launched, onEndingSignal } from "./launch.ts";
import { runScript } from "./run_script.ts";
import { ServerEndedError } from "./server_process.ts";
import { setupDatabase } from "./setup_db.ts";
import { duration, Terminal } from "./terminal.ts";

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
    throw new TerminalProblem("bad-request", { detail: `${detail}\n\n${HELP}` });
  }
}

interface QuickstartOptions {
  terminal: Terminal;
  /** Whether to end after the run. */
  once: boolean;
  projectDir: string;
  env: Record<string, string>;
  /** Port of the server; default ETL_PORT, else 8080 if it is free, else any. */
  port?: number;
}

/** Delay, distance and time of day of flights, from the Bureau of Transportation Statistics. */
const DATA_SET = {
  file: "flights-200k.json",
  title: "flights-200k.json: delay, distance and time of day of 200,000 US flights",
};

/** Exit code after Ctrl-C before the end. */
const INTERRUPTED = 130;

/** Runs the quickstart; returns its exit code. */
async function quickstart(options: QuickstartOptions): Promise<number> {
  const { terminal, projectDir } = options;
  const state: { launched?: Launched; ending?: Deno.Signal } = {};
  using _signals = onEndingSignal((signal) => {
    state.ending ??= signal;
    state.launched?.stop(signal);
  });
  const env = { ...options.env };
  env.ETL_PORT = String(options.port ?? (env.ETL_PORT || usualPort()));
  env.ETL_DATA_DIR ||= join(projectDir, "data");
  const path = await provideData(projectDir, env.ETL_DATA_DIR);
  const logFile = join(projectDir, ".data", "server.log");
  await Deno.mkdir(join(projectDir, ".data"), { recursive: true, mode: 0o700 });
  using log = await Deno.open(logFile, {
    create: true,
    truncate: true,
    write: true,
    mode: 0o600,
  });
  const encoder = new TextEncoder();
  const step = steps(terminal);

  step.begin("PostgreSQL", env.KPIS_PG_DSN ? "connecting" : "starting");
  const launched = state.launched = await launch({
    projectDir,
    env,
    onLine: (line) => log.writeSync(encoder.encode(`${line}\n`)),
    async prepare(dsn, postgres) {
      const what = {
        created: "new",
        started: "with the data of last time",
        joined: "runs already",
      };
      step.end(`${databasePlace(dsn)}, ${postgres ? what[postgres.origin] : "KPIS_PG_DSN"}`);
      step.begin("Schema", "creating what is missing");
      const created = await setupDatabase(dsn, {});
      step.end(created.length > 0 ? `${created.length} objects created` : "up to date");
      step.begin("Server", "starting");
    },
  });
  if (state.ending) launched.stop(state.ending);
  let run: RunDetail;
  try {
    const address = await launched.server.address;
    step.end(address);
    terminal.line(`\n  Loading ${DATA_SET.title}\n`);
    run = await load(address, {
      path,
      terminal,
      until: launched.ended,
      token: env.ETL_ADMIN_TOKEN || env.ETL_TOKEN,
    });
    if (!options.once) {
      for (const [name, next] of nextSteps(address, launched)) {
        terminal.line(`  ${name.padEnd(14)} ${terminal.paint("cyan", next)}`);
      }
      terminal.line(
        `\n  Everything keeps running; Ctrl-C ends it and keeps the data. Server log: ${logFile}\n`,
      );
      return await untilEnded(launched, state, logFile);
    }
  } catch (error) {
    launched.stop("SIGTERM");
    await launched.ended;
    if (state.ending) return INTERRUPTED;
    throw explained(error, logFile);
  }
  launched.stop("SIGTERM");
  await launched.ended;
  if (state.ending) return INTERRUPTED;
  console.log(JSON.stringify(runSummary(run)));
  return run.state === "succeeded" ? 0 : 1;
}

/** What somebody who has seen the quickstart would do next, with the command or address of each. */
function nextSteps(address: string, { dsn, postgres }: Launched): [string, string][] {
  const database = postgres === undefined ? "$KPIS_PG_DSN" : dsn;
  return [
    ["Dashboard", `${address}/etl`],
    [
      "Your own file",
      "deno task etl load FILE.csv --key FIELD --time FIELD   (in another terminal)",
    ],
    ["SQL", `psql "${database}" -c 'select * from etl_improved_events limit 10'`],
  ];
}

/** Asks for the run and shows it until it has ended, or the server has. */
async function load(
  address: string,
  options: {
    path: string;
    terminal: Terminal;
    until: Promise<unknown>;
    token: string | undefined;
  },
): Promise<RunDetail> {
  const { path, terminal, until, token } = options;
  const serverEnded = new AbortController();
  void until.then(() => serverEnded.abort(new Error("it ended")));
  const api = remoteApi(address, { token, signal: serverEnded.signal });
  const { run_id } = await post<{ run_id: string }>(api, "/api/etl/run", {
    run_label: "quickstart",
    source: { type: "file", name: "flights", path, event_type: "flight" },
  });
  const screen = new RunScreen(terminal);
  const run = await followRun(api, run_id, {
    onChange: (now) => screen.show(now),
    signal: serverEnded.signal,
  });
  screen.end(run);
  if (!terminal.isTerminal) terminal.line();
  for (const line of [...summaryLines(terminal, run), ""]) terminal.line(line);
  return run;
}

async function untilEnded(
  launched: Launched,
  state: { ending?: Deno.Signal },
  logFile: string,
): Promise<number> {
  const code = await launched.ended;
  if (!state.ending) {
    throw new TerminalProblem("unavailable", {
      detail: `The server ended by itself with code ${code}. ${logFile} says why.`,
    });
  }
  return code;
}

/** What to do about an error of the server, instead of where it happened. */
function explained(error: unknown, logFile: string): unknown {
  if (error instanceof Problem) return error;
  if (error instanceof ServerEndedError) {
    const said = error.lastLines.filter((line) => !/^\s+at /.test(line)).slice(-5).join("\n  ");
    return new TerminalProblem("unavailable", {
      detail: `The server did not start. Its last words, all of them in ${logFile}:\n  ${said}`,
      cause: error,
    });
  }
  return new TerminalProblem("unavailable", {
    detail: `The server did not answer: ${error instanceof Error ? error.message : error}. ` +
      `Its log is in ${logFile}.`,
    cause: error,
  });
}

/** Copies the data set to where file sources may read; returns its path below that. */
async function provideData(projectDir: string, dataDir: string): Promise<string> {
  const from = join(projectDir, "node_modules", "vega-datasets", "data", DATA_SET.file);
  const path = `quickstart/${DATA_SET.file}`;
  const to = join(dataDir, path);
  const { size } = await Deno.stat(from);
  const there = await Deno.stat(to).catch(() => undefined);
  if (there?.size !== size) {
    await Deno.mkdir(join(dataDir, "quickstart"), { recursive: true });
    await Deno.copyFile(from, to);
  }
  return path;
}

function usualPort(): number {
  try {
    Deno.listen({ hostname: "127.0.0.1", port: 8080 }).close();
    return 8080;
  } catch {
    return 0;
  }
}

/** Prints each step as it begins (on a terminal) and with its duration when it ends. */
function steps(
  terminal: Terminal,
): { begin(name: string, doing: string): void; end(result: string): void } {
  let current = { name: "", start: 0 };
  return {
    begin(name, doing) {
      current = { name, start: performance.now() };
      terminal.draw([`  ${terminal.paint("dim", "·")} ${name.padEnd(14)} ${doing}`]);
    },
    end(result) {
      const took = terminal.paint("dim", duration(performance.now() - current.start));
      const tick = terminal.paint("green", "✓");
      terminal.line(`  ${tick} ${current.name.padEnd(14)} ${result.padEnd(44)} ${took}`);
    },
  };
}

await runScript(main);
