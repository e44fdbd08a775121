import { resolve } from "node:path";
import { lines } from "../../scripts/server_process.ts";
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
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", ...RUN_ARGS, "scripts/etl.ts", ...args],
    cwd: PROJECT_DIR,
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited),
      ...env,
      ...(env.KPIS_PG_DSN ? { KPIS_PG_DSN: asServer(env.KPIS_PG_DSN) } : {}),
    },
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

/** Runs `etl …` to its end. */
export async function runCli(
  args: string[],
  options: CliOptions,
): Promise<{ code: number; out: string; err: string; json: () => Record<string, unknown> }> {
  const { out, err, code } = startCli(args, options);
  return {
    code: await code,
    out: out.join("\n"),
    err: err.join("\n"),
    json: () => JSON.parse(out.at(-1)!),
  };
}
