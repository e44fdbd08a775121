import { isAbsolute, resolve } from "node:path";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { VERSION } from "../../vocabulary/version.ts";
import { resolveEnvironment } from "../environment.ts";
import { Terminal, writerTo } from "../terminal.ts";
import { type Api, remoteApi } from "./api.ts";
import type { Call, Command } from "./command.ts";
import { COMMANDS } from "./command_table.ts";
import { EXIT, exitCodeOfProblem, Interrupted, UsageError } from "./exit_codes.ts";
import { commandHelp, DEFAULT_TOOL, mainHelp, paramsHelp, sourcesHelp } from "./help.ts";
import { parseArguments, type ParsedArguments } from "./options.ts";
import { Signals } from "./signals.ts";
import { problemText } from "./text.ts";

export interface CliOptions {
  args: string[];
  env: Record<string, string>;
  /** Directory of the project. */
  projectDir: string;
  /** Where the user is: paths of files start here. */
  cwd: string;
  /** Whether the process ends with the command: its signals are for it, what it writes may be of its account alone. Default false. */
  ownProcess?: boolean;
  /** Whether somebody is there who can be asked; default: whether the standard input is a terminal. */
  canAsk?: boolean;
  out?: Terminal;
  err?: Terminal;
}

/** Runs the command line; answers the exit code. Nothing is thrown for what the user did. */
export async function cli(options: CliOptions): Promise<number> {
  const out = options.out ?? new Terminal();
  const err = options.err ?? new Terminal({
    isTerminal: Deno.stderr.isTerminal(),
    write: writerTo(Deno.stderr),
  });
  const [name = "help", ...rest] = options.args;
  const tool = options.env.ETL_TOOL || DEFAULT_TOOL;
  try {
    if (["--version", "-V", "version"].includes(name)) {
      out.line(`etl-improved ${VERSION} (Deno ${Deno.version.deno})`);
      return EXIT.succeeded;
    }
    if (["help", "--help", "-h"].includes(name)) {
      out.line(helpOn(rest[0], tool));
      return EXIT.succeeded;
    }
    const command = commandNamed(name);
    const parsed = parseArguments(command, rest);
    if (parsed.flags.help) {
      out.line(commandHelp(command, tool));
      return EXIT.succeeded;
    }
    return await execute(command, parsed, { ...options, out, err });
  } catch (error) {
    return explain(error, err, { command: name, tool });
  }
}

function helpOn(topic: string | undefined, tool: string): string {
  if (topic === undefined || topic.startsWith("-")) return mainHelp(COMMANDS, tool);
  if (topic === "params") return paramsHelp();
  if (topic === "sources") return sourcesHelp();
  return commandHelp(commandNamed(topic), tool);
}

function commandNamed(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name);
  if (command !== undefined) return command;
  const meant = nearestName(name, COMMANDS.map((each) => each.name));
  throw new UsageError(
    name.startsWith("-")
      ? `the command comes first: etl <command> ${name} …`
      : `there is no command '${name}'${meant === undefined ? "" : `; did you mean ${meant}?`}`,
  );
}

async function execute(
  command: Command,
  parsed: ParsedArguments,
  options: CliOptions & { out: Terminal; err: Terminal },
): Promise<number> {
  const { out, err } = options;
  const env = resolveEnvironment(options.env);
  const server = parsed.text.server ?? (env.ETL_SERVER || undefined);
  using signals = new Signals(options.ownProcess ?? false);
  let api: Api | undefined;
  const call: Call = {
    ...parsed,
    out,
    err,
    signals,
    usesServer: server !== undefined,
    resolvePath: (path) => resolve(options.cwd, path),
    canAsk: options.canAsk ?? Deno.stdin.isTerminal(),
    ask: (question, otherwise) => {
      err.draw([]);
      // nothing at all is typed where the input ends
      const typed = prompt(`${question} ${otherwise === "yes" ? "[Y/n]" : "[y/N]"}`) ?? "n";
      return (typed.trim().toLowerCase() || otherwise).startsWith("y");
    },
    task: (name) => `${options.env.ETL_TOOL || "deno task"} ${name}`,
    psql: server === undefined && env.KPIS_PG_DSN ? '"$KPIS_PG_DSN"' : null,
    readFile: (path) => readText(path, options.cwd),
    writeNewFile: (path, text) => writeNewText(path, options.cwd, text),
    async connect({ executes = false, dataDir } = {}) {
      if (server !== undefined) {
        const token = await tokenOf(parsed.text["token-file"], options);
        return api = remoteApi(server, { token, signal: signals.signal });
      }
      const { startInProcess } = await import("./in_process.ts");
      api = await startInProcess({
        projectDir: options.projectDir,
        ownProcess: options.ownProcess ?? false,
        env: dataDir === undefined ? env : { ...env, ETL_DATA_DIR: dataDir },
        ownDataDir: dataDir !== undefined,
        executes,
        logLevel: parsed.flags.verbose ? "info" : "error",
        onLog: (line) => err.line(line),
        onNotice: (line) => err.line(err.paint("dim", line)),
        onStep: (step) => err.draw([err.paint("dim", `  ${step} …`)]),
        signal: signals.signal,
      });
      err.draw([]);
      return api;
    },
  };
  try {
    return await command.run(call);
  } finally {
    err.draw([]);
    await api?.close();
  }
}

/** The token for a server: of the file that was named, else of the environment. */
async function tokenOf(
  file: string | undefined,
  { env, cwd }: CliOptions,
): Promise<string | undefined> {
  const where = file === undefined ? "ETL_TOKEN" : file;
  const token = (file === undefined ? env.ETL_TOKEN ?? "" : await readText(file, cwd)).trim();
  if (token === "" && file === undefined) return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(`${where} holds no API token, which is one word such as etl_…`);
}

async function readText(path: string, cwd: string): Promise<string> {
  if (path === "-") return await new Response(Deno.stdin.readable).text();
  const file = isAbsolute(path) ? path : resolve(cwd, path);
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    throw new UsageError(
      missing ? `there is no file ${file}` : `${file} cannot be read: ${(error as Error).message}`,
    );
  }
}

async function writeNewText(path: string, cwd: string, text: string): Promise<void> {
  const file = isAbsolute(path) ? path : resolve(cwd, path);
  try {
    await Deno.writeTextFile(file, text, { createNew: true });
  } catch (error) {
    throw new UsageError(
      error instanceof Deno.errors.AlreadyExists
        ? `${file} exists already; remove it first, or name another file`
        : `${file} cannot be written: ${(error as Error).message}`,
    );
  }
}

function explain(
  error: unknown,
  err: Terminal,
  { command, tool }: { command: string; tool: string },
): number {
  const title = err.paint("red", "error:");
  if (error instanceof UsageError) {
    const known = COMMANDS.some(({ name }) => name === command);
    err.line(`${title} ${error.message}`);
    err.line(`\`${tool} ${known ? `${command} ` : ""}--help\` tells how it is used.`);
    return EXIT.usage;
  }
  if (error instanceof Interrupted) return EXIT.interrupted;
  if (error instanceof Problem) {
    err.line(`${title} ${problemText(error)}`);
    if (error.type === "unauthorized" && error.status === 401) {
      err.line("Set ETL_TOKEN to the token, or name a file that holds it with --token-file.");
    }
    return exitCodeOfProblem(error);
  }
  err.line(`${title} ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
  err.line("This was not expected: it is a defect of etl-improved.");
  return EXIT.failed;
}
