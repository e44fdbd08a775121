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
  revoked_at: Date | null;
  last_used_at: Date | null;
}

export interface NewToken {
  tokenId: string;
  name: string;
  role: Role;
  hash: Uint8Array;
  expiresAt: Date | null;
  actor: string;
}

/** Every token, revoked ones too, by name. */
export async function listTokens(sql: Sql): Promise<TokenView[]> {
  return await sql<TokenView[]>`select ${view(sql)} from etl.api_tokens as t
    order by t.name, t.created_at`;
}

/** Stores a token and audits who made it; null where a token that is not revoked has this name. */
export async function createToken(sql: Sql, token: NewToken): Promise<TokenView | null> {
  const { tokenId, name, role, hash, expiresAt, actor } = token;
  const [row] = await sql<TokenView[]>`
    with t as (
      insert into etl.api_tokens (token_id, name, token_hash, role, created_by, expires_at)
      values (${tokenId}, ${name}, ${hash}, ${role}, ${actor}, ${expiresAt})
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
  const rows = await sql<KnownToken[]>`
    select token_id, name, role, token_hash, expires_at, revoked_at, last_used_at
    from etl.api_tokens where token_id = any(${ids})`;
  return new Map(rows.map((row) => [row.token_id, row]));
}

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
