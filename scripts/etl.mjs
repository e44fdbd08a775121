#!/usr/bin/env node
/**
 * `etl` from any folder, for Node: of a checkout (a link to this file) or of the npm package that
 * `deno task pack` makes. `etl start` and the other tasks of the program are there as well.
 *
 * A package's program moves to a folder of its own first, as Deno takes no TypeScript from below
 * node_modules; what it keeps (the embedded database, files of runs) is beside it and outlives it.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const TASKS = ["quickstart", "start", "setup-db", "doctor", "backup", "restore"];

const own = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const packed = join(own, "..", "package.json");
const installed = existsSync(packed) && existsSync(join(own, "..", "README.md"));

const home = join(
  process.env.XDG_DATA_HOME || join(homedir(), ".local", "share"),
  "etl-improved",
);
const program = installed ? unpacked() : own;
const [first = "help", ...rest] = process.argv.slice(2);
const [task, args] = TASKS.includes(first) ? [first, rest] : ["etl", process.argv.slice(2)];
const [deno, ...before] = denoCommand();
const child = spawn(
  deno,
  [...before, "task", "--quiet", "--config", join(program, "deno.json"), task, ...args],
  {
    stdio: "inherit",
    // one that npm or another task has set is where that was called
    env: { ...process.env, INIT_CWD: process.cwd(), ETL_TOOL: "etl", ...places() },
  },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`error: ${deno} cannot be started (${error.message}).`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));

/** Where the package's program is, after it was put there at its first use. */
function unpacked() {
  const { version, build } = JSON.parse(readFileSync(packed, "utf8"));
  const target = join(home, `${version}-${build}`);
  if (existsSync(target)) return target;
  console.error(`etl-improved ${version} sets itself up in ${target}, this once …`);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const partial = `${target}.${process.pid}`;
  try {
    cpSync(own, partial, { recursive: true });
    renameSync(partial, target);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(target)) throw error; // another process was faster
  }
  return target;
}

/** What is kept over versions of the program, unless the environment says where. */
function places() {
  if (!installed) return {};
  const root = process.getuid?.() === 0;
  const id = createHash("sha256").update(home).digest("hex").slice(0, 12);
  return Object.fromEntries(
    Object.entries({
      // root's has to be where the account that PostgreSQL runs as can enter
      ETL_EMBEDDED_PG_DIR: root ? `/var/lib/etl-improved/${id}` : join(home, "postgres"),
      ETL_DATA_DIR: join(home, "data"),
      ETL_SPOOL_DIR: join(home, "spool"),
    }).filter(([name]) => !process.env[name]),
  );
}

/** Deno itself, so that signals reach it: of the package's dependency, else of PATH, else by npx. */
function denoCommand() {
  if (!installed) {
    const version = /^ARG DENO_VERSION=(\S+)/m.exec(
      readFileSync(join(own, "deploy", "Dockerfile"), "utf8"),
    )[1];
    const onPath = (process.env.PATH ?? "").split(":").some((dir) => existsSync(join(dir, "deno")));
    return onPath ? ["deno"] : ["npx", "-y", `deno@${version}`];
  }
  const require = createRequire(import.meta.url);
  const manifest = require.resolve("deno/package.json");
  const names = Object.keys(JSON.parse(readFileSync(manifest, "utf8")).optionalDependencies ?? {});
  for (const name of names) {
    try {
      const dir = dirname(createRequire(manifest).resolve(`${name}/package.json`));
      if (existsSync(join(dir, "deno"))) return [join(dir, "deno")];
    } catch {
      // of another platform
    }
  }
  return [process.execPath, join(dirname(manifest), "bin.cjs")];
}
