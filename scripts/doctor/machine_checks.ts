import { statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Config } from "../../server/config.ts";
import { type Check, fail, guarded, ok, warn } from "./check.ts";

const GIB = 2 ** 30;

/** Directories, space, and the port. */
export async function machineChecks(projectDir: string, config: Config): Promise<Check[]> {
  const dataDir = resolve(projectDir, config.dataDir);
  const spoolDir = resolve(projectDir, config.spoolDir);
  return [
    ...await guarded("data", () => readable(dataDir)),
    ...await guarded("spool", () => writable(spoolDir)),
    ...await guarded("transforms", () => transforms(resolve(projectDir, config.transformsDir))),
    ...await guarded("port", () => port(config.host, config.port)),
  ];
}

async function readable(dir: string): Promise<Check> {
  try {
    for await (const _ of Deno.readDir(dir)) break;
    return ok("data", dir);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    return (missing ? warn : fail)(
      "data",
      missing ? `${dir} is not there` : `${dir} cannot be read (${(error as Error).name})`,
      missing
        ? "Make it, or set ETL_DATA_DIR, if file sources are to be read."
        : "Let the server's account read it.",
    );
  }
}

async function writable(dir: string): Promise<Check> {
  const probe = join(dir, `.doctor-${crypto.randomUUID()}`);
  try {
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    return fail(
      "spool",
      `${dir} cannot be written to (${(error as Error).name})`,
      "Let the server's account write there, or set ETL_SPOOL_DIR.",
    );
  }
  const { bsize, bavail } = await statfs(dir);
  const free = bsize * bavail;
  const found = `${dir}, ${(free / GIB).toFixed(1)} GiB free`;
  const remedy = "Free space, or set ETL_SPOOL_DIR: a run's finished rows have to fit in there.";
  if (free < 0.2 * GIB) return fail("spool", found, remedy);
  return free < 2 * GIB ? warn("spool", found, remedy) : ok("spool", found);
}

async function transforms(dir: string): Promise<Check> {
  const found = await Deno.stat(dir).then((stat) => stat.isDirectory, () => false);
  return found
    ? ok("transforms", dir)
    : fail("transforms", `${dir} is not there`, "Make it, or correct ETL_TRANSFORMS_DIR.");
}

async function port(host: string, number: number): Promise<Check> {
  if (number === 0) return ok("port", "any free one");
  const asked = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host;
  const address = `http://${asked.includes(":") ? `[${asked}]` : asked}:${number}`;
  try {
    const answer = await fetch(`${address}/livez`, {
      headers: { host: "localhost" },
      signal: AbortSignal.timeout(3000),
    });
    const body = await answer.json().catch(() => null);
    if (body?.status === "ok") return ok("port", `a server answers at ${address}`);
    return taken(number);
  } catch {
    // nobody, or somebody who speaks something else
  }
  try {
    Deno.listen({ hostname: host, port: number }).close();
    return ok("port", `${number} is free: no server runs here now`);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return taken(number);
    return fail(
      "port",
      `${host}:${number} cannot be listened on (${(error as Error).message})`,
      "Set ETL_HOST to an address of this machine, and ETL_PORT to a port above 1023.",
    );
  }
}

function taken(number: number): Check {
  return fail(
    "port",
    `${number} is taken by another program`,
    "Set ETL_PORT to another one, or stop that program.",
  );
}
