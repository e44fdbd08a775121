import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import { tokenRoutes } from "../../routes/tokens.ts";
import type { AppDeps } from "../../routes/shared/deps.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";

/** The routes of tokens over a database that has one token, ada, in use. */
function routes() {
  const asked: { text: string; values: unknown[] }[] = [];
  const told = { changes: 0 };
  const sql = (parts: TemplateStringsArray, ...values: unknown[]) => {
    const text = parts.join("?").trim();
    // the statement itself, not its parts
    if (!/^(with|select \?|select token_id)/.test(text)) return text;
    asked.push({ text, values });
    const known = values.includes("ada");
    if (text.startsWith("select token_id")) {
      return Promise.resolve(known ? [{ token_id: "1" }] : []);
    }
    if (text.includes("token_id is not distinct from")) return Promise.resolve([{ ended: 2 }]);
    const isMade = text.includes("insert into etl.api_tokens");
    return Promise.resolve(isMade !== known ? [{ name: "made" }] : []);
  };
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw new TerminalProblem("bad-request", { detail: "refused" });
    },
  });
  app.onError((error, c) => {
    assert.ok(error instanceof Problem, String(error));
    return c.json({ detail: error.message }, error.status as 400);
  });
  tokenRoutes(app, { sql } as unknown as AppDeps, { changed: () => told.changes++ } as never);
  const send = async (method: string, path: string, body?: unknown) => {
    const response = await app.request(`/api/tokens${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: { "content-type": "application/json" },
    });
    return { status: response.status, headers: response.headers, body: await response.json() };
  };
  return { send, asked, told };
}

Deno.test("a token is made with its days and told once, and the server lets it in at once", async () => {
  const { send, asked, told } = routes();
  const made = await send("POST", "", { name: "bob", role: "viewer", expires_in_days: 0.5 });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get("cache-control"), "no-store");
  assert.match(made.body.token, /^etl_[0-9a-f]{10}_[A-Za-z0-9_-]{43}$/);
  assert.ok(asked[0]!.values.includes(0.5));
  assert.equal(told.changes, 1);
  await send("POST", "", { name: "bob", role: "viewer" });
  assert.ok(asked[1]!.values.includes(null), "it does not expire");
  const taken = await send("POST", "", { name: "ada", role: "viewer" });
  assert.equal(taken.status, 409);
  assert.match(taken.body.detail, /in use/);
  assert.equal(told.changes, 2, "nothing has changed");
});

Deno.test("names of the audit table are no token's, nor are names that are too long and days that do not come", async () => {
  const { send, asked } = routes();
  for (const name of ["environment", "http", "cli", "etl"]) {
    const { status, body } = await send("POST", "", { name, role: "viewer" });
    assert.equal(status, 409, name);
    assert.match(body.detail, /audit table/, name);
  }
  const days = (expires_in_days: number) => ({ name: "bob", role: "viewer", expires_in_days });
  for (const wrong of [{ name: "x".repeat(101), role: "viewer" }, days(0), days(36_501)]) {
    assert.equal((await send("POST", "", wrong)).status, 400, JSON.stringify(wrong));
  }
  assert.deepEqual(asked, []);
});

Deno.test("a token that is revoked, or whose sessions are ended, is looked at anew at once", async () => {
  const { send, told } = routes();
  assert.equal((await send("DELETE", "/ada")).status, 200);
  assert.equal(told.changes, 1);
  assert.deepEqual((await send("DELETE", "/ada/sessions")).body, { ended: 2 });
  assert.equal(told.changes, 2);
});

Deno.test("the environment's token is not revoked but told how to change, and its sessions can be ended", async () => {
  const { send, asked } = routes();
  const environment = await send("DELETE", "/environment");
  assert.equal(environment.status, 404);
  assert.match(environment.body.detail, /ETL_ADMIN_TOKEN/);
  const none = await send("DELETE", "/nobody");
  assert.equal(none.status, 404);
  assert.match(none.body.detail, /nobody/);
  assert.equal((await send("DELETE", "/nobody/sessions")).status, 404);
  assert.ok(
    asked.every(({ text }) => !text.includes("token_id is not distinct from")),
  );
  assert.equal((await send("DELETE", "/environment/sessions")).status, 200);
  assert.equal(asked.at(-1)!.values[0], null);
});
