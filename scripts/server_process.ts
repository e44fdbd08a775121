import { join } from "node:path";
import { readConfig } from "../server/config.ts";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { readableVariables, serverPermissions } from "./server_permissions.ts";

interface ServerProcessOptions {
  /** Directory of the project, with deno.json and main.ts. */
  projectDir: string;
  /** The whole environment of the server; has to have what {@linkcode serverPermissions} needs. */
  env: Record<string, string>;
  /** Module to run; default main.ts. */
  entry?: string;
  /** Whether to start again when a file changes; default false. */
  watch?: boolean;
  /** Told each line that the server writes, to either stream. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

/** A server that runs as a process of its own. */
export interface ServerProcess {
  pid: number;
  /** The address that it announced; rejects with its last words when it ends before. */
  address: Promise<string>;
  /** Ends when it has ended and everything that it wrote has been read. */
  ended: Promise<Deno.CommandStatus>;
  kill(signal: Deno.Signal): void;
}

/**
 * Records live for a moment: a young generation of 4 MB a thread. With 8 MB, a load of 10,000,000 records took 447 MB instead
 * of 346, and a twentieth less time. An old one that may not grow beyond 1 GB is collected early, and again when it has doubled:
 * else what hashing leaves outside of the heap takes 90 MB more before V8 looks for it. Collected whenever it has grown by half
 * it takes 35 MB less, and `/api/etl/health` beside a load 46 ms instead of 29 (p99).
 */
const HEAP =
  "--v8-flags=--max-semi-space-size=4,--max-old-space-size=1024,--heap-growing-percent=100";

const ANNOUNCEMENT = /listening on (https?:\/\/\S+?)["'\s]*$/;
const LAST_WORDS = 20;

/** The arguments of Deno for the server, with the permissions that its environment calls for. */
export function serverArguments(
  env: Record<string, string>,
  options: Pick<ServerProcessOptions, "projectDir" | "entry" | "watch">,
): string[] {
  const { projectDir } = options;
  return [
    "run",
    "--quiet",
    "--frozen",
    "--cached-only",
    "--no-remote",
    `--config=${join(projectDir, "deno.json")}`,
    ...(options.watch ? ["--watch"] : []),
    HEAP,
    ...serverPermissions(env, { projectDir }),
    options.entry ?? join(projectDir, "main.ts"),
  ];
}

/** The server's environment: with permission for some variables Deno does not list them, so their names are passed on. */
export function serverVariables(env: Record<string, string>): Record<string, string> {
  return { ...env, ETL_ENVIRONMENT: readableVariables(env).join(",") };
}

/**
 * Starts the server with the permissions that its environment calls for. It
 * gets no signals from the terminal: Ctrl-C reaches whoever started it, who
 * passes it on once.
 */
export function startServerProcess(options: ServerProcessOptions): ServerProcess {
  const { projectDir, env } = options;
  // inherited: what the server writes holds data, and is of its account alone
  const umask = Deno.umask(0o077);
  const child = new Deno.Command(Deno.execPath(), {
    args: serverArguments(env, options),
    cwd: projectDir,
    clearEnv: true,
    env: serverVariables(env),
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  Deno.umask(umask);
  const announced = Promise.withResolvers<string>();
  announced.promise.catch(() => {}); // who does not wait for it is told by `ended`
  const lastWords: string[] = [];
  const read = async (stream: ReadableStream<Uint8Array>, name: "stdout" | "stderr") => {
    for await (const line of lines(stream)) {
      if (lastWords.push(line) > LAST_WORDS) lastWords.shift();
      options.onLine?.(line, name);
      const address = ANNOUNCEMENT.exec(line)?.[1];
      if (address) announced.resolve(address);
    }
  };
  const ended = Promise.all([
    child.status,
    read(child.stdout, "stdout"),
    read(child.stderr, "stderr"),
  ]).then(([status]) => {
    announced.reject(new ServerEndedError(status, lastWords));
    return status;
  });
  return {
    pid: child.pid,
    address: announced.promise,
    ended,
    kill(signal) {
      try {
        child.kill(signal);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // TypeError: it has ended already
      }
    },
  };
}

/** The server ended before it listened. */
export class ServerEndedError extends Error {
  override readonly name = "ServerEndedError";
  readonly status: Deno.CommandStatus;
  readonly lastLines: string[];

  constructor(status: Deno.CommandStatus, lastLines: string[]) {
    const how = status.signal ? `was killed by ${status.signal}` : `ended with ${status.code}`;
    super(`The server ${how} before it listened:\n${lastLines.join("\n")}`);
    this.status = status;
    this.lastLines = [...lastLines];
  }
}

/** The lines of a stream of UTF-8, the last one also without a line end. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  rest += decoder.decode();
  if (rest) yield rest;
}

interface ServerEnvironmentOptions {
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
  for (const name of ["ETL_DATA_DIR", "ETL_SPOOL_DIR"]) await refuseSpecial(name, env[name]!);
  env.ETL_HOST ||= "127.0.0.1";
  env.ETL_PORT ||= "8080";
  readConfig({ ...env, KPIS_PG_DSN: env.KPIS_PG_DSN || "postgres://embedded" }, 1);
}

async function madeDir(name: string, path: string): Promise<string> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new TerminalProblem("bad-request", {
      detail: `The directory ${path} cannot be made: ${
        (cause as Error).message
      }. Set ${name} to one that can be written to.`,
      cause,
    });
  }
  return path;
}

/** Below /dev, /proc and /sys Deno opens files for a program with all permissions only, which a server does not have. */
async function refuseSpecial(name: string, path: string): Promise<void> {
  const real = await Deno.realPath(path).catch(() => path);
  const root = /^\/(dev|proc|sys)(?=\/|$)/.exec(real)?.[0];
  if (root === undefined) return;
  throw new TerminalProblem("bad-request", {
    detail:
      `${name} is ${path}, below ${root}, where a server with limited permissions can open no files. ` +
      "Name a directory elsewhere; a file system in memory (tmpfs) can be mounted there.",
  });
}
