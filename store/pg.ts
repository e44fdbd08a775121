/**
 * The pg driver with its types: transactions and COPY go through it, in
 * workers. Every client needs an error listener, else a connection that is cut
 * while idle ends the process; `connect` sees to it.
 */
// @ts-types="npm:@types/pg@8.23.1"
import pg from "pg";
import {
  type ConnectionTarget,
  connectionTarget,
  SESSION_STYLE,
  type SessionAttributes,
  sessionName,
  type TlsSettings,
} from "./connection_target.ts";
import { errorCode } from "./errors.ts";
import { databasePlace, type DsnHost } from "./dsn.ts";

export type Client = pg.Client;
export type Queryable = Pick<pg.Client, "query">;
export { quoteIdent, quoteTable } from "./quote.ts";
/** Quotes a text for use in a statement that takes no parameters. */
export const quoteLiteral = (text: string): string => pg.escapeLiteral(text);

export interface ConnectOptions {
  applicationName?: string;
  /** Milliseconds until a connection attempt is given up; default 10,000. */
  connectTimeoutMs?: number;
  /**
   * Whether names without a schema are PostgreSQL's own; for what runs with the owner's rights, so that a role
   * that may create in public cannot lend it an operator or function that fits better. Not through a pooler.
   */
  ownNamesOnly?: boolean;
  /** Whether it may keep plans of statements; default false. */
  keepPlans?: boolean | undefined;
}

/** Connections that may keep the plans of statements, and what each statement is called there. */
const keepsPlans = new WeakSet<Queryable>();
const planNames = new Map<string, string>();

/**
 * A statement that a connection plans once, where it may: not behind a pooler. For those that are sent again and again, whose
 * text is always the same.
 */
export function planned(
  client: Queryable,
  text: string,
  values: unknown[],
): { text: string; values: unknown[]; name?: string } {
  if (!keepsPlans.has(client)) return { text, values };
  const name = planNames.get(text) ?? `etl_${planNames.size}`;
  planNames.set(text, name);
  return { text, values, name };
}

/** Hosts that do not speak TLS where it is only preferred, by address. */
const withoutTls = new Set<string>();
/** Which of several hosts answered last, by connection string. */
const lastGood = new Map<string, number>();

/**
 * Opens a connection to the first host that answers and is what `target_session_attrs` asks for.
 * A cut connection rejects the query in hand and those after it.
 */
export async function connect(dsn: string, options: ConnectOptions = {}): Promise<Client> {
  const target = connectionTarget(dsn);
  const { hosts, session } = target;
  const first = lastGood.get(dsn) ?? 0;
  const order = hosts.map((_, i) => (first + i) % hosts.length);
  const wishes: SessionAttributes[] = session === "prefer-standby" ? ["standby", "any"] : [session];
  let failure: unknown;
  for (const wish of wishes) {
    for (const i of order) {
      try {
        const client = await open(target, hosts[i]!, options);
        if (await suits(client, wish)) {
          if (hosts.length > 1) lastGood.set(dsn, i);
          return client;
        }
        await client.end();
        failure = new NoSuchHost(dsn, wish);
      } catch (error) {
        failure = error;
      }
    }
  }
  throw failure;
}

/** All hosts answer, and none is what is looked for: during a failover that is so for seconds. */
class NoSuchHost extends Error {
  readonly transient = true;
  readonly code = "NO_SUCH_HOST";
  constructor(dsn: string, wish: SessionAttributes) {
    super(`none of ${databasePlace(dsn)} is ${wish} now (target_session_attrs)`);
  }
}

async function open(
  target: ConnectionTarget,
  host: DsnHost,
  options: ConnectOptions,
): Promise<Client> {
  const { ssl } = target;
  if (ssl !== "prefer") return await openWith(target, host, { ...options, ssl });
  const address = `${host.host}:${host.port}`;
  let refusal: unknown;
  if (!withoutTls.has(address)) {
    try {
      return await openWith(target, host, { ...options, ssl: { rejectUnauthorized: false } });
    } catch (error) {
      if (!refusesTls(error)) throw error;
      refusal = error;
    }
  }
  const client = await openWith(target, host, { ...options, ssl: false }).catch((error) => {
    withoutTls.delete(address);
    // a role that is let in neither way is told why it is not with TLS
    throw errorCode(refusal) === NOT_LET_IN && errorCode(error) === NOT_LET_IN ? refusal : error;
  });
  withoutTls.add(address);
  return client;
}

/** What pg_hba.conf refuses, in whatever language of the server. */
const NOT_LET_IN = "28000";

/** Whether a server does not speak TLS, or may let this role in without it only. */
function refusesTls(error: unknown): boolean {
  const { message = "" } = error as { message?: string };
  return /does not support SSL/i.test(message) || errorCode(error) === NOT_LET_IN;
}

/** What the driver sends as it connects. */
interface Starting {
  getStartupConf(): Record<string, string>;
}

class IsoClient extends pg.Client implements Starting {
  getStartupConf(): Record<string, string> {
    const { getStartupConf } = pg.Client.prototype as unknown as Starting;
    return { ...getStartupConf.call(this), ...SESSION_STYLE };
  }
}

async function openWith(
  target: ConnectionTarget,
  { host, port }: DsnHost,
  options: ConnectOptions & { ssl: TlsSettings | false },
): Promise<Client> {
  const { user, password, database, keepAliveSeconds, connectSeconds } = target;
  const client = new IsoClient({
    host,
    port,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    ...(target.options === undefined ? {} : { options: target.options }),
    ssl: options.ssl,
    application_name: sessionName(options.applicationName ?? "etl-improved", target),
    connectionTimeoutMillis: options.connectTimeoutMs ??
      (connectSeconds === undefined ? 10_000 : connectSeconds * 1000),
    keepAlive: keepAliveSeconds !== null,
    keepAliveInitialDelayMillis: (keepAliveSeconds ?? 0) * 1000,
  });
  client.on("error", () => {});
  await client.connect();
  if (options.keepPlans === true) keepsPlans.add(client);
  if (options.ownNamesOnly === true) await client.query("set search_path = pg_catalog, pg_temp");
  return client;
}

async function suits(client: Client, wish: SessionAttributes): Promise<boolean> {
  if (wish === "any") return true;
  const { rows: [row] } = await client.query<{ standby: boolean; readonly: boolean }>(
    `select pg_is_in_recovery() as standby,
      pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as readonly`,
  );
  const { standby, readonly } = row!;
  if (wish === "read-write") return !readonly;
  if (wish === "read-only") return readonly;
  return wish === "primary" ? !standby : standby;
}

/** What the driver's types leave out. */
type Statement = pg.QueryConfig & { queryMode: "extended" };
interface ClientInternals {
  connection?: { stream?: NodeStream };
}
interface NodeStream {
  on(event: "data", listener: (bytes: Uint8Array) => void): void;
  off(event: "data", listener: (bytes: Uint8Array) => void): void;
  destroy(): void;
}

/**
 * One statement, never several in one text. Where its answer has more than
 * `maxBytes`, `onTooLarge` is called and the connection is cut: a value that
 * is on its way cannot be stopped otherwise.
 */
export async function queryWithin(
  client: Client,
  { text, values }: { text: string; values: unknown[] },
  { maxBytes, onTooLarge }: { maxBytes: number; onTooLarge: () => void },
): Promise<pg.QueryResult> {
  const stream = (client as unknown as ClientInternals).connection?.stream;
  let received = 0;
  const count = (bytes: Uint8Array) => {
    received += bytes.length;
    if (received <= maxBytes) return;
    onTooLarge();
    stream?.destroy();
  };
  stream?.on("data", count);
  try {
    return await client.query({ text, values, queryMode: "extended" } as Statement);
  } finally {
    stream?.off("data", count);
  }
}

/** The driver's query as an object, with the events that its types leave out. */
interface RowEvents extends pg.Submittable {
  on(event: "row", listener: (row: unknown) => void): void;
  on(event: "end", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}

/**
 * The first rows of a statement, until `isFull` says so of one; what comes after them is dropped as it comes, so that it takes
 * no memory. `cut`: whether something was.
 */
export function firstRowsOf<Row>(
  client: Client,
  config: pg.QueryArrayConfig,
  isFull: (row: Row) => boolean,
): Promise<{ rows: Row[]; cut: boolean }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ rows: Row[]; cut: boolean }>();
  const rows: Row[] = [];
  let full = false;
  let cut = false;
  const query = new pg.Query(config) as unknown as RowEvents;
  query.on("row", (row) => {
    cut ||= full;
    if (full) return;
    rows.push(row as Row);
    full = isFull(row as Row);
  });
  query.on("end", () => resolve({ rows, cut }));
  query.on("error", reject);
  client.query(query);
  return promise;
}

/** Fails where the connection is lost. */
export async function ping(client: Queryable): Promise<void> {
  await client.query("select");
}
