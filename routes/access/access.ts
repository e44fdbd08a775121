import type { Config } from "../../server/config.ts";
import type { Sql } from "../../store/database.ts";
import {
  findSessions,
  findTokens,
  type KnownSession,
  type KnownToken,
  tokenState,
  touchToken,
} from "../../store/tokens.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import { deadline } from "../shared/lookups.ts";
import { isLoopback } from "./client_address.ts";
import { parseSession, parseToken, sameHash, sha256 } from "./credential.ts";
import type { Identity } from "./identity.ts";

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
        say("token-unknown", {}),
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
    if (known.ends <= performance.now()) return null;
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

  #stateOf({ revoked_at, ends }: KnownToken): "usable" | "revoked" | "expired" {
    if (revoked_at !== null) return "revoked";
    return ends !== null && ends <= performance.now() ? "expired" : "usable";
  }

  #mustBeUsable(token: KnownToken): void {
    const state = this.#stateOf(token);
    if (state === "usable") return;
    throw refused(
      state === "revoked"
        ? say("token-revoked", { name: token.name })
        : say("token-expired", { name: token.name, at: token.expires_at!.toISOString() }),
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

function refused(detail: Message): Problem {
  return new Problem("unauthorized", { detail, extra: { error: "invalid_token" } });
}

interface AccessDeps {
  sql: Sql;
  config: Pick<Config, "host" | "allowedHosts" | "adminToken">;
}

/** What judges callers, by the configuration of the server. */
export function accessOf({ sql, config }: AccessDeps): Access {
  return new Access({ sql, adminToken: config.adminToken, exposed: whyExposed(config) !== null });
}

/**
 * Refuses to serve others than this machine without a token: whoever reaches the
 * port could load data, read files below ETL_DATA_DIR and everything that is stored.
 */
export async function requireSafeAddress({ sql, config }: AccessDeps): Promise<void> {
  const why = whyExposed(config);
  if (why === null || config.adminToken !== null || (await tokenState(sql)).usable) return;
  throw new TerminalProblem("unauthorized", {
    detail: `${why}, so other machines can reach this server, and there is no API ` +
      "token: anybody could start runs and read what is stored. Set ETL_ADMIN_TOKEN, e.g. to the " +
      "output of `openssl rand -hex 32`, or make a token with `deno task etl token create NAME " +
      "--role admin`. Without ETL_HOST and ETL_ALLOWED_HOSTS the server is for this machine alone. " +
      "docs/security.md says more.",
  });
}

/** What lets others than this machine in; null where nothing does. */
function whyExposed({ host, allowedHosts }: AccessDeps["config"]): string | null {
  if (!isLoopback(host)) return `ETL_HOST is ${host}`;
  const other = allowedHosts.find((each) => !isLoopback(each));
  return other === undefined ? null : `ETL_ALLOWED_HOSTS names ${other}`;
}

export interface RememberedOptions {
  /** Milliseconds that an answer is used without asking again; default 5,000. */
  freshMs?: number;
  /** Milliseconds that an answer is used when asking again fails; default 300,000. */
  staleMs?: number;
  /** Milliseconds that what was not found counts as not there; default 0. */
  missingMs?: number;
  /** Answers that are kept; default 1,000. */
  max?: number;
  now?: () => number;
}

interface Entry<T> {
  value: T;
  /** When the database said so. */
  at: number;
  /** Until then nobody asks again. */
  freshUntil: number;
}

/** A look-up must not hang where the database does. */
const LIMIT_MS = 5_000;

/**
 * Answers of a look-up, kept for a short while. While the database cannot be
 * asked an older answer counts: nobody can have changed it there meanwhile.
 * What was not found is kept for `missingMs`, as many as are found: guesses do not fill the memory.
 */
export class Remembered<T> {
  readonly #lookUp: (key: string) => Promise<T | null>;
  readonly #options: Required<RememberedOptions>;
  readonly #entries = new Map<string, Entry<T>>();
  /** Until when each counts as not there. */
  readonly #missing = new Map<string, number>();
  readonly #asking = new Map<string, Promise<T | null>>();
  #changes = 0;

  constructor(lookUp: (key: string) => Promise<T | null>, options: RememberedOptions = {}) {
    this.#lookUp = lookUp;
    this.#options = {
      freshMs: 5_000,
      staleMs: 300_000,
      max: 1_000,
      missingMs: 0,
      now: Date.now,
      ...options,
    };
  }

  /** Has every answer looked up again before it is used. */
  expire(): void {
    this.#changes++;
    this.#asking.clear();
    this.#missing.clear();
    for (const entry of this.#entries.values()) entry.freshUntil = 0;
  }

  async get(key: string): Promise<T | null> {
    const { freshMs, staleMs, now } = this.#options;
    const known = this.#entries.get(key);
    if (known !== undefined && now() < known.freshUntil) return known.value;
    if (known === undefined && now() < (this.#missing.get(key) ?? 0)) return null;
    try {
      return await (this.#asking.get(key) ?? this.#ask(key));
    } catch (error) {
      if (known === undefined || now() - known.at > staleMs) throw error;
      known.freshUntil = now() + freshMs;
      return known.value;
    }
  }

  /** Asks once for all who want to know. */
  #ask(key: string): Promise<T | null> {
    const asked = this.#changes;
    const asking = deadline(this.#lookUp(key), LIMIT_MS).then((value) => {
      // an answer from before a change is used by those who waited for it, and not kept
      if (asked === this.#changes) this.#keep(key, value);
      return value;
    }).finally(() => {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    });
    this.#asking.set(key, asking);
    return asking;
  }

  #keep(key: string, value: T | null): void {
    this.#entries.delete(key);
    if (value === null) {
      if (this.#missing.size >= this.#options.max) this.#missing.clear();
      this.#missing.set(key, this.#options.now() + this.#options.missingMs);
      return;
    }
    const at = this.#options.now();
    this.#entries.set(key, { value, at, freshUntil: at + this.#options.freshMs });
    if (this.#entries.size <= this.#options.max) return;
    // the one that was looked up longest ago
    this.#entries.delete(this.#entries.keys().next().value!);
  }
}

/** Keys of one look-up together. */
const MAX_TOGETHER = 500;

/** Looks up together what is asked for while a look-up is under way, so that there is one at a time. */
export class Batched<T> {
  readonly #lookUp: (keys: string[]) => Promise<Map<string, T>>;
  #waiting = new Map<string, PromiseWithResolvers<T | null>>();
  #busy = false;

  constructor(lookUp: (keys: string[]) => Promise<Map<string, T>>) {
    this.#lookUp = lookUp;
  }

  get(key: string): Promise<T | null> {
    const asked = this.#waiting.get(key) ?? Promise.withResolvers<T | null>();
    this.#waiting.set(key, asked);
    if (!this.#busy) void this.#work();
    return asked.promise;
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.size > 0) {
      const together = [...this.#waiting].slice(0, MAX_TOGETHER);
      for (const [key] of together) this.#waiting.delete(key);
      try {
        const found = await deadline(this.#lookUp(together.map(([key]) => key)), LIMIT_MS);
        for (const [key, { resolve }] of together) resolve(found.get(key) ?? null);
      } catch (error) {
        for (const [, { reject }] of together) reject(error);
      }
    }
    this.#busy = false;
  }
}
