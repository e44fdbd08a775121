import { newToken } from "../../routes/access/credential.ts";
import type { Sql } from "../../store/database.ts";
import { createToken } from "../../store/tokens.ts";
import type { Role } from "../../vocabulary/words.ts";

export interface MakeTokenOptions {
  name: string;
  role: Role;
  /** Default: it does not expire. */
  expiresInDays?: number;
}

/** Stores a token; answers it as its holder shows it. */
export async function makeToken(
  { sql }: { sql: Sql },
  { name, role, expiresInDays }: MakeTokenOptions,
): Promise<string> {
  const { id, hash, text } = newToken();
  await createToken(sql, {
    tokenId: id,
    name,
    role,
    hash,
    expiresInDays: expiresInDays ?? null,
    actor: "test",
  });
  return text;
}

/** A request's headers with a token. */
export const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
