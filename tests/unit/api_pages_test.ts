import assert from "node:assert/strict";
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { docsRoutes } from "../../routes/docs.ts";
import { belowBase } from "../../routes/shared/base_path.ts";
import { PROBLEM_TYPES } from "../../vocabulary/problem_types.ts";
import { PROBLEMS_ES } from "../../vocabulary/problems_es.ts";

const HTML = { accept: "text/html" };
const SPANISH = { "accept-language": "es" };

/** A small API with its description: routes that have a line in ROUTES, with schemas of this test. */
function describedApi(basePath = "") {
  const app = new OpenAPIHono();
  app.use(belowBase({ basePath, trustedProxies: [] }));
  app.onError((error, c) => c.json({ detail: error.message }, 404));
  const part = z.object({ n: z.number().min(1).max(9).optional().describe("how <many>") });
  const answer = z.object({ part: part.openapi("Part"), kind: z.enum(["a", "b"]).default("a") });
  const ok = {
    description: "it",
    content: { "application/json": { schema: answer.openapi("Whole") } },
  };
  const own = { description: "my own words", content: {} };
  app.openAPIRegistry.registerPath({
    ...createRoute({
      method: "patch",
      path: "/api/datasets/{dataset}/columns",
      summary: "Change it",
      request: {
        params: z.object({ dataset: z.string().openapi({ description: "which one" }) }),
        body: { content: { "application/json": { schema: part } } },
      },
      responses: { 200: ok, 415: own },
    }),
  });
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/runs/{id}/retry",
    responses: { 202: ok },
  });
  app.openAPIRegistry.registerPath({ method: "get", path: "/livez", responses: { 200: ok } });
  docsRoutes(app);
  const get = async (path: string, headers: Record<string, string> = {}) =>
    await app.request(path, { headers });
  return {
    get,
    json: async (path: string, headers = {}) => await (await get(path, headers)).json(),
    text: async (path: string, headers = {}) =>
      (await (await get(path, headers)).text()).replaceAll(/\s+/g, " "),
  };
}

Deno.test("the description of the API says who may use a route, and what those are told who may not", async () => {
  const { json } = describedApi();
  const { paths, servers, components } = await json("/api/openapi.json");
  const change = paths["/api/datasets/{dataset}/columns"].patch;
  assert.equal(change["x-role"], "admin");
  assert.deepEqual(change.security, [{ token: [] }, { session: [] }]);
  assert.deepEqual(
    Object.keys(change.responses),
    ["200", "400", "401", "403", "413", "415", "503"],
  );
  assert.equal(change.responses[415].description, "my own words");
  assert.match(change.responses[403].description, /the role admin is needed/);
  const retry = paths["/api/etl/runs/{id}/retry"].post;
  assert.deepEqual([retry["x-role"], "429" in retry.responses], ["operator", true]);
  const livez = paths["/livez"].get;
  assert.deepEqual([livez["x-role"], livez.security], [undefined, []]);
  assert.deepEqual(Object.keys(livez.responses), ["200", "403"]);
  assert.deepEqual(Object.keys(components.securitySchemes), ["token", "session"]);
  assert.deepEqual(servers, [{ url: "/" }]);
  const below = await describedApi("/tools/etl").json("/api/openapi.json");
  assert.deepEqual(below.servers, [{ url: "/tools/etl" }]);
});

Deno.test("the page of the API has every address with its role, parameters, members and answers", async () => {
  const page = await describedApi().text("/api/docs", HTML);
  for (
    const part of [
      // an address leads to its section
      '<a href="#patch-api-datasets-dataset-columns"><code>/api/datasets/{dataset}/columns</code></a>',
      '<section id="patch-api-datasets-dataset-columns">',
      "<p>For the role admin.</p>",
      "<p>For anyone.</p>",
      "<td><code>dataset</code> (required)</td> <td>path</td> <td>string</td> <td>which one</td>",
      '<td><code>part</code></td> <td><a href="#schema-Part">Part</a></td>',
      '<section id="schema-Part">',
      "<td><code>n</code> <small>optional</small> </td> <td>number 1 to 9</td>",
      "<td>how &lt;many&gt;</td>",
      "<td><code>&quot;a&quot;</code> or <code>&quot;b&quot;</code></td> <td><code>&quot;a&quot;</code></td>",
      "<li><code>415</code> my own words",
      "<code>PATCH</code>",
    ]
  ) {
    assert.ok(page.includes(part), `${part} in ${page.slice(page.indexOf("<h2>"))}`);
  }
});

Deno.test("pages of the API run nothing, and lead below the path under which a proxy publishes them", async () => {
  const api = describedApi("/tools/etl");
  for (const path of ["/api/docs", "/api/problems", "/api/problems/conflict"]) {
    const page = await api.get(path, HTML);
    const policy = page.headers.get("content-security-policy")!;
    assert.match(policy, /^default-src 'none'; style-src 'self';/);
    assert.ok(policy.includes("frame-ancestors 'none'"));
    const text = await page.text();
    assert.ok(text.includes('href="/tools/etl/api/docs/style.css"'), path);
    assert.ok(!/(href|src)="\/api/.test(text), path);
  }
  const style = await api.get("/api/docs/style.css");
  assert.match(style.headers.get("content-type")!, /^text\/css/);
});

Deno.test("kinds of problem are explained to browsers as pages, to others as JSON, in the language that is asked for", async () => {
  const { get, json, text } = describedApi();
  const { items } = await json("/api/problems");
  assert.deepEqual(
    items.map(({ type }: { type: string }) => type),
    Object.keys(PROBLEM_TYPES).map((type) => `/api/problems/${type}`),
  );
  const english = await json("/api/problems/disk-full");
  assert.deepEqual(english.remedies, PROBLEM_TYPES["disk-full"].remedies);
  const { remedies, title } = await json("/api/problems/disk-full", SPANISH);
  assert.deepEqual([remedies, title], [
    PROBLEMS_ES["disk-full"].remedies,
    PROBLEMS_ES["disk-full"].title,
  ]);
  // the dashboard's choice counts before the browser's
  assert.deepEqual(await json("/api/problems/disk-full?lang=en", SPANISH), english);
  const page = await text("/api/problems/disk-full?lang=es", HTML);
  assert.ok(page.includes('<html lang="es">') && page.includes("<h2>Qué hacer</h2>"), page);
  const list = await text("/api/problems?lang=es", HTML);
  assert.ok(list.includes(`<a href="/api/problems/disk-full?lang=es">${title}</a>`), list);
  // what stands between backticks is code
  const [remedy] = Object.values(PROBLEM_TYPES).flatMap(({ remedies }) => remedies)
    .filter((each) => /^[^`<>&"']+`[^`<>&"']+`[^`<>&"']*$/.test(each));
  const type = Object.entries(PROBLEM_TYPES)
    .find(([, { remedies }]) => (remedies as readonly string[]).includes(remedy!))![0];
  const [before, code] = remedy!.split("`");
  assert.ok((await text(`/api/problems/${type}`, HTML)).includes(`${before}<code>${code}</code>`));
  for (const none of ["none", "constructor"]) {
    assert.equal((await get(`/api/problems/${none}`)).status, 404);
  }
});
