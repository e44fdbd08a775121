import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { tcpProxy } from "../helpers/tcp_proxy.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";

const ADMIN = "a-token-of-the-environment-0123456789";
// connections that were cut are given up a little later
const unwatched = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "while the database is out of reach, known tokens go on telling why",
  unwatched,
  async (t) => {
    let proxy: ReturnType<typeof tcpProxy> | undefined;
    const through = (dsn: string) =>
      (proxy = tcpProxy({ port: Number(new URL(dsn).port) })).through(dsn);
    await using engine = await startEngine(t, {
      workers: 1,
      dsn: through,
      env: { ETL_ADMIN_TOKEN: ADMIN },
    });
    const known = await makeToken(engine, { name: "prometheus", role: "viewer" });
    const fresh = await makeToken(engine, { name: "late", role: "viewer" });
    const metrics = (token: string) => engine.request("/api/etl/metrics", bearer(token));
    assert.equal((await metrics(known)).status, 200);
    await using _proxy = proxy!;
    proxy!.refuse(true);
    for (const token of [known, ADMIN]) {
      const answer = await metrics(token);
      assert.equal(answer.status, 200);
      assert.match(await answer.text(), /etl_database_up 0/);
    }
    // what was not looked up before cannot be judged: not a refusal, and no way in
    assert.equal((await metrics(fresh)).status, 503);
    assert.equal((await engine.request("/api/etl/metrics")).status, 401);
    assert.equal((await metrics("etl_nonsense")).status, 401);
  },
);

Deno.test(
  "a server that was open stays open while the database is out of reach",
  unwatched,
  async (t) => {
    let proxy: ReturnType<typeof tcpProxy> | undefined;
    const through = (dsn: string) =>
      (proxy = tcpProxy({ port: Number(new URL(dsn).port) })).through(dsn);
    await using engine = await startEngine(t, { workers: 1, dsn: through });
    assert.equal((await engine.request("/api/etl/metrics")).status, 200);
    await using _proxy = proxy!;
    proxy!.refuse(true);
    const health = await engine.request("/api/etl/health");
    assert.equal(health.status, 503);
    assert.match(await health.text(), /the database cannot be reached/);
  },
);
