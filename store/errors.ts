import { passing } from "./outages.ts";

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
