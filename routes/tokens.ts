import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { createToken, endSessions, listTokens, revokeToken, tokenIdOf } from "../store/tokens.ts";
import { ROLES } from "../vocabulary/words.ts";
import { type Access, ENVIRONMENT_TOKEN } from "./access/access.ts";
import { newToken } from "./access/credential.ts";
import { actorOf } from "./access/identity.ts";
import type { AppDeps } from "./shared/deps.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

/** Names that the audit table has for others than tokens. */
const TAKEN = new Set([ENVIRONMENT_TOKEN, "http", "cli", "etl"]);

const name = z.string().regex(
  /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/,
  "a name of letters, digits, _ . and -",
);
const time = z.string().openapi({ format: "date-time" });
const tokenSchema = z.object({
  token_id: z.string().describe("the part of the token after etl_; no secret"),
  name: z.string(),
  role: z.enum(ROLES),
  created_at: time,
  created_by: z.string(),
  expires_at: time.nullable(),
  last_used_at: time.nullable().describe("to the minute"),
  revoked_at: time.nullable(),
}).openapi("Token");
const newTokenSchema = tokenSchema.extend({
  token: z.string().describe("the token itself; it cannot be looked up later"),
}).openapi("NewToken");

/** API tokens: list, create, revoke. */
export function tokenRoutes(app: OpenAPIHono, deps: AppDeps, access: Access): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/tokens",
      summary: "Every API token, without its secret",
      responses: {
        200: jsonOf(z.object({ items: z.array(tokenSchema) }), "by name, revoked ones too"),
      },
    }),
    async (c) => c.json({ items: await listTokens(deps.sql) }, 200),
  );
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/tokens",
      summary: "Create an API token",
      description: "The answer has the token, once. From the first one on every request needs one.",
      request: {
        body: {
          required: true,
          content: {
            "application/json": {
              schema: z.strictObject({
                name,
                role: z.enum(ROLES),
                expires_in_days: z.number().positive().max(36_500).optional()
                  .describe("default: it does not expire"),
              }),
            },
          },
        },
      },
      responses: {
        201: jsonOf(newTokenSchema, "created"),
        ...problemResponses(400, 409, 415),
      },
    }),
    async (c) => {
      const { name, role, expires_in_days: days } = c.req.valid("json");
      const { id, text, hash } = newToken();
      const token = TAKEN.has(name) ? null : await createToken(deps.sql, {
        tokenId: id,
        name,
        role,
        hash,
        expiresInDays: days ?? null,
        actor: actorOf(c),
      });
      if (token === null) throw nameTaken(name);
      access.changed();
      return c.json({ ...token, token: text }, 201, { "cache-control": "no-store" });
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path: "/api/tokens/{name}",
      summary: "Revoke an API token, and end its sessions",
      request: {
        params: z.object({ name: name.openapi({ param: { name: "name", in: "path" } }) }),
      },
      responses: {
        200: jsonOf(tokenSchema, "revoked"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const token = await revokeToken(deps.sql, name, actorOf(c));
      if (token === null) {
        throw new Problem("not-found", {
          detail: name === ENVIRONMENT_TOKEN
            ? say("environment-token", {})
            : say("no-token", { name }),
        });
      }
      access.changed();
      return c.json(token, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path: "/api/tokens/{name}/sessions",
      summary: "Sign everybody out who has signed in with a token, which stays in use",
      request: {
        params: z.object({ name: name.openapi({ param: { name: "name", in: "path" } }) }),
      },
      responses: {
        200: jsonOf(z.object({ ended: z.number().int() }), "how many sessions have ended"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const tokenId = name === ENVIRONMENT_TOKEN ? null : await tokenIdOf(deps.sql, name);
      if (tokenId === null && name !== ENVIRONMENT_TOKEN) {
        throw new Problem("not-found", {
          detail: say("no-token", { name }),
        });
      }
      const ended = await endSessions(deps.sql, tokenId, actorOf(c));
      access.changed();
      return c.json({ ended }, 200);
    },
  );
}

function nameTaken(name: string): Problem {
  return new Problem("conflict", {
    detail: TAKEN.has(name) ? say("token-name-reserved", { name }) : say("token-in-use", { name }),
  });
}
