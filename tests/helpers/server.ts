import { join, resolve } from "node:path";
import { startServerProcess } from "../../scripts/server_process.ts";
import { asServer } from "./server_role.ts";

export interface TestServerOptions {
  /** Database of the server, e.g. of `testDatabase(t)`. */
  dsn: string;
  /**
   * More environment, e.g. `{ ETL_DATA_DIR: dir }`; default of ETL_DATA_DIR: tests/fixtures, of ETL_WORKERS: 1, as each takes a
   * quarter of a second of a core to start.
   */
  env?: Record<string, string>;
  role?: "all" | "api" | "worker";
  /** Module to run; default main.ts. */
  entry?: string;
  /** Directory of the program; default: this one. */
  projectDir?: string;
  /** How long it may take to listen; default 30,000. */
  timeoutMs?: number;
}

export interface TestServer {
  /** "http://127.0.0.1:PORT" */
  address: string;
  pid: number;
  /** Everything that it wrote so far, line by line. */
  logs: string[];
  /** Sends a signal; SIGKILL ends it wherever it is. */
  kill(signal: Deno.Signal): void;
  ended: Promise<Deno.CommandStatus>;
  /** Ends it with SIGTERM, after 10 s with SIGKILL. */
  [Symbol.asyncDispose](): Promise<void>;
}

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");
const INHERITED = ["PATH", "HOME", "DENO_DIR", "TMPDIR", "XDG_CACHE_HOME"];

/**
 * Starts the real server as a process of its own, with the permissions that it
 * has in production, on a free port, and waits until it listens.
 */
export async function startServer(options: TestServerOptions): Promise<TestServer> {
  const spool = await Deno.makeTempDir({ prefix: "etl-spool-" });
  const logs: string[] = [];
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const server = startServerProcess({
    projectDir: options.projectDir ?? PROJECT_DIR,
    env: {
      ...Object.fromEntries(inherited),
      KPIS_PG_DSN: asServer(options.dsn),
      ETL_HOST: "127.0.0.1",
      ETL_PORT: "0",
      ETL_DATA_DIR: join(PROJECT_DIR, "tests", "fixtures"),
      ETL_SPOOL_DIR: spool,
      ETL_WORKERS: "1",
      ...(options.role ? { ETL_ROLE: options.role } : {}),
      ...options.env,
    },
    ...(options.entry ? { entry: options.entry } : {}),
    onLine: (line) => logs.push(line),
  });
  const dispose = async () => {
    server.kill("SIGTERM");
    const timer = setTimeout(() => server.kill("SIGKILL"), 10_000);
    await server.ended;
    clearTimeout(timer);
    await Deno.remove(spool, { recursive: true });
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timeoutMs = options.timeoutMs ?? 30_000;
  const timer = setTimeout(
    () => reject(new Error(`The server did not listen in ${timeoutMs} ms:\n${logs.join("\n")}`)),
    timeoutMs,
  );
  try {
    const address = await Promise.race([server.address, late]);
    return {
      address,
      pid: server.pid,
      logs,
      kill: server.kill,
      ended: server.ended,
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
