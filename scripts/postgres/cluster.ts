import { join } from "node:path";
import pg from "pg";
import { TerminalProblem } from "../../vocabulary/problem.ts";
import { commandLine } from "../process_tree.ts";
import { exists, type PostgresBinaries } from "./binaries.ts";

export interface ClusterOptions {
  /** Directory of the cluster: data, password, log; made when missing. */
  dir: string;
  binaries: PostgresBinaries;
  /** Lines of postgresql.conf; written anew at each start, `alter system` still wins. */
  settings: Record<string, string>;
  /** Arguments of initdb beyond the usual ones. */
  initdbArgs?: string[];
  /** Whether stop() waits for a clean shutdown ("fast", default) or not ("immediate"). */
  stopMode?: "fast" | "immediate";
  /**
   * Whether to keep a lock so that the last of several users of one cluster
   * stops it; default true. Without, stop() stops it whoever else uses it.
   */
  shared?: boolean;
  /** Told what takes a while; default: nobody. */
  log?: (message: string) => void;
}

/** A running PostgreSQL. */
export interface Cluster {
  /** Connection string of its superuser, to the database `etl`. */
  dsn: string;
  port: number;
  /** Process id of the postmaster. */
  pid: number;
  /** What happened: "created" a new cluster, "started" an existing one, "joined" a running one. */
  origin: "created" | "started" | "joined";
  /** Stops it, unless another process still uses it. Calling it again does nothing. */
  stop(): Promise<void>;
}

const DATABASE = "etl";

const START_DEADLINE_MS = 90_000;

/**
 * Starts a cluster in `dir`, or joins the one that runs there already.
 * Safe when several processes do it at once, after any of them was killed,
 * and after PostgreSQL itself was killed.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { dir } = options;
  const user = await databaseUser();
  await makeDir(dir);
  const starting = await lockForStart(dir);
  try {
    let origin: Cluster["origin"] = "joined";
    if (!(await exists(join(dir, "data", "PG_VERSION")))) {
      options.log?.("creating a PostgreSQL cluster");
      await createCluster(options, user);
      origin = "created";
    }
    await refuseOtherVersion(options);
    let running = await runningPostmaster(dir);
    if (running === undefined) {
      if (origin === "joined") origin = "started";
      await Deno.remove(join(dir, "data", "postmaster.pid")).catch(() => {});
      await writeSettings(options, user);
      running = await startPostmaster(options, user);
    }
    const dsn = await connectionString(dir, running.port);
    await ensureDatabase(dsn);
    const users = options.shared === false ? undefined : await shareLock(dir);
    let stopping: Promise<void> | undefined;
    return {
      dsn,
      ...running,
      origin,
      stop: () => stopping ??= stopWhenLast(options, user, users),
    };
  } finally {
    starting.close();
  }
}

async function makeDir(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true });
    if (Deno.uid() === 0) await Deno.chmod(dir, 0o755);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.PermissionDenied)) throw cause;
    throw new TerminalProblem("unavailable", {
      detail: `Cannot write to ${dir}, where the embedded PostgreSQL keeps its data. Make it ` +
        "writable, or set KPIS_PG_DSN to a running PostgreSQL.",
      cause,
    });
  }
}

async function lockForStart(dir: string): Promise<Deno.FsFile> {
  const file = await Deno.open(join(dir, "start.lock"), { create: true, write: true, mode: 0o600 });
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await file.tryLock(true))) {
    if (Date.now() > deadline) {
      file.close();
      throw new TerminalProblem("unavailable", {
        detail: `Another process has been starting or stopping the PostgreSQL in ${dir} for ` +
          `${START_DEADLINE_MS / 1000} s. Look for it with \`ps\`, end it and try again.`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return file;
}

/** While a process uses the cluster it holds a shared lock; who gets it exclusively is alone. */
async function shareLock(dir: string): Promise<Deno.FsFile> {
  const file = await Deno.open(join(dir, "users.lock"), { create: true, write: true, mode: 0o600 });
  await file.lock(false);
  return file;
}

async function stopWhenLast(
  options: ClusterOptions,
  user: OsUser | undefined,
  users: Deno.FsFile | undefined,
): Promise<void> {
  const starting = await lockForStart(options.dir);
  try {
    if (users && !(await users.tryLock(true))) return;
    if (await runningPostmaster(options.dir) === undefined) return;
    const mode = options.stopMode ?? "fast";
    await runProgram(
      { program: join(options.binaries.binDir, "pg_ctl"), user },
      ["stop", "-D", join(options.dir, "data"), "-m", mode, "-w", "-t", "60", "-s"],
    );
  } finally {
    users?.close();
    starting.close();
  }
}

async function refuseOtherVersion({ dir, binaries }: ClusterOptions): Promise<void> {
  const found = (await Deno.readTextFile(join(dir, "data", "PG_VERSION"))).trim();
  if (found === String(binaries.major)) return;
  throw new TerminalProblem("unavailable", {
    detail: `The data in ${dir} was written by PostgreSQL ${found}, and this is PostgreSQL ` +
      `${binaries.major}, which cannot read it. Nothing was changed. Take a backup with the ` +
      "version of this project that wrote it, move the directory away, start again and restore " +
      "the backup.",
  });
}

/** The postmaster of the data directory, if it lives; a file that a killed one left is not one. */
async function runningPostmaster(dir: string): Promise<{ pid: number; port: number } | undefined> {
  const data = join(dir, "data");
  let lines: string[];
  try {
    lines = (await Deno.readTextFile(join(data, "postmaster.pid"))).split("\n");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!(pid > 0) || !(await isPostmaster(pid, data))) return undefined;
  return { pid, port };
}

/** A process id may have been given to another program since; only the command line tells. */
async function isPostmaster(pid: number, data: string): Promise<boolean> {
  const command = await commandLine(pid);
  return command.includes("postgres") && command.includes(data);
}

async function startPostmaster(
  options: ClusterOptions,
  user: OsUser | undefined,
): Promise<{ pid: number; port: number }> {
  const { dir, binaries } = options;
  const program = join(binaries.binDir, "pg_ctl");
  const portFile = join(dir, "port");
  const log = join(dir, "data", "startup.log");
  const before = Number(await Deno.readTextFile(portFile).catch(() => "0"));
  const deadline = Date.now() + START_DEADLINE_MS;
  for (let attempt = 0;; attempt++) {
    const port = attempt === 0 && isFree(before) ? before : freePort();
    await Deno.remove(log).catch(() => {});
    const args = ["start", "-D", join(dir, "data"), "-w", "-t", "60", "-s", "-l", log];
    try {
      await runProgram({ program, user }, [...args, "-o", `-p ${port}`]);
      await Deno.writeTextFile(portFile, `${port}\n`, { mode: 0o644 });
      const running = await runningPostmaster(dir);
      if (running) return running;
      throw new Error("PostgreSQL ended right after its start");
    } catch (cause) {
      const said = await Deno.readTextFile(log).catch(() => "");
      // The port was taken meanwhile, or the processes of a killed postmaster are still ending.
      const passing = /could not bind|address already in use|pre-existing shared memory/i;
      if (passing.test(said) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 250));
        continue;
      }
      throw new TerminalProblem("unavailable", {
        detail: `The PostgreSQL in ${dir} did not start: ${lastLines(said) || String(cause)} ` +
          `Its log is in ${join(dir, "data", "log")}.`,
        cause,
      });
    }
  }
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-3).join(" ");
}

/**
 * A free port that nobody gets by chance: from below those that the system hands
 * out to outgoing connections. One of theirs would be lost while PostgreSQL is
 * down for a moment, to any other program or to a client that connects to it
 * again and again: the kernel may give that the very port that it asks for,
 * and the client then talks to itself.
 */
export function freePort(): number {
  const first = firstOutgoingPort();
  const lowest = Math.min(10_240, first - 1_000);
  for (let tries = 0; tries < 100; tries++) {
    const port = lowest + Math.floor(Math.random() * (first - lowest));
    if (isFree(port)) return port;
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** The first of the ports that outgoing connections are given. */
function firstOutgoingPort(): number {
  try {
    const range = Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range");
    const first = Number.parseInt(range);
    return first > 12_000 ? first : 32_768;
  } catch {
    return 32_768; // not Linux, where they begin later
  }
}

function isFree(port: number): boolean {
  if (!(port > 0 && port < 65_536)) return false;
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

async function connectionString(dir: string, port: number): Promise<string> {
  try {
    const password = (await Deno.readTextFile(join(dir, "password"))).trim();
    return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${DATABASE}`;
  } catch (cause) {
    throw new TerminalProblem("unavailable", {
      detail: `The password of the PostgreSQL in ${dir} cannot be read from ` +
        `${join(dir, "password")}. Give this user access to it, or, if it was deleted and the ` +
        "data is not needed, delete the whole directory.",
      cause,
    });
  }
}

async function ensureDatabase(dsn: string): Promise<void> {
  const client = new pg.Client({ connectionString: dsn.replace(/[^/]*$/, "postgres") });
  client.on("error", () => {});
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [
      DATABASE,
    ]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** Name of the role that initdb makes. */
const SUPERUSER = "etl";

const SETTINGS_FILE = "etl-improved.conf";

/** Makes the data directory and the password; a killed attempt leaves nothing that counts. */
async function createCluster(
  options: ClusterOptions,
  user: OsUser | undefined,
): Promise<void> {
  const { dir, binaries } = options;
  const partial = join(dir, "data.partial");
  const passwordFile = join(dir, "password.partial");
  await Deno.remove(partial, { recursive: true }).catch(() => {});
  await Deno.remove(passwordFile).catch(() => {});
  await Deno.mkdir(partial, { mode: 0o700 });
  const password = crypto.getRandomValues(new Uint8Array(24)).toBase64({ alphabet: "base64url" });
  await Deno.writeTextFile(passwordFile, `${password}\n`, { mode: 0o600, createNew: true });
  if (user) {
    await Deno.chown(partial, user.uid, user.gid);
    await Deno.chown(passwordFile, user.uid, user.gid);
  }
  try {
    await runProgram({ program: join(binaries.binDir, "initdb"), user }, [
      `--pgdata=${partial}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--no-instructions",
      ...(options.initdbArgs ?? []),
    ]);
  } catch (cause) {
    throw new TerminalProblem("unavailable", {
      detail: `PostgreSQL could not create its data directory in ${dir}: ` +
        `${cause instanceof Error ? cause.message : String(cause)}. ` +
        "Free some space, or set KPIS_PG_DSN to a running PostgreSQL.",
      cause,
    });
  }
  await Deno.writeTextFile(
    join(partial, "postgresql.conf"),
    `\ninclude_if_exists = '${SETTINGS_FILE}'\n`,
    { append: true },
  );
  if (user) await Deno.chown(passwordFile, Deno.uid(), Deno.gid());
  await Deno.rename(passwordFile, join(dir, "password"));
  await Deno.rename(partial, join(dir, "data"));
}

/** Writes the settings that the next start reads. */
async function writeSettings(
  { dir, settings }: ClusterOptions,
  user: OsUser | undefined,
): Promise<void> {
  const path = join(dir, "data", SETTINGS_FILE);
  const lines = Object.entries(settings).map(([name, value]) =>
    `${name} = '${value.replaceAll("'", "''")}'\n`
  );
  await Deno.writeTextFile(
    path,
    "# Written at each start; use `alter system` for changes.\n" + lines.join(""),
  );
  if (user) await Deno.chown(path, user.uid, user.gid);
}

/** Runs one of PostgreSQL's programs to its end; its error output is the error's message. */
async function runProgram(
  how: { program: string; user: OsUser | undefined },
  args: string[],
): Promise<void> {
  const { success, code, stderr, stdout } = await new Deno.Command(how.program, {
    args,
    cwd: "/",
    // Variables such as PGDATA or a locale that is not installed would change what it does.
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" },
    stdin: "null",
    ...(how.user ? { uid: how.user.uid, gid: how.user.gid } : {}),
  }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr) || new TextDecoder().decode(stdout);
  throw new Error(`${how.program} ended with ${code}: ${said.trim()}`);
}

/** An account of the operating system that a subprocess is run as. */
interface OsUser {
  name: string;
  uid: number;
  gid: number;
}

/**
 * The account that PostgreSQL has to run as: `postgres`, else `nobody`, when
 * this process is root (PostgreSQL refuses to run as root); `undefined` when
 * this process is a plain user and runs PostgreSQL as itself.
 */
export async function databaseUser(): Promise<OsUser | undefined> {
  if (Deno.uid() !== 0) return undefined;
  const accounts = (await Deno.readTextFile("/etc/passwd")).split("\n").map((line) =>
    line.split(":")
  );
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((fields) => fields[0] === name);
    const uid = Number(account?.[2]);
    const gid = Number(account?.[3]);
    if (account && uid > 0 && gid > 0) return { name, uid, gid };
  }
  throw new TerminalProblem("unavailable", {
    detail: "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to " +
      "run it as. Add one, run this as another user, or set KPIS_PG_DSN to a running PostgreSQL.",
  });
}
