import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import { maintenanceRoutes } from "../../routes/maintenance.ts";
import { runRoutes } from "../../routes/runs.ts";
import type { AppDeps } from "../../routes/shared/deps.ts";
import { limitLoad } from "../../routes/shared/load.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { waitFor } from "../helpers/wait_for.ts";

const ID = "00000000-0000-7000-8000-000000000001";

/** All that there are, newest first. */
const IDS = [5, 4, 3, 2, 1].map((n) => `00000000-0000-7000-8000-00000000000${n}`);
const NONE = "00000000-0000-7000-8000-00000000000f";

/** The routes of maintenances and runs over a database that answers by itself. */
function routes({ endsAfter = 0 } = {}) {
  const server = { draining: false };
  const asked: { conf: unknown; options: unknown }[] = [];
  const statements: string[] = [];
  /** Values of parts of statements. */
  const valuesOfParts: unknown[] = [];
  let looks = 0;
  const view = () => {
    if (looks > 100) throw new Error("it is looked at all the time");
    const ended = looks++ >= endsAfter;
    return {
      maintenance_id: ID,
      state: ended ? "succeeded" : "running",
      ended_at: ended ? "2026-01-01T00:00:00.000Z" : null,
    };
  };
  const sql = (parts: TemplateStringsArray, ...values: unknown[]) => {
    const text = parts.join("?").trim();
    // the statement itself, not its parts
    if (!text.startsWith("select")) {
      valuesOfParts.push(...values);
      return text;
    }
    statements.push(text);
    if (text.includes("etl.request_maintenance")) {
      const [conf, options] = values.map((value) => JSON.parse(value as string));
      asked.push({ conf, options });
      return Promise.resolve([{ id: ID }]);
    }
    if (text.includes("order by m.maintenance_id desc limit")) {
      const last = valuesOfParts.at(-1) as string | undefined;
      const first = IDS.findIndex((id) => last === undefined || id < last);
      const page = IDS.slice(first, first + (values.at(-1) as number));
      return Promise.resolve(page.map((id) => ({ view: { maintenance_id: id } })));
    }
    return Promise.resolve(values.includes(NONE) ? [] : [{ view: view() }]);
  };
  const app = new OpenAPIHono();
  const many = { maxRequests: 9, maxStreams: 9, maxUploads: 9, maxBodiesBytes: 1 << 20 };
  app.use(limitLoad({ ...many, bodyTimeoutMs: 1000 }));
  app.use(async (c, next) => {
    c.set("caller", { key: "k", known: true, shares: false });
    c.set("leaveRequests", () => {});
    await next();
  });
  app.onError((error, c) => {
    assert.ok(error instanceof Problem, String(error));
    return c.json({ type: error.type, detail: error.message }, error.status as 400);
  });
  const deps = { sql, status: () => server } as unknown as AppDeps;
  maintenanceRoutes(app, deps);
  runRoutes(app, deps);
  const post = (path: string, body: unknown = {}, init: RequestInit = {}) =>
    app.request(path, {
      method: "POST",
      body: JSON.stringify(body),
      ...init,
      headers: { "content-type": "application/json", ...init.headers },
    });
  return { app, post, server, asked, statements, looks: () => looks };
}

Deno.test("a maintenance is asked for as whoever asks says, and its answer names it", async () => {
  const { post, asked } = routes({ endsAfter: 9 });
  const response = await post(
    "/api/etl/maintenance?confirm=true",
    { retention_days_events: 30 },
    { headers: { "x-etl-client": "cli" } },
  );
  assert.equal(response.status, 202);
  assert.equal(response.headers.get("location"), `/api/etl/maintenance/${ID}`);
  assert.equal((await response.json()).state, "running");
  await post("/api/etl/maintenance?confirm=false", undefined, { body: "" });
  assert.deepEqual(asked, [
    {
      conf: { retention_days_events: 30 },
      options: { trigger: "cli", requested_by: "cli", confirm: true },
    },
    { conf: {}, options: { trigger: "http", requested_by: "http", confirm: false } },
  ]);
});

Deno.test("whoever waits for a maintenance is answered when it has ended, and 202 by a server that stops", async () => {
  const ending = routes({ endsAfter: 2 });
  const response = await ending.post("/api/etl/maintenance?wait=true");
  assert.deepEqual([response.status, (await response.json()).state], [200, "succeeded"]);
  const stopping = routes({ endsAfter: Infinity });
  stopping.server.draining = true;
  const left = await stopping.post("/api/etl/maintenance?wait=true");
  assert.deepEqual([left.status, (await left.json()).state], [202, "running"]);
  assert.equal(left.headers.get("location"), `/api/etl/maintenance/${ID}`);
});

Deno.test("a maintenance is looked at a few times a second, and not for a client that is gone", async () => {
  const { post, looks } = routes({ endsAfter: Infinity });
  const gone = new AbortController();
  const waiting = post("/api/etl/maintenance?wait=true", {}, { signal: gone.signal });
  const started = performance.now();
  await waitFor(() => looks() === 3, { intervalMs: 5 });
  assert.ok(performance.now() - started > 300, "it is not looked at all the time");
  gone.abort();
  assert.equal((await waiting).status, 202);
  assert.ok(looks() <= 4, `${looks()}`);
});

Deno.test("a server that stops takes no runs, and says so before it reads what is sent", async () => {
  const { post, server, statements } = routes();
  server.draining = true;
  const response = await post("/api/etl/run", undefined, { body: "no JSON" });
  assert.equal(response.status, 503);
  const { type, detail } = await response.json();
  assert.equal(type, "unavailable");
  assert.match(detail, /stopping/);
  assert.deepEqual(statements, []);
});

Deno.test("what a maintenance is asked with has to be JSON, and flags are true or false", async () => {
  const { post, asked } = routes();
  const form = { "content-type": "application/x-www-form-urlencoded" };
  assert.equal((await post("/api/etl/maintenance", {}, { headers: form })).status, 415);
  for (const flag of ["wait", "dry_run", "confirm"]) {
    assert.equal((await post(`/api/etl/maintenance?${flag}=yes`)).status, 400, flag);
  }
  assert.deepEqual(asked, []);
});

Deno.test("pages of maintenances follow each other to the last, and one that is not there is told of", async () => {
  const { app } = routes();
  const seen: string[][] = [];
  let cursor = "";
  for (;;) {
    const response = await app.request(`/api/etl/maintenance?limit=2${cursor}`);
    const { items, next } = await response.json();
    seen.push(items.map(({ maintenance_id }: Record<string, string>) => maintenance_id));
    if (next === null || seen.length > 3) break;
    cursor = `&cursor=${next}`;
  }
  assert.deepEqual(seen, [IDS.slice(0, 2), IDS.slice(2, 4), IDS.slice(4)]);
  const none = await app.request(`/api/etl/maintenance/${NONE}`);
  assert.equal(none.status, 404);
  assert.match((await none.json()).detail, new RegExp(NONE));
});
