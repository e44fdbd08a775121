import assert from "node:assert/strict";
import { wrongClock } from "../helpers/clock.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { problemOf } from "../helpers/problems.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";

const ADMIN = "a-token-of-the-environment-0123456789";
const env = { ETL_ADMIN_TOKEN: ADMIN };
const html = { accept: "text/html" };

function signIn(
  engine: Engine,
  token: string,
  options: { to?: string; host?: string; headers?: Record<string, string> } = {},
) {
  const { to = "/etl/runs?state=failed", host = "localhost", headers = {} } = options;
  return engine.request("/etl/sign-in", {
    method: "POST",
    headers: { ...html, host, origin: `https://${host}`, ...headers },
    body: new URLSearchParams({ token, to }),
  });
}

/** The session of an answer, as a browser sends it back. */
function cookieOf(answer: Response): string {
  return answer.headers.get("set-cookie")!.split(";")[0]!;
}

Deno.test("a person is sent to sign in, and then to where they wanted to go", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  const token = await makeToken(engine, { name: "ada", role: "viewer" });
  const asked = await engine.request("/etl/runs?state=failed", { headers: html });
  assert.equal(asked.status, 302);
  const page = asked.headers.get("location")!;
  assert.equal(page, "/etl/sign-in?to=%2Fetl%2Fruns%3Fstate%3Dfailed");
  const form = await engine.request(page, { headers: html });
  assert.match(await form.text(), /name="to" value="\/etl\/runs\?state=failed"/);
  assert.match(form.headers.get("content-security-policy")!, /script-src 'self'/);

  const done = await signIn(engine, token);
  assert.deepEqual([done.status, done.headers.get("location")], [303, "/etl/runs?state=failed"]);
  const headers = { ...html, cookie: cookieOf(done) };
  const runs = await engine.request("/etl/runs", { headers });
  const text = await runs.text();
  assert.match(text, /class="account-name">ada<.*viewer/);
  assert.match(text, /data-role="viewer"/);
  assert.equal((await engine.request("/etl/sign-in", { headers })).status, 303);
  const [{ hashed }] = await engine.sql<[{ hashed: string }]>`
    select string_agg(s::text, '') as hashed from etl.sessions as s`;
  assert.ok(!hashed.includes(headers.cookie.split(".")[1]!));
});

Deno.test("after signing in one only gets to pages of this server", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  const bad = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/etl/../../evil",
    "/etl\\evil",
    "/etl//x\r\nset-cookie: a=b",
    "/etlx",
    "javascript:alert(1)",
    "/",
    "",
  ];
  for (const to of bad) {
    const answer = await signIn(engine, ADMIN, { to });
    const target = new URL(answer.headers.get("location")!, "https://localhost");
    assert.equal(target.host, "localhost", to);
    const page = await engine.request(`/etl/sign-in?to=${encodeURIComponent(to)}`);
    assert.match(await page.text(), /name="to" value="\/etl"/, to);
  }
});

Deno.test("the cookie is for this host alone, and needs TLS except on this machine", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    env: { ...env, ETL_ALLOWED_HOSTS: "etl.example" },
  });
  const attributes = async (host: string) =>
    (await signIn(engine, ADMIN, { host })).headers.get("set-cookie")!;
  const there = await attributes("etl.example");
  assert.match(there, /^__Host-etl_session=[0-9a-f]{20}\.[\w-]{43}; Max-Age=43200; Path=\/;/);
  for (const attribute of ["HttpOnly", "Secure", "SameSite=Strict"]) {
    assert.ok(there.split("; ").includes(attribute), there);
  }
  const here = await attributes("localhost:8080");
  assert.match(here, /^etl_session=.*HttpOnly; SameSite=Strict$/);
  // a proxy on this machine, whose TLS others come through
  const proxied = await signIn(engine, ADMIN, { headers: { "x-forwarded-proto": "https" } });
  assert.match(proxied.headers.get("set-cookie")!, /^__Host-etl_session=.*; Secure/);
  const plain = await engine.request("/etl/sign-in", { headers: { ...html, host: "etl.example" } });
  assert.match(await plain.text(), /not opened over https/);
});

Deno.test("a wrong token is refused on the page, in the viewer's language", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  for (const token of ["", "nonsense", `etl_0123456789_${"x".repeat(43)}`]) {
    const answer = await signIn(engine, token);
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get("set-cookie"), null);
    assert.match(await answer.text(), /unknown, expired or revoked/);
  }
  const spanish = await engine.request("/etl/sign-in", {
    method: "POST",
    headers: { "accept-language": "es" },
    body: new URLSearchParams({ token: "x" }),
  });
  assert.match(await spanish.text(), /Este token no se conoce aquí/);
});

Deno.test("a session ends with its token, after twelve hours, and by signing out", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  const token = await makeToken(engine, { name: "ada", role: "viewer" });
  const session = async (shown = token) => {
    const cookie = cookieOf(await signIn(engine, shown));
    return () => engine.request("/api/pools", { headers: { cookie } }).then(({ status }) => status);
  };
  const first = await session();
  const second = await session();
  const environments = await session(ADMIN);
  assert.deepEqual([await first(), await second(), await environments()], [200, 200, 200]);

  const cookie = cookieOf(await signIn(engine, token));
  const page = await (await engine.request("/etl", { headers: { cookie } })).text();
  const formToken = /name="form_token" value="([^"]+)"/.exec(page)![1]!;
  const signOut = (fields: Record<string, string>) =>
    engine.request("/etl/sign-out", {
      method: "POST",
      headers: { cookie, origin: "http://localhost" },
      body: new URLSearchParams(fields),
    });
  assert.equal((await signOut({})).status, 403);
  assert.equal((await signOut({ form_token: "wrong" })).status, 403);
  const out = await signOut({ form_token: formToken });
  assert.deepEqual([out.status, out.headers.get("location")], [303, "/etl/sign-in"]);
  // browsers take it from nobody whose Path or Secure differs
  assert.deepEqual(out.headers.getSetCookie().sort(), [
    "__Host-etl_session=; Max-Age=0; Path=/; Secure",
    "etl_session=; Max-Age=0; Path=/",
  ]);
  assert.equal((await engine.request("/api/pools", { headers: { cookie } })).status, 401);

  await engine.request("/api/tokens/ada", { method: "DELETE", ...bearer(ADMIN) });
  assert.deepEqual([await first(), await second(), await environments()], [401, 401, 200]);

  const [{ hours }] = await engine.sql<[{ hours: number }]>`
    select (extract(epoch from expires_at - created_at) / 3600)::float as hours from etl.sessions`;
  assert.ok(Math.abs(hours - 12) < 0.01);
  const late = await session(ADMIN);
  await engine.sql`update etl.sessions set expires_at = now()`;
  assert.equal(await late(), 401);
  const brief = await session(await makeToken(engine, { name: "brief", role: "viewer" }));
  await engine.sql`update etl.api_tokens set expires_at = now()`;
  assert.equal(await brief(), 401, "with its token, when that expires");
});

Deno.test("a session of the environment's token ends when the server has another one", async (t) => {
  const database = await testDatabase(t);
  await using _database = database;
  await using engine = await startEngine(t, { workers: 1, env, database });
  const cookie = cookieOf(await signIn(engine, ADMIN));
  const status = async (server: Engine) =>
    (await server.request("/api/pools", { headers: { cookie } })).status;
  assert.equal(await status(engine), 200);
  const other = { ETL_ADMIN_TOKEN: `${ADMIN}-changed` };
  await using changed = await startEngine(t, { workers: 1, env: other, database });
  assert.equal(await status(changed), 401);
});

Deno.test("a session changes nothing for a page of another origin, or one that says nothing of its own", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  const cookie = cookieOf(await signIn(engine, ADMIN));
  const put = (headers: Record<string, string>, body = '{"slots": 2}') =>
    engine.request("/api/pools/small", { method: "PUT", headers: { cookie, ...headers }, body });
  const json = { "content-type": "application/json" };
  const ours = { ...json, origin: "http://localhost" };
  assert.equal((await put(json)).status, 403);
  assert.equal((await put({ ...json, origin: "http://evil.example" })).status, 403);
  assert.equal((await put({ ...json, origin: "null" })).status, 403);
  assert.equal((await put({ ...ours, "sec-fetch-site": "cross-site" })).status, 403);
  assert.equal((await put({ ...ours, "sec-fetch-site": "same-site" })).status, 403);
  assert.equal(
    (await put({ "content-type": "text/plain", origin: "http://localhost" })).status,
    403,
  );
  assert.equal((await put({ origin: "http://localhost" })).status, 403);
  assert.equal((await put({ ...ours, "sec-fetch-site": "same-origin" })).status, 201);
  // a token is no cookie: no page can send it unasked
  const headers = { ...json, ...bearer(ADMIN).headers };
  const loaded = await engine.request("/api/pools/small", {
    method: "PUT",
    headers,
    body: '{"slots": 3}',
  });
  assert.equal(loaded.status, 200);
});

// a limit keeps a timer for each caller
const unwatched = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "attempts to sign in are counted by address, as trusted proxies tell it",
  unwatched,
  async (t) => {
    await using engine = await startEngine(t, {
      workers: 1,
      env: {
        ETL_ADMIN_TOKEN: ADMIN,
        ETL_SIGN_INS_PER_MINUTE: "2",
        ETL_TRUSTED_PROXIES: "127.0.0.1",
      },
    });
    const attempt = (forwarded: string) =>
      engine.request("/etl/sign-in", {
        method: "POST",
        headers: { "x-forwarded-for": forwarded },
        body: new URLSearchParams({ token: "x" }),
      });
    const statuses = async (...from: string[]) => {
      const found: number[] = [];
      for (const each of from) found.push((await attempt(each)).status);
      return found;
    };
    // what the caller writes in front of the proxy's entry makes no new caller
    assert.deepEqual(
      await statuses("203.0.113.7", "198.51.100.1, 203.0.113.7", "10.0.0.1, 203.0.113.7"),
      [401, 401, 429],
    );
    assert.deepEqual(
      await statuses("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"),
      [401, 401, 429, 401],
    );
    const late = await attempt("203.0.113.7");
    const seconds = Number(late.headers.get("retry-after"));
    assert.ok(seconds > 0 && seconds <= 60);
    assert.match(await late.text(), new RegExp(`Try again in ${seconds} s`));
  },
);

Deno.test(
  "requests that start work are counted by token, and 429 says when to come back",
  unwatched,
  async (t) => {
    await using engine = await startEngine(t, {
      workers: 1,
      env: { ETL_ADMIN_TOKEN: ADMIN, ETL_TRIGGERS_PER_MINUTE: "2" },
    });
    const tokens: string[] = [];
    for (const name of ["one", "two"]) {
      tokens.push(await makeToken(engine, { name, role: "operator" }));
    }
    const run = (token: string) => engine.post("/api/etl/run", {}, bearer(token).headers);
    for (let i = 0; i < 2; i++) assert.equal((await run(tokens[0]!)).status, 202);
    const answer = await run(tokens[0]!);
    const problem = await problemOf(answer);
    assert.deepEqual([problem.status, problem.type], [429, "/api/problems/too-many-requests"]);
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
    assert.equal((await run(tokens[1]!)).status, 202);
    // looking is not starting
    assert.equal((await engine.request("/api/etl/runs", bearer(tokens[0]!))).status, 200);
  },
);

Deno.test("a server whose clock is wrong by a month lets in who may come in, and makes tokens and sessions of the length that was asked for", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env });
  for (const [name, days] of [["ahead", 30], ["behind", -30]] as const) {
    using _ = wrongClock(days);
    const made = await engine.request("/api/tokens", {
      method: "POST",
      headers: { ...bearer(ADMIN).headers, "content-type": "application/json" },
      body: JSON.stringify({ name, role: "viewer", expires_in_days: 2 }),
    });
    assert.equal(made.status, 201);
    const { token } = await made.json();
    const cookie = cookieOf(await signIn(engine, token));
    const look = () =>
      engine.request("/api/pools", { headers: { cookie } }).then(({ status }) => status);
    assert.deepEqual([await look(), (await engine.request("/api/pools", bearer(token))).status], [
      200,
      200,
    ]);
    const [row] = await engine.sql`
      select extract(epoch from t.expires_at - now())::float / 86400 as token, extract(epoch from s.expires_at - now())::float / 3600 as session
      from etl.api_tokens as t join etl.sessions as s using (token_id) where t.name = ${name}`;
    assert.ok(Math.abs(row!.token - 2) < 0.01, row!.token);
    assert.ok(Math.abs(row!.session - 12) < 0.01, row!.session);
    const over = await makeToken(engine, {
      name: `over-${name}`,
      role: "admin",
      expiresInDays: -1,
    });
    assert.equal((await engine.request("/api/pools", bearer(over))).status, 401);
  }
});
