import assert from "node:assert/strict";
import { Access } from "../../routes/access/access.ts";
import { startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const ADMIN = "a-token-of-the-environment-0123456789";

Deno.test("the first token closes a server that was open, on loopback too, and stays needed", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  assert.equal((await engine.request("/api/pools")).status, 200);
  const made = await engine.post("/api/tokens", { name: "first", role: "admin" });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get("cache-control"), "no-store");
  const { token, ...view } = await made.json();
  assert.match(token, /^etl_[0-9a-f]{10}_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual([view.name, view.role, view.created_by], ["first", "admin", "http"]);

  assert.equal((await engine.request("/api/pools")).status, 401);
  assert.equal((await engine.request("/api/pools", bearer(token))).status, 200);
  for (const path of ["/livez", "/readyz"]) {
    assert.notEqual((await engine.request(path)).status, 401, path);
  }
  // without a usable token nobody gets in, instead of everybody
  const revoked = await engine.request("/api/tokens/first", { method: "DELETE", ...bearer(token) });
  assert.equal(revoked.status, 200);
  assert.equal((await engine.request("/api/pools")).status, 401);
  const problem = await problemOf(await engine.request("/api/pools", bearer(token)));
  assert.match(problem.detail, /token first was revoked/);
});

Deno.test("a token that is wrong, expired or of another scheme is refused, saying why", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const good = await makeToken(engine, { name: "good", role: "viewer" });
  const expired = await makeToken(engine, {
    name: "old",
    role: "admin",
    expiresInDays: -0.01,
  });
  const last = good.at(-1) === "A" ? "Q" : "A";
  const cases: [string, RegExp][] = [
    [`Bearer ${expired}`, /token old expired at 20/],
    [`Bearer ${good.slice(0, -1)}${last}`, /not known here/],
    [`Bearer etl_0123456789_${"x".repeat(43)}`, /not known here/],
    [`Bearer ${ADMIN}x`, /not known here/],
    ["Bearer nonsense", /not known here/],
    ["Bearer", /must be `Bearer etl_…`/],
    [`Basic ${btoa(`x:${good}`)}`, /must be `Bearer etl_…`/],
    [good, /must be `Bearer etl_…`/],
  ];
  for (const [authorization, detail] of cases) {
    const answer = await engine.request("/api/pools", { headers: { authorization } });
    const problem = await problemOf(answer);
    assert.equal(problem.status, 401);
    assert.match(problem.detail, detail);
    assert.match(answer.headers.get("www-authenticate")!, /^Bearer realm="etl-improved", error="/);
    assert.ok(!JSON.stringify(problem).includes(good.slice(15)));
  }
  for (const token of [good, ADMIN]) {
    assert.equal((await engine.request("/api/pools", bearer(token))).status, 200);
  }
});

Deno.test("the database has no token in it, and a name is of one token in use", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const ask = (body: unknown) => engine.post("/api/tokens", body, bearer(ADMIN).headers);
  const { token } = await (await ask({ name: "loader", role: "operator" })).json();
  const again = await problemOf(await ask({ name: "loader", role: "viewer" }));
  assert.deepEqual([again.status, again.type], [409, "/api/problems/conflict"]);
  for (const name of ["environment", "http", "cli", "etl"]) {
    assert.equal((await problemOf(await ask({ name, role: "viewer" }))).status, 409);
  }
  for (
    const bad of [{}, { name: "x" }, { name: "x", role: "root" }, { name: "-", role: "viewer" }]
  ) {
    assert.equal((await problemOf(await ask(bad))).status, 400);
  }
  const revoke = () => engine.request("/api/tokens/loader", { method: "DELETE", ...bearer(ADMIN) });
  assert.equal((await revoke()).status, 200);
  assert.equal((await problemOf(await revoke())).status, 404);
  assert.equal((await ask({ name: "loader", role: "viewer", expires_in_days: 90 })).status, 201);
  assert.equal((await ask({ name: "a_reader", role: "viewer" })).status, 201);
  const { items } = await (await engine.request("/api/tokens", bearer(ADMIN))).json();
  assert.deepEqual(
    items.map(({ name, role }: Record<string, string>) => `${name} ${role}`),
    ["a_reader viewer", "loader operator", "loader viewer"],
    "by name, the one that was revoked, too",
  );
  assert.ok(!JSON.stringify(items).includes("hash"));
  const [{ text }] = await engine.sql<[{ text: string }]>`
    select string_agg(t::text, ' ') || (select string_agg(a::text, ' ') from public.etl_improved_audit as a) as text
    from etl.api_tokens as t`;
  const secret = token.slice(15);
  assert.ok(!text.includes(secret) && !engine.log.join("\n").includes(secret));
  assert.equal((await revoke()).status, 200);
  const sessions = await engine.request("/api/tokens/loader/sessions", {
    method: "DELETE",
    ...bearer(ADMIN),
  });
  assert.equal(sessions.status, 404, "a name that no token in use has");
});

Deno.test("the last use is noted to the minute, and nobody waits for it", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const token = await makeToken(engine, { name: "used", role: "viewer" });
  const lastUse = async () => {
    const [row] = await engine.sql<[{ last: Date | null }]>`
      select last_used_at as last from etl.api_tokens`;
    return row.last;
  };
  // the row is locked by somebody else: the use cannot be noted, and the answer comes all the same
  const holding = await engine.sql.reserve();
  await holding`begin`;
  await holding`select from etl.api_tokens for update`;
  assert.equal((await engine.request("/api/pools", bearer(token))).status, 200);
  assert.equal(await lastUse(), null);
  await holding`commit`;
  holding.release();
  const first = await waitFor(lastUse);
  for (let i = 0; i < 5; i++) await engine.request("/api/pools", bearer(token));
  assert.deepEqual(await lastUse(), first);
  // a minute later it is noted again
  await engine.sql`update etl.api_tokens set last_used_at = last_used_at - interval '61 seconds'`;
  const access = new Access({ sql: engine.sql, adminToken: null, exposed: true });
  await access.byToken(token);
  await waitFor(async () => (await lastUse())! > first!, { what: "the next use to be noted" });
});

Deno.test("a token that is not there is not looked up again for five seconds", async (t) => {
  await using engine = await startEngine(t, { workers: 0 });
  let looks = 0;
  let now = 0;
  const sql = new Proxy(engine.sql, {
    apply(target, self, args) {
      looks++;
      return Reflect.apply(target, self, args);
    },
  });
  const access = new Access({ sql, adminToken: null, exposed: true, now: () => now });
  const guess = async () => {
    const before = looks;
    await assert.rejects(access.byToken(`etl_0123456789_${"x".repeat(43)}`), /not known here/);
    return looks > before;
  };
  const looked: boolean[] = [];
  for (now of [0, 4_999, 5_000]) looked.push(await guess());
  assert.deepEqual(looked, [true, false, true]);
});

Deno.test("a token that is revoked elsewhere is refused at once, and its streams end", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const ask = (path: string, token: string, init: RequestInit = {}) =>
    fetch(server.address + path, {
      ...init,
      headers: { "content-type": "application/json", ...bearer(token).headers },
    });
  const made = await ask("/api/tokens", ADMIN, {
    method: "POST",
    body: JSON.stringify({ name: "gone", role: "viewer" }),
  });
  const { token } = await made.json();
  const stream = await ask("/etl/events", token);
  assert.equal(stream.status, 200);
  const ended = stream.text();
  const before = await ask("/api/pools", token);
  assert.equal((await before.json()).items.length, 1);

  await using other = await startEngine(t, { database: db, workers: 1 });
  await other.sql`update etl.api_tokens set revoked_at = now()`;
  const revokedAt = performance.now();
  await waitFor(async () => {
    const answer = await ask("/api/pools", token);
    await answer.body?.cancel();
    return answer.status === 401;
  });
  // what is remembered is five seconds old at most: this was the notification
  assert.ok(performance.now() - revokedAt < 3000);
  assert.match(await ended, /^event: hello/);
  assert.ok(!server.logs.join("\n").includes(token.slice(15)));
});

Deno.test("a server that others can reach does not start without a token, and says what to do", async (t) => {
  await using db = await testDatabase(t);
  const environments = [
    { ETL_HOST: "0.0.0.0" },
    { ETL_HOST: "::" },
    { ETL_ALLOWED_HOSTS: "localhost,etl.example.com" },
  ];
  for (const env of environments) {
    await assert.rejects(
      startServer({ dsn: db.dsn, env }),
      ({ message }: Error) => /Set ETL_ADMIN_TOKEN.*etl token create/.test(message),
    );
  }
  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_HOST: "0.0.0.0", ETL_ADMIN_TOKEN: ADMIN },
  });
  const { port } = new URL(server.address);
  const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);
  for (const [path, status] of [["/livez", 200], ["/api/etl/metrics", 401]] as const) {
    const answer = await at(path);
    await answer.body?.cancel();
    assert.equal(answer.status, status);
  }
  const metrics = await at("/api/etl/metrics", bearer(ADMIN));
  assert.match(await metrics.text(), /etl_database_up 1/);
});

Deno.test("by its address a server answers probes and whoever has a token, and no page", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const host = "10.1.2.3:8080";
  const ask = (path: string, headers: Record<string, string> = {}) =>
    engine.request(path, { headers: { host, ...headers } });
  assert.equal((await ask("/livez")).status, 200);
  assert.notEqual((await ask("/readyz")).status, 403);
  assert.equal((await ask("/api/etl/metrics", bearer(ADMIN).headers)).status, 200);
  for (const path of ["/api/etl/metrics", "/etl", "/etl/sign-in", "/api/problems"]) {
    assert.equal((await ask(path)).status, 403, path);
  }
});

Deno.test("a server that is open answers for its own hosts alone, whatever token is shown", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const headers = { host: "rebound.example", ...bearer("etl_anything").headers };
  assert.equal((await engine.request("/api/pools", { headers })).status, 403);
});
