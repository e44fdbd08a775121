import { resolve } from "node:path";
import { lines } from "../../scripts/server_process.ts";
import { Terminal } from "../../scripts/terminal.ts";
import { asServer } from "./server_role.ts";
import { waitFor } from "./wait_for.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");
const INHERITED = ["PATH", "HOME", "DENO_DIR", "TMPDIR", "XDG_CACHE_HOME"];
/** The arguments of `deno run` that `deno task etl` has. */
const RUN_ARGS = /deno run (.*) scripts\/etl\.ts$/
  .exec(JSON.parse(Deno.readTextFileSync(`${PROJECT_DIR}/deno.json`)).tasks.etl.command)![1]!
  .split(" ");

/** A command that takes longer hangs. */
const DEADLINE_MS = 120_000;

export interface CliOptions {
  env: Record<string, string>;
  /** What is on its standard input. */
  input?: string;
}

/** A command line that runs, or has run. */
export interface StartedCli {
  out: string[];
  err: string[];
  kill(signal: Deno.Signal): void;
  /** Waits until it has written a line like this to its standard error. */
  says(pattern: RegExp): Promise<string>;
  /** Its exit code, when it has ended. */
  code: Promise<number>;
}

/** Starts `etl …` as a process of its own, without a terminal. */
export function startCli(args: string[], { env, input }: CliOptions): StartedCli {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", ...RUN_ARGS, "scripts/etl.ts", ...args],
    cwd: PROJECT_DIR,
    clearEnv: true,
    env: environment(env),
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out: string[] = [];
  const err: string[] = [];
  const collect = async (stream: ReadableStream<Uint8Array>, into: string[]) => {
    for await (const line of lines(stream)) into.push(line);
  };
  const write = async () => {
    if (input === undefined) return;
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  };
  const deadline = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const ended = Promise.all([
    child.status.finally(() => clearTimeout(deadline)),
    collect(child.stdout, out),
    collect(child.stderr, err),
    write(),
  ]);
  return {
    out,
    err,
    kill: (signal) => child.kill(signal),
    says: (pattern) =>
      waitFor(() => err.find((line) => pattern.test(line)), {
        timeoutMs: 30_000,
        what: `${pattern} in:\n${err.join("\n")}`,
      }),
    code: ended.then(([{ code }]) => code),
  };
}

/**
 * Runs `etl …` to its end, in this process, as that saves most of its time, unless it starts a PostgreSQL
 * or has something on its standard input.
 */
export async function runCli(
  args: string[],
  options: CliOptions & { ownProcess?: boolean },
): Promise<{ code: number; out: string; err: string; json: () => Record<string, unknown> }> {
  const { env, input, ownProcess = !env.KPIS_PG_DSN && !env.ETL_SERVER } = options;
  const { code, out, err } = ownProcess || input !== undefined
    ? await ended(startCli(args, options))
    : await inThisProcess(args, options);
  return { code, out, err, json: () => JSON.parse(out.slice(out.lastIndexOf("\n") + 1)) };
}

/** Stands between a command and its caller as a terminal: what the caller sends is typed, and answered is what is seen. */
const TERMINAL =
  "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/** Runs `etl …` on a real terminal, where somebody types; answers what the terminal shows. */
export async function runOnTerminal(
  args: string[],
  { env, typed }: { env: Record<string, string>; typed: string },
): Promise<{ code: number; seen: string }> {
  const child = new Deno.Command("python3", {
    args: [
      "-c",
      TERMINAL,
      Deno.execPath(),
      "run",
      "--cached-only",
      ...RUN_ARGS,
      "scripts/etl.ts",
      ...args,
    ],
    cwd: PROJECT_DIR,
    clearEnv: true,
    env: { ...environment(env), TERM: "xterm" },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const deadline = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(typed));
  let seen = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) seen += part;
  const { code } = await child.status;
  clearTimeout(deadline);
  await writer.close().catch(() => {});
  return { code, seen };
}

async function ended({ code, out, err }: StartedCli) {
  return { code: await code, out: out.join("\n"), err: err.join("\n") };
}

async function inThisProcess(args: string[], { env, typed }: CliOptions & { typed?: Typed }) {
  const { cli } = await import("../../scripts/cli/main.ts");
  const said = { out: "", err: "" };
  const terminal = (to: keyof typeof said, isTerminal: boolean) =>
    new Terminal({ isTerminal, width: 160, colour: false, write: (text) => said[to] += text });
  const { prompt } = globalThis;
  globalThis.prompt = (question = "") => {
    if (typed === undefined) throw new Error(`nobody is there to be asked: ${question}`);
    typed.asked.push(question);
    return typed.answer;
  };
  const code = await cli({
    args,
    env: environment(env),
    projectDir: PROJECT_DIR,
    cwd: env.INIT_CWD ?? PROJECT_DIR,
    canAsk: typed !== undefined,
    out: terminal("out", false),
    err: terminal("err", typed !== undefined),
  }).finally(() => globalThis.prompt = prompt);
  return { code, out: said.out.replace(/\n$/, ""), err: said.err.replace(/\n$/, "") };
}

function environment(env: Record<string, string>): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return {
    ...Object.fromEntries(inherited),
    ...env,
    ...(env.KPIS_PG_DSN ? { KPIS_PG_DSN: asServer(env.KPIS_PG_DSN) } : {}),
  };
}

/** What somebody types who is asked, null where the input ends, and what was asked. */
export interface Typed {
  answer: string | null;
  asked: string[];
}

/** The command line with an engine of this process as its server, which listens as long as the scope lasts. */
export function cliOf(
  engine: { request(path: string, init: RequestInit): Promise<Response> },
): {
  address: string;
  etl: (...args: string[]) => ReturnType<typeof runCli>;
  /** The same where somebody sits at a terminal. */
  etlAsking: (typed: Typed, ...args: string[]) => ReturnType<typeof inThisProcess>;
} & AsyncDisposable {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    ({ url, method, headers, body, signal }) => {
      const { pathname, search } = new URL(url);
      return engine.request(pathname + search, { method, headers, body, signal });
    },
  );
  const env = { ETL_SERVER: `http://127.0.0.1:${server.addr.port}` };
  return {
    address: env.ETL_SERVER,
    etl: (...args) => runCli(args, { env }),
    etlAsking: (typed, ...args) => inThisProcess(args, { env, typed }),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A request that the command line has sent. */
export interface Asked {
  method: string;
  path: string;
  /** With its query as it was sent. */
  url: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  text: string;
  /** JSON as what it is, anything else as text. */
  body: unknown;
}

/**
 * The command line with a server that gives these answers, each by its path, as JSON or as a function makes it; one that
 * is missing is a 404. What it was asked is kept. For what commands make of answers that a real server seldom gives.
 */
export function answering(answers: Record<string, unknown>) {
  const asked: Asked[] = [];
  const cli = cliOf({
    async request(path, init) {
      const url = new URL(path, "http://server");
      const text = await new Response(init.body ?? null).text();
      const { pathname } = url;
      const headers = Object.fromEntries(new Headers(init.headers));
      asked.push({
        ...{ method: init.method!, path: pathname, headers, url: path, text },
        query: Object.fromEntries(url.searchParams),
        body: headers["content-type"] === "application/json" ? JSON.parse(text) : text,
      });
      const answer = answers[pathname];
      if (answer === undefined) {
        const detail = `Nothing is at ${pathname}.`;
        return Response.json({ type: "/api/problems/not-found", status: 404, detail }, {
          status: 404,
        });
      }
      return typeof answer === "function" ? answer(asked.at(-1)) : Response.json(answer);
    },
  });
  return { asked, ...cli };
}
