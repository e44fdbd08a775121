/**
 * The pg driver with its types: transactions and COPY go through it, in
 * workers. Every client needs an error listener, else a connection that is cut
 * while idle ends the process; `connect` sees to it.
 */
// @ts-types="npm:@types/pg@8.23.1"
import pg from "pg";
// @ts-types="npm:@types/pg-copy-streams@1.2.5"
import { from as copyFromStream } from "pg-copy-streams";
import { connectionTarget } from "./connection_target.ts";

export type Client = pg.Client;
export type Queryable = Pick<pg.Client, "query">;
export { copyFromStream };

export interface ConnectOptions {
  applicationName?: string;
  /** Milliseconds until a connection attempt is given up; default 10,000. */
  connectTimeoutMs?: number;
}

/** Opens a connection. A cut connection rejects the query in hand and those after it. */
export async function connect(dsn: string, options: ConnectOptions = {}): Promise<Client> {
  const target = connectionTarget(dsn);
  const client = new pg.Client({
    connectionString: target.dsn,
    ssl: target.ssl,
    application_name: options.applicationName ?? "etl-improved",
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Quotes an identifier: `quoteIdent('a"b')` is `"a""b"`. */
export function quoteIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes `schema.name` for use in a statement. */
export function quoteTable(schema: string, name: string): string {
  return `${quoteIdent(schema)}.${quoteIdent(name)}`;
}
