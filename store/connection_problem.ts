import { Problem, TerminalProblem } from "../vocabulary/problem.ts";
import { databasePlace, parseDsn } from "./dsn.ts";
import { errorCode } from "./errors.ts";

/** What failed, by the code of a driver or the socket, and what to do about it. */
const REASONS: [RegExp, string, string | ((dsn: string) => string)][] = [
  [/^ECONNREFUSED$/, "nothing listens there", "start PostgreSQL, or correct host and port"],
  [/^(ENOTFOUND|EAI_AGAIN|EAI_NONAME)$/, "the host name is not known", "correct the host name"],
  [
    /^(CONNECT_TIMEOUT|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/,
    "there is no network route to it",
    "check host, port, firewall and whether the database's network lets this machine in",
  ],
  [/^28P01$/, "user or password is wrong", "correct them; special characters are percent-encoded"],
  [/^3D000$/, "it has no such database", "correct the name after the last slash, or create it"],
  [
    /^28000$/,
    "PostgreSQL lets this user not in from here",
    "see the server's pg_hba.conf; if it requires encryption, add ?sslmode=require",
  ],
  [
    /^NO_SUCH_HOST$/,
    "none of its hosts takes writes",
    "wait for the failover to end, or correct hosts and target_session_attrs",
  ],
  [/^53300$/, "all its connections are in use", "raise max_connections, or use a pooler"],
  [
    /^42501$/,
    "its role lacks rights there",
    (dsn) =>
      `run \`deno task setup-db --role ${
        roleOf(dsn)
      }\` with the connection string of the schema's owner`,
  ],
  [
    /^25006$/,
    "it takes no writes: a standby, or default_transaction_read_only is on for it or this role",
    (dsn) =>
      `name the primary, or all hosts with target_session_attrs=read-write; or: alter role ${
        roleOf(dsn)
      } reset default_transaction_read_only`,
  ],
  [/^57P03$/, "it is starting up or shutting down", "wait a moment"],
  [
    /CERT|ISSUER|SELF_SIGNED|ALTNAME|TLS/,
    "its certificate is not to be trusted",
    "name its authority with sslrootcert=/path/ca.crt, and use the host name that the certificate is for",
  ],
];

/**
 * What to tell about a database that could not be connected to; undefined when the server has
 * answered something else. Names host and port, never user or password.
 */
export function connectionProblem(error: unknown, dsn: string): Problem | undefined {
  if (error instanceof Problem) return error;
  const where = databasePlace(dsn);
  const message = (error as Error | null)?.message ?? "";
  const code = errorCode(error) ?? "";
  // postgres.js goes on where the server has refused, and is cut off
  if (/does not support SSL|before secure TLS/i.test(message)) {
    return unreachable(
      where,
      "it does not speak TLS",
      "use sslmode=disable where the network between is safe, or switch ssl on there",
      message,
    );
  }
  const found = REASONS.find(([pattern]) => pattern.test(code));
  if (found === undefined) return undefined;
  const [, why, remedy] = found;
  return unreachable(where, why, typeof remedy === "string" ? remedy : remedy(dsn), message);
}

const roleOf = (dsn: string) => parseDsn(dsn).user ?? "NAME";

function unreachable(where: string, why: string, remedy: string, message: string): Problem {
  return new TerminalProblem("database-unavailable", {
    detail: `The database at ${where} cannot be used: ${why} (${message}). ` +
      `${remedy[0]!.toUpperCase()}${remedy.slice(1)}.`,
    transient: true,
  });
}
