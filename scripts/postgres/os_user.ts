import { Problem } from "../../vocabulary/problem.ts";

/** An account of the operating system that a subprocess is run as. */
export interface OsUser {
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
  throw new Problem("unavailable", {
    detail: "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to " +
      "run it as. Add one, run this as another user, or set KPIS_PG_DSN to a running PostgreSQL.",
  });
}
