import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";

const ADMIN = "a-token-of-the-environment-0123456789";

Deno.test("every change is audited with the name of the token that made it", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_ADMIN_TOKEN: ADMIN } });
  const admin = await makeToken(engine, { name: "ada", role: "admin" });
  const operator = await makeToken(engine, { name: "otto", role: "operator" });
  const change = async (method: string, path: string, body?: unknown, token = admin) => {
    const answer = await engine.request(path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: { "content-type": "application/json", ...bearer(token).headers },
    });
    assert.ok(answer.ok, `${method} ${path}: ${await answer.clone().text()}`);
    return answer;
  };
  const suite = { expectations: [] };
  await change("PUT", "/api/configurations/c", { conf: { batch_size: 5 } });
  await change("PUT", "/api/variables/v", { value: 1 });
  await change("PUT", "/api/pools/p", { slots: 1 });
  await change("PUT", "/api/suites/s", suite);
  await change("DELETE", "/api/configurations/c");
  await change("DELETE", "/api/variables/v");
  await change("DELETE", "/api/pools/p");
  await change("DELETE", "/api/suites/s");
  await change("POST", "/api/tokens", { name: "temp", role: "viewer" });
  await change("DELETE", "/api/tokens/temp");
  await change("POST", "/api/etl/downstream", {}, operator);
  await change("POST", "/api/etl/maintenance", {}, operator);
  const { run_id } = await (await change("POST", "/api/etl/run", {}, operator)).json();
  await change("POST", `/api/etl/runs/${run_id}/cancel`, undefined, admin);
  await change("POST", `/api/etl/runs/${run_id}/retry`, undefined, operator);
  await engine.request("/etl/sign-in", {
    method: "POST",
    body: new URLSearchParams({ token: operator }),
  });

  const lines = await engine.sql<{ event: string; actor: string }[]>`
    select event, actor from public.etl_improved_audit
    where not (actor = 'test' and event = 'tokens_create') order by audit_id`;
  assert.deepEqual(lines.map(({ event, actor }) => `${actor} ${event}`), [
    "ada configurations_put",
    "ada variables_put",
    "ada pools_put",
    "ada suites_put",
    "ada configurations_delete",
    "ada variables_delete",
    "ada pools_delete",
    "ada suites_delete",
    "ada tokens_create",
    "ada tokens_revoke",
    "otto consumer_requested",
    "otto maintenance_requested",
    "otto requested",
    "ada cancelled",
    "otto retry_requested",
    "otto sign_in",
  ]);
  const run = await engine.run(run_id);
  assert.deepEqual([run.requested_by, run.trigger], ["otto", "http"]);
  const eve = await makeToken(engine, { name: "eve", role: "admin" });
  await change("PUT", "/api/schedules/s", { cron: "@daily" });
  const schedule = await change("PUT", "/api/schedules/s", { cron: "@hourly" }, eve);
  assert.equal((await schedule.json()).updated_by, "eve");
});
