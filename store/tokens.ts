import type { Role } from "../vocabulary/words.ts";
import type { Sql } from "./database.ts";

/** A token as people see it: without anything that could be used in its place. */
export interface TokenView {
  token_id: string;
  name: string;
  role: Role;
  created_at: string;
  created_by: string;
  expires_at: string | null;
  /** To the minute. */
  last_used_at: string | null;
  revoked_at: string | null;
}

/** What is needed to judge a token that somebody shows. */
export interface KnownToken {
  token_id: string;
  name: string;
  role: Role;
  token_hash: Uint8Array;
  expires_at: Date | null;
  /** When it ends by performance.now(), counted by the database's clock: a server's own may be wrong; null: never. */
  ends: number | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
}

export interface NewToken {
  tokenId: string;
  name: string;
  role: Role;
  hash: Uint8Array;
  /** From now on, by the database's clock; null: for ever. */
  expiresInDays: number | null;
  actor: string;
}

/** Every token, revoked ones too, by name. */
export async function listTokens(sql: Sql): Promise<TokenView[]> {
  return await sql<TokenView[]>`select ${view(sql)} from etl.api_tokens as t
    order by t.name, t.created_at`;
}

/** Stores a token and audits who made it; null where a token that is not revoked has this name. */
export async function createToken(sql: Sql, token: NewToken): Promise<TokenView | null> {
  const { tokenId, name, role, hash, expiresInDays, actor } = token;
  const [row] = await sql<TokenView[]>`
    with t as (
      insert into etl.api_tokens (token_id, name, token_hash, role, created_by, expires_at)
      values (${tokenId}, ${name}, ${hash}, ${role}, ${actor}, now() + ${expiresInDays}::float8 * interval '1 day')
      on conflict do nothing returning *),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'tokens_create', ${actor}::text, jsonb_build_object(
        'token_id', t.token_id, 'name', t.name, 'role', t.role, 'expires_at', t.expires_at) from t)
    select ${view(sql)} from t`;
  return row ?? null;
}

/** Revokes the token of a name and audits who did; null where none of that name is in use. */
export async function revokeToken(
  sql: Sql,
  name: string,
  actor: string,
): Promise<TokenView | null> {
  const [row] = await sql<TokenView[]>`
    with t as (
      update etl.api_tokens set revoked_at = now(), revoked_by = ${actor}
      where name = ${name} and revoked_at is null returning *),
    ended as (delete from etl.sessions where token_id in (select token_id from t)),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'tokens_revoke', ${actor}::text, jsonb_build_object('token_id', t.token_id, 'name', t.name) from t)
    select ${view(sql)} from t`;
  return row ?? null;
}

/** Whether there has ever been a token, and whether one can be used now. */
export async function tokenState(sql: Sql): Promise<{ any: boolean; usable: boolean }> {
  const [row] = await sql<{ any: boolean; usable: boolean }[]>`
    select exists (select from etl.api_tokens) as any, exists (select from etl.api_tokens
      where revoked_at is null and (expires_at is null or expires_at > now())) as usable`;
  return row!;
}

/** The tokens of these ids that there are. */
export async function findTokens(sql: Sql, ids: string[]): Promise<Map<string, KnownToken>> {
  const rows = await sql<(KnownToken & Left)[]>`
    select token_id, name, role, token_hash, expires_at, revoked_at, last_used_at, ${
    left(sql, "expires_at")
  } as left_ms
    from etl.api_tokens where token_id = any(${ids})`;
  return new Map(rows.map((row) => [row.token_id, { ...row, ends: endOf(row.left_ms) }]));
}

interface Left {
  left_ms: number | null;
}

/** SQL for the milliseconds until a time of a table. */
function left(sql: Sql, time: string) {
  return sql`(extract(epoch from ${sql(time)} - clock_timestamp()) * 1000)::float8`;
}

const endOf = (left: number | null) => left === null ? null : performance.now() + left;

/** The id of the token in use that has this name; null where there is none. */
export async function tokenIdOf(sql: Sql, name: string): Promise<string | null> {
  const [row] = await sql<{ token_id: string }[]>`
    select token_id from etl.api_tokens where name = ${name} and revoked_at is null`;
  return row?.token_id ?? null;
}

/** Notes that a token is in use, at most once a minute however many servers see it. */
export async function touchToken(sql: Sql, tokenId: string): Promise<void> {
  await sql`
    update etl.api_tokens set last_used_at = now() where token_id = ${tokenId}
      and (last_used_at is null or last_used_at < now() - interval '1 minute')`;
}

function view(sql: Sql) {
  return sql`t.token_id, t.name, t.role, etl.iso(t.created_at) as created_at, t.created_by,
    etl.iso(t.expires_at) as expires_at, etl.iso(t.last_used_at) as last_used_at,
    etl.iso(t.revoked_at) as revoked_at`;
}

/** What is needed to judge a session; `token` is null where it is that of the environment. */
export interface KnownSession {
  session_id: string;
  session_hash: Uint8Array;
  environment_hash: Uint8Array | null;
  /** As a token's. */
  ends: number;
  token: KnownToken | null;
}

export interface NewSession {
  sessionId: string;
  hash: Uint8Array;
  tokenId: string | null;
  environmentHash: Uint8Array | null;
  /** From now on, by the database's clock. */
  hours: number;
  /** Name of the token, for the audit table. */
  actor: string;
  details: Record<string, unknown>;
}

/** Stores a session, audits who has signed in, and deletes sessions that are over. */
export async function createSession(sql: Sql, session: NewSession): Promise<void> {
  const { sessionId, hash, tokenId, environmentHash, hours, actor, details } = session;
  await sql`
    with over as (delete from etl.sessions where expires_at < now()),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      values ('sign_in', ${actor}, ${JSON.stringify(details)}::text::jsonb))
    insert into etl.sessions (session_id, session_hash, token_id, environment_hash, expires_at)
    values (${sessionId}, ${hash}, ${tokenId}, ${environmentHash}, now() + ${hours} * interval '1 hour')`;
}

/** The sessions of these ids that there are. */
export async function findSessions(sql: Sql, ids: string[]): Promise<Map<string, KnownSession>> {
  const rows = await sql<
    (KnownToken & Omit<KnownSession, "token"> & Left & { session_ms: number })[]
  >`
    select s.session_id, s.session_hash, s.environment_hash, ${
    left(sql, "s.expires_at")
  } as session_ms,
      t.token_id, t.name, t.role, t.token_hash, t.expires_at, t.revoked_at, t.last_used_at, ${
    left(sql, "t.expires_at")
  } as left_ms
    from etl.sessions as s left join etl.api_tokens as t using (token_id)
    where s.session_id = any(${ids})`;
  return new Map(
    rows.map(({ session_id, session_hash, environment_hash, session_ms, ...token }) => [
      session_id,
      {
        session_id,
        session_hash,
        environment_hash,
        ends: endOf(session_ms)!,
        token: token.token_id === null ? null : { ...token, ends: endOf(token.left_ms) },
      },
    ]),
  );
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
