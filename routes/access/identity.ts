import type { Context } from "hono";
import { type Role, ROLES } from "../../vocabulary/words.ts";

/** Who asks. */
export interface Identity {
  /** For the audit table: the token's name; `http` or `cli` where none is needed. */
  name: string;
  role: Role;
  /**
   * token: of the Authorization header; session: of somebody who has signed in;
   * open: there is no token yet, so everybody may do everything; process: the
   * command line in this process, which holds the connection string.
   */
  via: "token" | "session" | "open" | "process";
  /** Of the token that is behind it; null where there is none, or it is the environment's. */
  tokenId: string | null;
  /** The cookie of a session. */
  session?: { id: string; text: string };
}

declare module "hono" {
  interface ContextVariableMap {
    identity: Identity;
  }
}

/** Who asks; nobody before access.ts has found out, or where nobody needs to be known. */
export function identityOf(c: Context): Identity | undefined {
  return c.get("identity");
}

/** Who asks, as the audit table names them. */
export function actorOf(c: Context): string {
  return identityOf(c)?.name ?? clientOf(c);
}

/** The program that asks; the command line says so itself. */
export function clientOf(c: Context): "cli" | "http" {
  return c.req.header(CLIENT_HEADER) === "cli" ? "cli" : "http";
}

/** Whether a role may do what another one is needed for. */
export function mayAct(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** Names the program that asks, for the audit table: `cli`. */
export const CLIENT_HEADER = "x-etl-client";
