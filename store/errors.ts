/** What the drivers put on an error from the server or the socket. */
interface DriverError {
  code?: string;
  message?: string;
  detail?: string;
}

/**
 * SQLSTATEs after which the same statement may succeed when it is tried again:
 * connection lost (08), server shutting down, crashing or starting, session timed out (57P0x),
 * serialization failure, deadlock, lock not available, too many connections.
 */
const TRANSIENT_STATES = new Set([
  "57P01",
  "57P02",
  "57P03",
  "57P05",
  "40001",
  "40P01",
  "55P03",
  "53300",
]);

/** Socket errors of Node and the drivers' own words for a lost connection. */
const TRANSIENT_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  "ENOTCONN",
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "CONNECT_TIMEOUT",
]);
const TRANSIENT_MESSAGES =
  /connection terminated|connection ended|not queryable|connection error|timeout expired|timeout exceeded|the database system is|terminating connection|query read timeout|connection reset|broken pipe|cannot use a pool after/i;

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
  const { code, message } = error as DriverError;
  if (isSqlState(code)) {
    return code.startsWith("08") || TRANSIENT_STATES.has(code);
  }
  if (code !== undefined && TRANSIENT_CODES.has(code)) return true;
  return TRANSIENT_MESSAGES.test(message ?? "");
}

/**
 * Whether text was sent that PostgreSQL has no way to hold: NUL in text (22021) or in jsonb
 * (22P05), or in jsonb a lone surrogate, which it calls a syntax error of JSON (22P02).
 */
export function isUnstorableText(error: unknown): boolean {
  const { code, message } = (error ?? {}) as DriverError;
  return code === "22021" || code === "22P05" ||
    code === "22P02" && /type json/.test(message ?? "");
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
