import { OpenAPIHono } from "@hono/zod-openapi";
import assert from "node:assert/strict";
import { healthRoutes, Pulse } from "../../routes/health.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("livez is 503 when timers have stood still for 10 s, and 200 when they fire again", async () => {
  let silentMs = 0;
  const app = new OpenAPIHono();
  healthRoutes(app, { status: () => ({ silentMs }) } as never);
  for (const [ms, status] of [[0, 200], [9_999, 200], [10_000, 503], [71_500, 503], [3, 200]]) {
    silentMs = ms!;
    const response = await app.request("/livez");
    assert.equal(response.status, status, `${ms} ms`);
    const { problems } = await response.json();
    if (ms === 71_500) assert.match(problems[0], /stood still for 71 s: restart/);
  }
});

Deno.test("a pulse tells how long no timer has fired", async () => {
  const pulse = new Pulse(1);
  try {
    const started = performance.now();
    while (performance.now() - started < 200);
    assert.equal(pulse.silentMs >= 200, true);
    await waitFor(() => pulse.silentMs < 150);
  } finally {
    pulse.stop();
  }
});
