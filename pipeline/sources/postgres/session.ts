import { type Message, say } from "../../../vocabulary/messages.ts";
import { errorCode, isTransient } from "../../../store/errors.ts";
import { type Client, connect } from "../../../store/pg.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { PostgresConf } from "../schema.ts";

export interface SessionContext {
  connections: Record<string, string>;
  signal: AbortSignal;
}

/** What a person says of the source: the table or "the query", and where. */
export function describeSource({ table, connection: name }: PostgresConf): Message {
  return table === undefined ? say("the-query-of", { name }) : say("the-table-of", { table, name });
}

/**
 * Opens the conf's connection for `use` and closes it, at once when the run is cancelled.
 *
 * @throws {Problem} `invalid-conf` for an unknown connection, `source-unreadable` (transient where
 * another try may help) for what the server says.
 */
export async function withSession<T>(
  conf: PostgresConf,
  ctx: SessionContext,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await openSession(conf, ctx);
  const abort = () => void client.end().catch(() => {});
  ctx.signal.addEventListener("abort", abort, { once: true });
  try {
    return await use(client);
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw asSourceProblem(error, conf);
  } finally {
    ctx.signal.removeEventListener("abort", abort);
    await client.end().catch(() => {});
  }
}

/** Opens the conf's connection; the caller ends it. */
export async function openSession(conf: PostgresConf, ctx: SessionContext): Promise<Client> {
  ctx.signal.throwIfAborted();
  const dsn = Object.hasOwn(ctx.connections, conf.connection)
    ? ctx.connections[conf.connection]
    : undefined;
  if (dsn === undefined) {
    const list = Object.keys(ctx.connections).sort().join(", ");
    const wanted = {
      name: conf.connection,
      variable: `ETL_CONNECTION_${conf.connection.toUpperCase()}`,
    };
    throw new Problem("invalid-conf", {
      detail: list === ""
        ? say("no-connection", wanted)
        : say("no-connection-known", { ...wanted, list }),
      errors: [{ field: "source.connection", message: "unknown", value: conf.connection }],
    });
  }
  try {
    return await connect(dsn, { applicationName: "etl-improved source" });
  } catch (error) {
    throw new Problem("source-unreadable", {
      detail: say("connection-unreachable", { name: conf.connection, reason: reason(error) }),
      transient: isTransient(error),
      cause: error,
    });
  }
}

/** Runs `use` in a transaction that reads one state of the data and cannot write. */
export async function readOnly<T>(client: Client, use: () => Promise<T>): Promise<T> {
  // One message, so that it holds through a transaction pooler too.
  await client.query(
    "begin isolation level repeatable read read only; " +
      "set local timezone = 'UTC'; set local datestyle = 'ISO'; " +
      "set local intervalstyle = 'iso_8601'; set local bytea_output = 'hex'; " +
      "set local extra_float_digits = 1; " +
      // else a null in an array that is a key comes back as the text NULL
      "set local array_nulls = on",
  );
  const result = await use();
  await client.query("commit");
  return result;
}

export function asSourceProblem(error: unknown, conf: PostgresConf): unknown {
  if (error instanceof Problem) return error;
  const code = errorCode(error);
  // a query that writes is refused, as each is read in a transaction that cannot
  const transient = code !== "25006" && isTransient(error);
  if (!transient && (code === undefined || !/^[0-9A-Z]{5}$/.test(code))) return error;
  return new Problem("source-unreadable", {
    detail: say(transient ? "source-try-again" : "source-not-readable", {
      what: describeSource(conf),
      reason: reason(error),
    }),
    transient,
    cause: error,
  });
}

/** What the server says, which holds no password; socket errors only by their code. */
function reason(error: unknown): string {
  const code = errorCode(error);
  if (code === undefined) return "";
  if (/^[0-9A-Z]{5}$/.test(code) && error instanceof Error) return ` (${error.message}, ${code})`;
  return ` (${code})`;
}
