import assert from "node:assert/strict";
import { Batched, Remembered } from "../../routes/access/access.ts";
import { clientOfRequest, isLoopback, limitKey } from "../../routes/access/client_address.ts";
import {
  newSession,
  newToken,
  parseSession,
  parseToken,
  sameHash,
  sha256,
} from "../../routes/access/credential.ts";
import { neededFor, requireRoles, routeName, ROUTES } from "../../routes/access/route_rules.ts";
import { returnPath } from "../../routes/access/session.ts";
import { createLog } from "../../telemetry/log.ts";

Deno.test("tokens and sessions have 256 random bits, and are found by a part that is no secret", () => {
  const token = newToken();
  assert.match(token.text, /^etl_[0-9a-f]{10}_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(parseToken(token.text), token);
  const session = newSession();
  assert.deepEqual(parseSession(session.text), session);
  assert.notEqual(newToken().text, token.text);
  for (const text of ["", "etl_", `${token.text}x`, ` ${token.text}`, session.text]) {
    assert.equal(parseToken(text), null);
  }
  assert.equal(parseSession(token.text), null);
});

Deno.test("sameHash() compares whole hashes, whatever their lengths", () => {
  const hash = sha256("a");
  assert.ok(sameHash(hash, sha256("a")));
  assert.ok(!sameHash(hash, sha256("b")));
  const last = hash.slice();
  last[31] = last[31]! ^ 1;
  assert.ok(!sameHash(hash, last));
  assert.ok(!sameHash(hash, hash.slice(1)));
  assert.ok(!sameHash(hash, new Uint8Array()));
});

Deno.test("requireRoles() names each route that nobody has said may be used by whom", () => {
  requireRoles([{ method: "GET", path: "/livez" }, { method: "ALL", path: "/*" }]);
  assert.throws(
    () => requireRoles([{ method: "POST", path: "/api/new/:id{[0-9]+}" }]),
    /POST \/api\/new\/\{id\}.*ROUTES in routes\/access\/route_rules\.ts/,
  );
  assert.throws(() => requireRoles([{ method: "ALL", path: "/api/x" }]), /answers to every method/);
  assert.equal(neededFor("POST /api/new"), "admin");
  assert.equal(neededFor(undefined), "viewer");
  assert.equal(routeName({ method: "GET", path: "/etl/" }), "GET /etl");
  assert.equal(routeName({ method: "GET", path: "/" }), "GET /");
});

Deno.test("who looks is a viewer, who starts or stops work an operator, who changes what there is an admin", () => {
  const others: Record<string, string> = {
    // docs/security.md has the exceptions
    "POST /api/schedules/preview": "viewer",
    "GET /api/connections/{name}/tables": "operator",
    "GET /api/tokens": "admin",
    "POST /api/tokens": "admin",
    "POST /api/datasets/{dataset}/distribute": "admin",
    "POST /api/datasets/{dataset}/forget": "admin",
  };
  const open =
    /^GET \/(livez|readyz|api\/problems.*|api\/docs\/style.css|etl\/assets\/.*|etl\/sign-in)?$|^POST \/etl\//;
  const byMethod: Record<string, string> = { GET: "viewer", POST: "operator" };
  const starts: string[] = [];
  // pages and their data say it themselves, where an app has been made in this process
  const listed = Object.entries(ROUTES).filter(([route]) =>
    open.test(route) || !/^GET \/etl(\/(?!events$|\*$)|$)/.test(route)
  );
  for (const [route, { role, startsWork: begins = false }] of listed) {
    const method = route.split(" ")[0]!;
    const needed = open.test(route) ? "anyone" : others[route] ?? byMethod[method] ?? "admin";
    assert.equal(role, needed, route);
    if (begins) starts.push(route);
  }
  // what counts for ETL_TRIGGERS_PER_MINUTE
  const small = /\/(cancel|pause|resume|alerts\/handle|alerts\/test)$/;
  assert.deepEqual(
    starts.sort(),
    listed.filter(([route, { role }]) =>
      route.endsWith("/forget") || role === "operator" && !small.test(route)
    ).map(([route]) => route).sort(),
  );
});

Deno.test("isLoopback() knows the addresses that only this machine reaches", () => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"]) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "127.0.0.1.example"]) {
    assert.ok(!isLoopback(host), host);
  }
  assert.ok(isLoopback("::ffff:127.0.0.1"));
});

Deno.test("X-Forwarded-For and -Proto count from trusted proxies alone, read from the right", () => {
  const client = (peer: string, headers: Record<string, string>, proxies: string[]) =>
    clientOfRequest({
      env: { remoteAddr: { hostname: peer } },
      req: { header: (name: string) => headers[name] },
    } as never, proxies);
  const forged = { "x-forwarded-for": "1.1.1.1", "x-forwarded-proto": "https" };
  assert.deepEqual(client("9.9.9.9", forged, []), { address: "9.9.9.9", https: false });
  assert.deepEqual(client("9.9.9.9", forged, ["10.0.0.0/8"]), { address: "9.9.9.9", https: false });
  assert.deepEqual(client("10.0.0.2", forged, ["10.0.0.0/8"]), { address: "1.1.1.1", https: true });
  assert.deepEqual(
    client("::ffff:10.0.0.2", { "x-forwarded-for": "6.6.6.6, 2.2.2.2, 10.0.0.3" }, ["10.0.0.0/8"]),
    { address: "2.2.2.2", https: false },
  );
  const odd = { "x-forwarded-for": "nonsense, " };
  assert.equal(client("10.0.0.2", odd, ["10.0.0.2"]).address, "10.0.0.2");
  assert.equal(limitKey("2001:db8:1:2:3::4"), limitKey("2001:db8:1:2:ffff::1"));
  assert.notEqual(limitKey("2001:db8:1:2::1"), limitKey("2001:db8:1:3::1"));
});

Deno.test("returnPath() leads nowhere but to this server", () => {
  for (
    const path of [
      "/etl",
      "/etl/runs?x=1&y=%2F",
      "/api/docs",
      "/etl?run_label=a",
      "/etl/search?q=/../a",
    ]
  ) {
    assert.equal(returnPath(path), path);
  }
  const others = ["//x", "/\\x", "/etl\\x", "/etl/../x", "/etlx", "https://x/etl", "/etl/\n", 5];
  for (const path of [...others, undefined]) assert.equal(returnPath(path), "/etl");
});

Deno.test("what was looked up is used for a short while, looked up anew after a change, and while that fails", async () => {
  let now = 0;
  let answer: string | null | Error = "one";
  let asked = 0;
  const remembered = new Remembered<string>(() => {
    asked++;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  }, { now: () => now, freshMs: 5000, staleMs: 60_000, max: 2 });
  const get = () => remembered.get("a");
  assert.deepEqual([await get(), await get(), asked], ["one", "one", 1]);
  answer = "two";
  now = 4999;
  assert.equal(await get(), "one");
  now = 5000;
  assert.equal(await get(), "two");
  answer = "three";
  remembered.expire();
  assert.deepEqual(await Promise.all([get(), get()]), ["three", "three"]);
  assert.equal(asked, 3);
  answer = new Error("down");
  remembered.expire();
  assert.deepEqual([await get(), await get(), asked], ["three", "three", 4]);
  now += 30_000;
  assert.equal(await get(), "three", "still out of reach");
  now += 30_001;
  await assert.rejects(get, /down/);
  answer = null;
  assert.equal(await get(), null);
  answer = "back";
  assert.equal(await get(), "back");
});

Deno.test("what was looked up is used for five seconds, and for five minutes where nobody can be asked", async () => {
  let now = 0;
  let asked = 0;
  const remembered = new Remembered<string>(() => {
    return ++asked === 1 ? Promise.resolve("known") : Promise.reject(new Error("down"));
  }, { now: () => now });
  for (const [at, looks] of [[0, 1], [4_999, 1], [5_000, 2], [300_000, 3]] as const) {
    now = at;
    assert.deepEqual([await remembered.get("a"), asked], ["known", looks], `after ${at} ms`);
  }
  now = 305_000;
  await assert.rejects(remembered.get("a"), /down/);
});

Deno.test("of more answers than are kept the one that was looked up longest ago is asked for again", async () => {
  const asked: string[] = [];
  const remembered = new Remembered<string>((key) => {
    asked.push(key);
    return Promise.resolve(key);
  }, { max: 2 });
  for (const key of ["a", "b", "a", "c", "b", "c", "a"]) {
    assert.equal(await remembered.get(key), key);
  }
  assert.deepEqual(asked, ["a", "b", "c", "a"]);
});

Deno.test("an answer from before a change is not kept", async () => {
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  let asked = 0;
  const remembered = new Remembered<string>(() => answers[asked++]!.promise);
  const early = remembered.get("a");
  remembered.expire();
  const late = remembered.get("a");
  answers[1]!.resolve("after");
  assert.equal(await late, "after");
  answers[0]!.resolve("before");
  assert.equal(await early, "before");
  assert.equal(await remembered.get("a"), "after");
});

Deno.test("the log hides tokens that it was never told of, and says which they were", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "text", write: (line) => lines.push(line) });
  const { text, id } = newToken();
  log.info(`seen ${text}`, { header: `Bearer ${text}`, error: new Error(text) });
  assert.ok(!lines[0]!.includes(text));
  assert.equal(lines[0]!.split(`etl_${id}_***`).length - 1 >= 3, true);
});

Deno.test("guesses make one look-up at a time, and what was not there is not looked up again", async () => {
  let running = 0;
  let looks = 0;
  const batched = new Batched(async (keys: string[]) => {
    looks++;
    assert.equal(++running, 1);
    await Promise.resolve();
    running--;
    return new Map(keys.filter((key) => key === "there").map((key) => [key, `${key}!`]));
  });
  let now = 0;
  const remembered = new Remembered((key) => batched.get(key), {
    now: () => now,
    missingMs: 5_000,
  });
  const all = () =>
    Promise.all(
      [...Array.from({ length: 300 }, (_, i) => `guess ${i}`), "there"].map((key) =>
        remembered.get(key)
      ),
    );
  assert.deepEqual((await all()).filter((found) => found !== null), ["there!"]);
  assert.equal(looks, 2);
  await all();
  assert.equal(looks, 2);
  now = 6_000;
  await all();
  assert.equal(looks, 4);
  remembered.expire();
  await all();
  assert.equal(looks, 6);
  const failing = new Batched<string>(() => Promise.reject(new Error("away")));
  await assert.rejects(failing.get("x"), /away/);
  await assert.rejects(failing.get("x"), /away/);
});
