import { Problem } from "../../vocabulary/problem.ts";
import type { Sql } from "../../store/database.ts";
import { findSessions, type KnownSession } from "../../store/sessions.ts";
import { findTokens, type KnownToken, tokenState, touchToken } from "../../store/tokens.ts";
import { parseSession, parseToken, sameHash, sha256 } from "./credential.ts";
import type { Identity } from "./identity.ts";
import { Batched, Remembered } from "./remembered.ts";

/** The name of the token in the environment. */
export const ENVIRONMENT_TOKEN = "environment";

/** Ids are made at random: one that is not there will hardly be, and is not asked for again and again. */
const MISSING_MS = 5_000;

export interface AccessOptions {
  sql: Sql;
  /** ETL_ADMIN_TOKEN; null: there is none. */
  adminToken: string | null;
  /** Whether a token is needed even before there is one: where others than this machine can ask. */
  exposed: boolean;
  /** Milliseconds since 1970; default Date.now. */
  now?: () => number;
}

/**
 * Judges what callers show. What the database says is kept for five seconds,
 * less when it tells of a change: a token that is revoked is refused at once by
 * servers that listen, and within five seconds by the others.
 */
export class Access {
  readonly #sql: Sql;
  readonly #exposed: boolean;
  readonly #now: () => number;
  readonly #environmentHash: Uint8Array | null;
  readonly #tokens: Remembered<KnownToken>;
  readonly #sessions: Remembered<KnownSession>;
  readonly #any: Remembered<{ any: boolean }>;

  constructor({ sql, adminToken, exposed, now = Date.now }: AccessOptions) {
    this.#sql = sql;
    this.#exposed = exposed;
    this.#now = now;
    this.#environmentHash = adminToken === null ? null : sha256(adminToken);
    // whoever guesses makes one statement at a time, however many they are
    const tokens = new Batched((ids) => findTokens(sql, ids));
    const sessions = new Batched((ids) => findSessions(sql, ids));
    this.#tokens = new Remembered((id) => tokens.get(id), { now, missingMs: MISSING_MS });
    this.#sessions = new Remembered((id) => sessions.get(id), { now, missingMs: MISSING_MS });
    // while the database is out of reach nobody can have made the first token
    this.#any = new Remembered(() => tokenState(sql), { now, staleMs: Infinity });
  }

  /** Forgets what was looked up: something has changed. */
  changed(): void {
    for (const each of [this.#tokens, this.#sessions, this.#any]) each.expire();
  }

  /** Whether callers must show a token: where there is one, also one that was revoked, or others can ask. */
  async required(): Promise<boolean> {
    if (this.#exposed || this.#environmentHash !== null) return true;
    return (await this.#any.get(""))!.any;
  }

  /** Who shows this token. Throws a Problem that says what is wrong with it. */
  async byToken(text: string): Promise<Identity> {
    if (this.#environmentHash !== null && sameHash(sha256(text), this.#environmentHash)) {
      return { name: ENVIRONMENT_TOKEN, role: "admin", via: "token", tokenId: null };
    }
    const shown = parseToken(text);
    const token = shown === null ? null : await this.#tokens.get(shown.id);
    if (token === null || !sameHash(shown!.hash, token.token_hash)) {
      throw refused(
        "This token is not known here. An admin makes one: `deno task etl token create`.",
      );
    }
    this.#mustBeUsable(token);
    this.#touch(token);
    return { name: token.name, role: token.role, via: "token", tokenId: token.token_id };
  }

  /** Whose session this cookie is of; null where it is over, or never was. */
  async bySession(text: string): Promise<Identity | null> {
    const shown = parseSession(text);
    const known = shown === null ? null : await this.#sessions.get(shown.id);
    if (known === null || !sameHash(shown!.hash, known.session_hash)) return null;
    if (known.expires_at.getTime() <= this.#now()) return null;
    const session = { id: known.session_id, text };
    if (known.token === null) {
      return this.#isEnvironment(known.environment_hash)
        ? { name: ENVIRONMENT_TOKEN, role: "admin", via: "session", tokenId: null, session }
        : null;
    }
    if (this.#stateOf(known.token) !== "usable") return null;
    this.#touch(known.token);
    const { name, role, token_id } = known.token;
    return { name, role, via: "session", tokenId: token_id, session };
  }

  /** The hash of the environment's token, by which its sessions are known. */
  get environmentHash(): Uint8Array | null {
    return this.#environmentHash;
  }

  #isEnvironment(hash: Uint8Array | null): boolean {
    return hash !== null && this.#environmentHash !== null && sameHash(hash, this.#environmentHash);
  }

  #stateOf({ revoked_at, expires_at }: KnownToken): "usable" | "revoked" | "expired" {
    if (revoked_at !== null) return "revoked";
    return expires_at !== null && expires_at.getTime() <= this.#now() ? "expired" : "usable";
  }

  #mustBeUsable(token: KnownToken): void {
    const state = this.#stateOf(token);
    if (state === "usable") return;
    throw refused(
      state === "revoked"
        ? `The token ${token.name} was revoked. Ask an admin for another one.`
        : `The token ${token.name} expired at ${
          token.expires_at!.toISOString()
        }. Ask an admin for another one.`,
    );
  }

  /** Notes the use without anybody waiting for it. */
  #touch(token: KnownToken): void {
    const last = token.last_used_at?.getTime() ?? 0;
    if (this.#now() - last < 60_000) return;
    token.last_used_at = new Date(this.#now());
    touchToken(this.#sql, token.token_id).catch(() => {
      // a last use that is not noted harms nobody
    });
  }
}

function refused(detail: string): Problem {
  return new Problem("unauthorized", { status: 401, detail, extra: { error: "invalid_token" } });
}
