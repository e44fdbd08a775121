import { freePort } from "../../scripts/postgres/cluster.ts";
import { lines } from "../../scripts/server_process.ts";
import { waitFor } from "./wait_for.ts";
import { isThere } from "./needs.ts";

const PROGRAM = "/usr/sbin/pgbouncer";

/** Whether Debian's pgbouncer is installed, for `ignore` of a test. */
export async function pgbouncerIsInstalled(): Promise<boolean> {
  return isThere(await exists(PROGRAM), "install pgbouncer for the tests behind a pooler");
}

export interface Bouncer extends AsyncDisposable {
  dsn: string;
}

/** Somebody else may take a port between its choice and its use. */
const PORTS_TRIED = 5;

/** A pgbouncer in front of the database's server, run by the account that may not be root. */
export async function startBouncer(
  dsn: string,
  mode: "transaction" | "session" = "transaction",
): Promise<Bouncer> {
  for (let tried = 1;; tried++) {
    const bouncer = await startOnce(dsn, mode);
    if (typeof bouncer !== "string") return bouncer;
    if (tried === PORTS_TRIED) {
      throw new Error(`pgbouncer ended at once, on ${tried} ports, the last time with: ${bouncer}`);
    }
  }
}

/** What it wrote, where it ended before it listened. */
async function startOnce(dsn: string, mode: "transaction" | "session"): Promise<Bouncer | string> {
  const dir = await Deno.makeTempDir({ prefix: "etl_bouncer_" });
  const target = new URL(dsn);
  const port = freePort();
  await Deno.writeTextFile(
    `${dir}/pgbouncer.ini`,
    `[databases]
* = host=${target.hostname} port=${target.port} user=${target.username} password=${
      decodeURIComponent(target.password)
    }
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 40
server_login_retry = 2
max_client_conn = 500
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits
`,
  );
  const ids = Deno.uid() === 0 ? await idsOf("postgres") : {};
  // whatever mask another test of this process has set
  await Deno.chmod(dir, 0o755);
  await Deno.chmod(`${dir}/pgbouncer.ini`, 0o644);
  const child = new Deno.Command(PROGRAM, {
    // the user that it runs as may not enter where the tests are
    cwd: "/",
    args: [`${dir}/pgbouncer.ini`],
    ...ids,
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let wrote = "";
  const reading = (async () => {
    for await (const line of lines(child.stderr)) wrote = `${wrote}\n${line}`.slice(-2_000);
  })();
  let ended = false;
  const over = child.status.then(() => ended = true);
  target.port = String(port);
  const bouncer = {
    dsn: target.href,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGKILL");
      await Promise.all([over, reading]);
      await Deno.remove(dir, { recursive: true });
    },
  };
  try {
    await waitFor(async () => {
      if (ended) return true;
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    }, { what: "pgbouncer to listen" });
    if (!ended) return bouncer;
    await bouncer[Symbol.asyncDispose]();
    return wrote;
  } catch (error) {
    await bouncer[Symbol.asyncDispose]().catch(() => {});
    throw error;
  }
}

async function idsOf(user: string): Promise<{ uid: number; gid: number }> {
  const lines = (await Deno.readTextFile("/etc/passwd")).split("\n");
  const [, , uid, gid] = lines.find((line) => line.startsWith(`${user}:`))!.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
