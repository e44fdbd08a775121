import { isAbsolute } from "node:path";

/** Host and port of the database that a connection string names: "db:5432", "[::1]:5432". */
export function databaseAddress(dsn: string): string {
  const url = new URL(dsn);
  return `${url.hostname}:${url.port || "5432"}`;
}

/** Files that a connection string names for TLS. */
export function certificateFiles(dsn: string): string[] {
  const parameters = new URL(dsn).searchParams;
  return ["sslrootcert", "sslcert", "sslkey"]
    .flatMap((name) => parameters.get(name) ?? [])
    .filter(isAbsolute);
}

/** Whether a connection string leaves the password to PGPASSWORD. */
export function lacksPassword(dsn: string): boolean {
  const url = new URL(dsn);
  return url.password === "" && !url.searchParams.has("password");
}
