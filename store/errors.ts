import { type Message, say } from "../vocabulary/messages.ts";

/** What the drivers put on an error from the server or the socket. */
interface DriverError {
  code?: string;
  message?: string;
  detail?: string;
}

/** SQLSTATE or socket code of a driver error, if it has one. */
export function errorCode(error: unknown): string | undefined {
  return (error as DriverError | null)?.code;
}

/** Whether a code is a SQLSTATE, so that the server has answered. */
export function isSqlState(code: string | undefined): code is string {
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E");
}

/** Whether trying again unchanged may help. */
export function isTransient(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  if ("transient" in error) return error.transient === true;
  return passing(error) !== null;
}

/**
 * Whether text was sent that PostgreSQL has no way to hold: NUL in text (22021) or in jsonb
 * (22P05), or in jsonb a lone surrogate, which it calls a syntax error of JSON (22P02).
 */
export function isUnstorableText(error: unknown): boolean {
  const { code, message } = (error ?? {}) as DriverError;
  return code === "22021" || code === "22P05" ||
    // the name of the type is the same in every language of the server
    code === "22P02" && /\bjson\b/.test(message ?? "");
}

/** The problem that a SQL function raised with etl.raise_problem, if it is one. */
export function raisedProblem(
  error: unknown,
): { type: string; status: number; detail: string; errors: unknown[] } | null {
  const { code, detail } = (error ?? {}) as DriverError;
  if (code === undefined || !/^ET\d{3}$/.test(code) || detail === undefined) return null;
  try {
    return JSON.parse(detail);
  } catch {
    return null;
  }
}

/**
 * What the environment of a statement can go through, by code. An outage ends when somebody or
 * something outside of the run sees to it, so it is waited for by time; a conflict with another transaction
 * ends by itself at once, and is tried again a number of times.
 *
 * Sources: PostgreSQL's manual, appendix A "PostgreSQL Error Codes"
 * (https://www.postgresql.org/docs/current/errcodes-appendix.html); Node.js, "Common system errors"
 * (https://nodejs.org/api/errors.html#common-system-errors) and "DNS error codes"
 * (https://nodejs.org/api/dns.html#error-codes); the errors that postgres.js makes itself
 * (https://github.com/porsager/postgres#errors). PgBouncer answers 08P01 for a server that is away.
 */
const TABLE: [pattern: RegExp, kind: "outage" | "conflict", words: Message][] = [
  // SQLSTATEs
  [/^53100$/, "outage", say("database-no-space", {})],
  [/^53200$/, "outage", say("database-no-memory", {})],
  [/^53300$/, "outage", say("database-no-connections", {})],
  [/^53/, "outage", say("database-short", {})],
  [/^25006$/, "outage", say("database-no-writes", {})],
  [/^57P01$/, "outage", say("database-shutting-down", {})],
  [/^57P02$/, "outage", say("database-crashed", {})],
  [/^57P03$/, "outage", say("database-starting", {})],
  [/^(57P05|25P03)$/, "outage", say("database-ended-session", {})],
  [/^58030$/, "outage", say("database-disk", {})],
  [/^08/, "outage", say("connection-lost", {})],
  [/^40001$/, "conflict", say("another-was-faster", {})],
  [/^40P01$/, "conflict", say("waited-for-each-other", {})],
  [/^55P03$/, "conflict", say("another-holds-lock", {})],
  // of the operating system and the resolver
  [/^ECONNREFUSED$/, "outage", say("nothing-listens", {})],
  [
    /^(ENOTFOUND|EAI_AGAIN|EAI_NONAME|EAI_NODATA|EAI_FAIL|ENODATA|ESERVFAIL)$/,
    "outage",
    say("host-not-known", {}),
  ],
  [
    /^(EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN)$/,
    "outage",
    say("no-route", {}),
  ],
  [/^(ETIMEDOUT|CONNECT_TIMEOUT)$/, "outage", say("database-silent", {})],
  [/^NO_SUCH_HOST$/, "outage", say("no-host-writes", {})],
  [
    /^(ECONNRESET|ECONNABORTED|EPIPE|ENOTCONN|CONNECTION_CLOSED|CONNECTION_ENDED|CONNECTION_DESTROYED)$/,
    "outage",
    say("connection-lost", {}),
  ],
  [/^(EMFILE|ENFILE|ENOBUFS)$/, "outage", say("machine-short", {})],
];

/** Words of the drivers for a lost connection, where they give no code. */
const LOST =
  /connection terminated|connection ended|not queryable|connection error|timeout expired|timeout exceeded|the database system is|terminating connection|query read timeout|connection reset|broken pipe|cannot use a pool after/i;

const TIMED_OUT = /statement timeout/i;

/**
 * Whether a statement was ended by its own limit, which is noted on the error for {@linkcode isTransient}. The code is that of
 * a cancelled one, too, and what tells them apart is the message, in the language of the server (lc_messages): of one that is
 * not English the time decides.
 */
export function noteStatementTimeout(
  error: unknown,
  { limitMs, elapsedMs }: {
    /** statement_timeout; 0: none. */
    limitMs: number;
    /** Since the statement was sent, or before. */
    elapsedMs: number;
  },
): boolean {
  const { code, message = "" } = (error ?? {}) as DriverError;
  if (code !== "57014") return false;
  const timedOut = TIMED_OUT.test(message) ||
    !/user request/i.test(message) && limitMs > 0 && elapsedMs >= limitMs;
  Object.assign(error as object, { transient: !timedOut });
  return timedOut;
}

/** What is passing about an error, in words; null where trying again unchanged would fail alike. */
export function passing(error: unknown): { kind: "outage" | "conflict"; words: Message } | null {
  if (typeof error !== "object" || error === null) return null;
  const code = errorCode(error);
  const { message = "" } = error as { message?: string };
  if (code === "57014") {
    // a timeout says so; else somebody has cancelled the statement, and not because of the run
    const timedOut = "transient" in error ? error.transient === false : TIMED_OUT.test(message);
    return timedOut ? null : { kind: "outage", words: say("lock-waited", {}) };
  }
  const row = code === undefined ? undefined : TABLE.find(([pattern]) => pattern.test(code));
  if (row !== undefined) return { kind: row[1], words: row[2] };
  return !isSqlState(code) && LOST.test(message)
    ? { kind: "outage", words: say("connection-lost", {}) }
    : null;
}

/** Whether an outage is one in which the database answers and what needs room on its disk fails. */
function isFull(error: unknown): boolean {
  return ["53100", "58030"].includes(errorCode(error) ?? "");
}

let full = false;

/** Keeps in mind that the database's disk was full, which cannot be seen by reading. */
export function noteOutage(error: unknown): void {
  if (isFull(error)) full = true;
}

/** Whether a full disk was met and not seen to have room since. */
export function fullDiskNoted(): boolean {
  return full;
}

/** The database has room again. */
export function forgetFullDisk(): void {
  full = false;
}
