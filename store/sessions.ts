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

/** The sessions of these ids that there are. */
export async function findSessions(sql: Sql, ids: string[]): Promise<Map<string, KnownSession>> {
  const rows = await sql<(KnownToken & Omit<KnownSession, "token"> & { ends_at: Date })[]>`
    select s.session_id, s.session_hash, s.environment_hash, s.expires_at as ends_at,
      t.token_id, t.name, t.role, t.token_hash, t.expires_at, t.revoked_at, t.last_used_at
    from etl.sessions as s left join etl.api_tokens as t using (token_id)
    where s.session_id = any(${ids})`;
  return new Map(rows.map(({ session_id, session_hash, environment_hash, ends_at, ...token }) => [
    session_id,
    {
      session_id,
      session_hash,
      environment_hash,
      expires_at: ends_at,
      token: token.token_id === null ? null : token,
    },
  ]));
}

/** Ends a session and audits who has signed out. */
export async function endSession(sql: Sql, sessionId: string, actor: string): Promise<void> {
  await sql`
    with gone as (delete from etl.sessions where session_id = ${sessionId} returning 1)
    insert into public.etl_improved_audit (event, actor) select 'sign_out', ${actor}::text from gone`;
}

/** Ends every session of a token (null: the environment's) and audits who did; answers how many. */
export async function endSessions(
  sql: Sql,
  tokenId: string | null,
  actor: string,
): Promise<number> {
  const [row] = await sql<{ ended: number }[]>`
    with gone as (delete from etl.sessions where token_id is not distinct from ${tokenId} returning 1),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'sign_out_everywhere', ${actor}::text,
        jsonb_build_object('token_id', ${tokenId}::text, 'sessions', (select count(*) from gone)))
    select count(*)::integer as ended from gone`;
  return row!.ended;
}
