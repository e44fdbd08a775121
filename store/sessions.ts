import type { Sql } from "./database.ts";
import type { KnownToken } from "./tokens.ts";

/** What is needed to judge a session; `token` is null where it is that of the environment. */
export interface KnownSession {
  session_id: string;
  session_hash: Uint8Array;
  environment_hash: Uint8Array | null;
  expires_at: Date;
  token: KnownToken | null;
}

export interface NewSession {
  sessionId: string;
  hash: Uint8Array;
  tokenId: string | null;
  environmentHash: Uint8Array | null;
  expiresAt: Date;
  /** Name of the token, for the audit table. */
  actor: string;
  details: Record<string, unknown>;
}

/** Stores a session, audits who has signed in, and deletes sessions that are over. */
export async function createSession(sql: Sql, session: NewSession): Promise<void> {
  const { sessionId, hash, tokenId, environmentHash, expiresAt, actor, details } = session;
  await sql`
    with over as (delete from etl.sessions where expires_at < now()),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      values ('sign_in', ${actor}, ${JSON.stringify(details)}::text::jsonb))
    insert into etl.sessions (session_id, session_hash, token_id, environment_hash, expires_at)
    values (${sessionId}, ${hash}, ${tokenId}, ${environmentHash}, ${expiresAt})`;
}

export async function findSession(sql: Sql, sessionId: string): Promise<KnownSession | null> {
  const [row] = await sql<(KnownToken & Omit<KnownSession, "token"> & { ends_at: Date })[]>`
    select s.session_id, s.session_hash, s.environment_hash, s.expires_at as ends_at,
      t.token_id, t.name, t.role, t.token_hash, t.expires_at, t.revoked_at, t.last_used_at
    from etl.sessions as s left join etl.api_tokens as t using (token_id)
    where s.session_id = ${sessionId}`;
  if (row === undefined) return null;
  const { session_id, session_hash, environment_hash, ends_at, ...token } = row;
  return {
    session_id,
    session_hash,
    environment_hash,
    expires_at: ends_at,
    token: token.token_id === null ? null : token,
  };
}

/** Ends a session and audits who has signed out. */
export async function endSession(sql: Sql, sessionId: string, actor: string): Promise<void> {
  await sql`
    with gone as (delete from etl.sessions where session_id = ${sessionId} returning 1)
    insert into public.etl_improved_audit (event, actor) select 'sign_out', ${actor}::text from gone`;
}
