import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";
import { routeName, ROUTES } from "../../routes/access/route_rules.ts";
import { ROLES } from "../../vocabulary/words.ts";
import { makeToken } from "../helpers/tokens.ts";

const ADMIN_TOKEN = "a-token-of-the-environment-0123456789";

/** Every route of the application, once. */
async function routeNames(engine: Engine): Promise<string[]> {
  const names = (await engine.routes()).map(routeName).filter((name) => name !== null);
  return [...new Set(names)];
}

/** A request for a route: ids and names that are well-formed, and that nobody has. */
function ask(engine: Engine, route: string, headers: Record<string, string> = {}) {
  const [method = "", pattern = ""] = route.split(" ");
  const path = pattern.replace("{id}", "00000000-0000-7000-8000-000000000000")
    .replace("{no}", "0").replace("{file}", "none.js").replace("{type}", "internal")
    .replace("{kind}", "pools").replace("*", "nowhere").replaceAll(/\{\w+\}/g, "nobody_has_it");
  const body = method === "POST" || method === "PUT" ? { body: "[]" } : {};
  return engine.request(path, {
    method,
    ...body,
    headers: { "content-type": "application/json", ...headers },
  });
}

Deno.test("every route has a role, and every role has a route", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const names = await routeNames(engine);
  assert.deepEqual(names.filter((name) => !(name in ROUTES)), []);
  for (const name of Object.keys(ROUTES)) {
    assert.ok(names.includes(name), `${name} is in route_rules.ts, and there is no such route`);
  }
});

// streams of events that are opened here end a little later
const unwatched = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "each role reaches its routes and those of the roles below, and no others",
  unwatched,
  async (t) => {
    await using engine = await startEngine(t, {
      workers: 1,
      env: { ETL_ADMIN_TOKEN: ADMIN_TOKEN },
    });
    const tokens: Record<string, string> = {};
    for (const role of ROLES) tokens[role] = await makeToken(engine, { name: `the-${role}`, role });
    for (const route of await routeNames(engine)) {
      const needed = ROUTES[route]!.role;
      const anonymous = await ask(engine, route);
      if (needed === "anyone") assert.ok(![401, 403].includes(anonymous.status), route);
      else {
        const problem = await problemOf(anonymous);
        assert.equal(problem.status, 401, route);
        assert.equal(anonymous.headers.get("www-authenticate"), 'Bearer realm="etl-improved"');
      }
      for (const role of ROLES) {
        const headers = { authorization: `Bearer ${tokens[role]}` };
        const answer = await ask(engine, route, headers);
        if (needed === "anyone" || ROLES.indexOf(role) >= ROLES.indexOf(needed)) {
          assert.ok(![401, 403, 500].includes(answer.status), `${role} ${route}: ${answer.status}`);
          await answer.body?.cancel();
          continue;
        }
        const problem = await problemOf(answer);
        assert.equal(problem.status, 403, `${role} ${route}`);
        assert.match(problem.detail, new RegExp(`needs the role ${needed}, and the-${role}`));
      }
    }
  },
);

Deno.test("OpenAPI says for every route who may use it, and documents 401 and 403", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const document = await (await engine.request("/api/openapi.json")).json();
  assert.equal(document.components.securitySchemes.token.scheme, "bearer");
  interface Operation {
    security: unknown;
    responses: Record<string, unknown>;
    "x-role"?: string;
  }
  for (
    const [path, item] of Object.entries<Record<string, Operation>>(document.paths)
  ) {
    for (const [method, operation] of Object.entries(item)) {
      const needed = ROUTES[`${method.toUpperCase()} ${path}`]?.role;
      assert.ok(needed !== undefined, `${method} ${path}`);
      assert.ok(operation.responses["403"], `${method} ${path}`);
      assert.equal(operation["x-role"], needed === "anyone" ? undefined : needed);
      assert.equal(operation.responses["401"] !== undefined, needed !== "anyone");
      assert.deepEqual(
        operation.security,
        needed === "anyone" ? [] : [{ token: [] }, { session: [] }],
      );
    }
  }
});
