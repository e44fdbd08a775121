import { join } from "node:path";
import { Problem } from "../../vocabulary/problem.ts";
import type { OsUser } from "./os_user.ts";
import type { ClusterOptions } from "./cluster.ts";
import { runProgram } from "./program.ts";

/** Name of the role that initdb makes. */
export const SUPERUSER = "etl";

const SETTINGS_FILE = "etl-improved.conf";

/** Makes the data directory and the password; a killed attempt leaves nothing that counts. */
export async function createCluster(
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
    throw new Problem("unavailable", {
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
export async function writeSettings(
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
