import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";

const ADMIN = "a-token-of-the-environment-0123456789";
// a limit keeps a timer for each caller
const unwatched = { sanitizeOps: false, sanitizeResources: false };

function signIn(engine: Engine, token: string) {
  return engine.request("/etl/sign-in", {
    method: "POST",
    headers: { origin: "http://localhost" },
    body: new URLSearchParams({ token, to: "/etl" }),
  });
}

const unknown = (i: number) => `etl_${i.toString(16).padStart(10, "0")}_${"x".repeat(43)}`;

Deno.test(
  "wrong tokens are counted, logged and limited, and lock out nobody who shows a right one",
  unwatched,
  async (t) => {
    await using engine = await startEngine(t, {
      workers: 1,
      env: { ETL_ADMIN_TOKEN: ADMIN, ETL_SIGN_INS_PER_MINUTE: "10" },
    });
    const token = await makeToken(engine, { name: "ada", role: "viewer" });
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) statuses.push((await signIn(engine, "wrong")).status);
    assert.deepEqual(statuses, [...Array(10).fill(401), 429, 429]);
    // others behind the same address, with right tokens, as often as they like
    for (let i = 0; i < 12; i++) assert.equal((await signIn(engine, token)).status, 303);
    assert.equal((await engine.request("/api/etl/runs", bearer(token))).status, 200);

    const many = await Promise.all(
      Array.from({ length: 100 }, (_, i) => engine.request("/api/etl/runs", bearer(unknown(i)))),
    );
    assert.ok(many.every(({ status }) => status === 429), "the address had too many");
    const { status, retry_after_seconds } = await problemOf(many[0]!) as unknown as {
      status: number;
      retry_after_seconds: number;
    };
    assert.ok(status === 429 && retry_after_seconds > 0);
    assert.equal(many[0]!.headers.get("retry-after"), `${retry_after_seconds}`);
    assert.equal((await engine.request("/api/etl/runs", bearer(token))).status, 200);
    assert.equal((await engine.request("/api/etl/runs")).status, 401);
    assert.equal((await engine.post("/api/etl/run", {}, bearer(token).headers)).status, 403);
    const foreign = { ...bearer(token).headers, origin: "http://evil.example" };
    assert.equal((await engine.request("/api/etl/runs", { headers: foreign })).status, 403);

    const metrics = await (await engine.request("/api/etl/metrics", bearer(token))).text();
    const counted = (reason: string) =>
      Number(
        new RegExp(`etl_auth_failures_total\\{reason="${reason}"\\} (\\d+)`).exec(metrics)![1],
      );
    assert.deepEqual(
      ["sign_in", "limited", "missing", "role", "origin", "token"].map(counted),
      [10, 102, 1, 1, 1, 0],
    );
    const refused = engine.log.filter((line) => line.includes("refused"));
    assert.match(refused[0]!, /reason=sign_in.*address=127\.0\.0\.1/);
    // a flood does not fill the log
    assert.equal(refused.length, 20);
    assert.match(refused.at(-1)!, /more of this minute are not logged/);
  },
);

Deno.test(
  "a token's prefix is limited whatever address it comes from, and its right token is not",
  unwatched,
  async (t) => {
    await using engine = await startEngine(t, {
      workers: 1,
      env: {
        ETL_ADMIN_TOKEN: ADMIN,
        ETL_SIGN_INS_PER_MINUTE: "3",
        ETL_TRUSTED_PROXIES: "127.0.0.1",
      },
    });
    const token = await makeToken(engine, { name: "ada", role: "viewer" });
    const guess = `${token.slice(0, -3)}abc`;
    const ask = (shown: string, i: number, network = "203.0.113.") =>
      engine.request("/api/etl/runs", {
        headers: { ...bearer(shown).headers, "x-forwarded-for": `${network}${i}` },
      }).then(({ status }) => status);
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push(await ask(guess, i));
    assert.deepEqual(statuses, [401, 401, 401, 429, 429]);
    assert.equal(await ask(token, 9), 200);
    assert.ok(
      engine.log.some((line) => line.includes(token.slice(0, 14)) && line.includes("reason=token")),
    );
    assert.ok(engine.log.every((line) => !line.includes(guess)));
    // of IPv6 who guesses has a /64
    const guesses: number[] = [];
    for (let i = 1; i < 6; i++) guesses.push(await ask(unknown(i), i, "2001:db8:0:1::"));
    assert.deepEqual(guesses, [401, 401, 401, 429, 429]);
    assert.equal(await ask(unknown(6), 6, "2001:db8:0:2::"), 401);
  },
);

Deno.test("what programs are answered is kept by nobody, and is what it says", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  for (
    const path of [
      "/api/etl/runs",
      "/livez",
      "/readyz",
      "/api/nothing",
      "/api/etl/metrics",
      "/api/docs",
      "/api/openapi.json",
      "/api/metrics/history?format=csv",
    ]
  ) {
    const { headers } = await engine.request(path);
    assert.deepEqual(
      ["x-content-type-options", "cache-control", "cross-origin-resource-policy"].map((name) =>
        headers.get(name)
      ),
      ["nosniff", "no-store", "same-origin"],
      path,
    );
  }
  for (const path of ["/etl", "/etl/sign-in", "/etl/assets/x", "/etl/runs.csv"]) {
    const { headers } = await engine.request(path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("cross-origin-resource-policy"), "same-origin", path);
  }
});

Deno.test("signing out everywhere ends every session of the token, and nobody else's", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const token = await makeToken(engine, { name: "ada", role: "viewer" });
  const session = async (shown: string) => {
    const answer = await signIn(engine, shown);
    return answer.headers.get("set-cookie")!.split(";")[0]!;
  };
  const cookies = [await session(token), await session(token), await session(ADMIN)];
  const statuses = () =>
    Promise.all(
      cookies.map((cookie) =>
        engine.request("/api/pools", { headers: { cookie } }).then(({ status }) => status)
      ),
    );
  assert.deepEqual(await statuses(), [200, 200, 200]);
  const page = await (await engine.request("/etl", { headers: { cookie: cookies[0]! } })).text();
  assert.match(page, /name="everywhere"/);
  const out = await engine.request("/etl/sign-out", {
    method: "POST",
    headers: { cookie: cookies[0]!, origin: "http://localhost" },
    body: new URLSearchParams({
      form_token: /name="form_token" value="([^"]+)"/.exec(page)![1]!,
      everywhere: "yes",
    }),
  });
  assert.equal(out.status, 303);
  assert.deepEqual(await statuses(), [401, 401, 200]);
  // an admin does the same for others; the token itself goes on working
  cookies[0] = await session(token);
  const ended = await engine.request("/api/tokens/ada/sessions", {
    method: "DELETE",
    ...bearer(ADMIN),
  });
  assert.deepEqual(await ended.json(), { ended: 1 });
  assert.equal((await engine.request("/api/pools", bearer(token))).status, 200);
  const all = await engine.request("/api/tokens/environment/sessions", {
    method: "DELETE",
    ...bearer(ADMIN),
  });
  assert.deepEqual(await all.json(), { ended: 1 });
  assert.deepEqual(await statuses(), [401, 401, 401]);
  const audited = await engine.sql`
    select event from public.etl_improved_audit where event = 'sign_out_everywhere'`;
  assert.equal(audited.length, 3);
});
