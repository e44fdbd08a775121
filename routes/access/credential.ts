import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** A secret that its holder shows: an id to find it by, and 256 random bits. */
export interface Credential {
  id: string;
  /** The whole of it, as it is shown. */
  text: string;
  hash: Uint8Array;
}

const SECRET_BYTES = 32;
const TOKEN = /^etl_([0-9a-f]{10})_[A-Za-z0-9_-]{43}$/;
const SESSION = /^([0-9a-f]{20})\.[A-Za-z0-9_-]{43}$/;

/** A new API token: `etl_<id>_<secret>`. The beginning lets scanners for leaked secrets know it. */
export function newToken(): Credential {
  const id = randomBytes(5).toString("hex");
  return credential(id, `etl_${id}_${secret()}`);
}

/** A new session, for its cookie: `<id>.<secret>`. */
export function newSession(): Credential {
  const id = randomBytes(10).toString("hex");
  return credential(id, `${id}.${secret()}`);
}

/** What has the form of a token; null where it has another. */
export function parseToken(text: string): Credential | null {
  const id = TOKEN.exec(text)?.[1];
  return id === undefined ? null : credential(id, text);
}

/** What has the form of a session; null where it has another. */
export function parseSession(text: string): Credential | null {
  const id = SESSION.exec(text)?.[1];
  return id === undefined ? null : credential(id, text);
}

/** The part of a token that names it in logs and is no secret; undefined where the text is no token. */
export function tokenPrefix(text: string): string | undefined {
  const id = TOKEN.exec(text)?.[1];
  return id === undefined ? undefined : `etl_${id}`;
}

export function sha256(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

/** Whether two hashes are the same, in a time that does not tell where they differ. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

const secret = () => randomBytes(SECRET_BYTES).toString("base64url");
const credential = (id: string, text: string) => ({ id, text, hash: sha256(text) });
