import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";

Deno.test("every error is a problem: unknown routes, ids, cursors, filters, hosts, origins", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const none = "00000000-0000-7000-8000-000000000000";
  const cursor = (value: unknown) => btoa(JSON.stringify(value));
  const cases: [string, number, RegExp, RequestInit?][] = [
    ["/api/nothing", 404, /nothing at \/api\/nothing/],
    ["/api/etl/runs/nope", 400, /id/],
    [`/api/etl/runs/${none}`, 404, /no run/],
    [`/api/etl/runs/${none}/events`, 404, /no run/],
    [`/api/etl/runs/${none}/chunks`, 404, /no run/],
    [`/api/etl/runs/${none}/logs`, 404, /no run/],
    [`/api/etl/runs/${none}/exports`, 404, /no run/],
    [`/api/etl/runs/${none}/cancel`, 404, /no run/, { method: "POST" }],
    [`/api/etl/runs/${none}/retry`, 404, /no run/, { method: "POST" }],
    ["/api/etl/runs?limit=0", 400, /limit/],
    ["/api/etl/runs?limit=x", 400, /limit/],
    ["/api/etl/runs?state=odd", 400, /state/],
    ["/api/etl/runs?cursor=!", 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["x", "y"])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["2026-01-01T00:00:00Z", 5])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor(["2026-02-30T00:00:00Z", none])}`, 400, /cursor/],
    [`/api/etl/runs?cursor=${cursor({})}`, 400, /cursor/],
    ["/api/etl/run", 405, /GET is not possible .* possible: POST/],
    ["/api/etl/runs", 405, /possible: GET, HEAD/, { method: "PUT" }],
    ["/api/etl/runs", 403, /ETL_ALLOWED_HOSTS/, { headers: { host: "evil.example" } }],
    ["/api/problems", 403, /ETL_ALLOWED_HOSTS/, { headers: { host: "evil.example" } }],
    ["/livez", 403, /another origin/, { headers: { origin: "http://evil.example" } }],
    ["/livez", 403, /another origin/, { headers: { origin: "null" } }],
    ["/api/etl/run", 403, /another origin/, {
      method: "POST",
      headers: { "sec-fetch-site": "cross-site" },
    }],
  ];
  for (const [path, status, detail, init] of cases) {
    const problem = await problemOf(await engine.request(path, init));
    assert.equal(problem.status, status, `${path}: ${problem.detail}`);
    assert.match(problem.detail, detail);
    assert.equal(problem.instance, path.split("?")[0]);
    if (status === 400) {
      for (const { value, expected } of problem.errors!) {
        assert.ok(value !== undefined && expected !== undefined, path);
      }
    }
  }
  const { run_id } = await engine.submit({ batch_size: 1 });
  for (const bad of [["x"], [1.5], [null], [1, 2]]) {
    const problem = await problemOf(
      await engine.request(`/api/etl/runs/${run_id}/chunks?cursor=${cursor(bad)}`),
    );
    assert.equal(problem.status, 400);
  }
  const early = await problemOf(
    await engine.request(`/api/etl/runs/${run_id}/retry`, { method: "POST" }),
  );
  assert.deepEqual([early.status, early.type], [409, "/api/problems/conflict"]);
});

Deno.test("GET /api/etl/runs: pages hold every run once, also those of one millisecond", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const ids: string[] = [];
  for (let i = 0; i < 25; i++) ids.push((await engine.submit({ run_label: `l${i % 2}` })).run_id);
  // all within one millisecond, in microseconds that go the other way
  await engine.sql`update etl.runs as r set requested_at = timestamptz '2026-01-01 00:00:00.123+00'
    + (n.n * interval '7 microseconds') from (select run_id, row_number() over (order by run_id) as n from etl.runs) as n
    where n.run_id = r.run_id`;
  const walk = async (filter: string) => {
    const found: string[] = [];
    for (let next: string | null = ""; next !== null;) {
      const page: { items: { run_id: string }[]; next: string | null } =
        await (await engine.request(
          `/api/etl/runs?limit=4${filter}${next === "" ? "" : `&cursor=${next}`}`,
        )).json();
      found.push(...page.items.map((run) => run.run_id));
      next = page.next;
    }
    return found;
  };
  assert.deepEqual(await walk(""), [...ids].reverse());
  assert.deepEqual(await walk("&run_label=l1"), ids.filter((_, i) => i % 2 === 1).reverse());
  assert.deepEqual(await walk("&state=failed"), []);
});

interface Event {
  event: string;
  id: string;
  data: { run_id: string; state: string; revision: number; stages: unknown[] };
}

/** Reads a stream of server-sent events to its end. */
async function events(response: Response): Promise<Event[]> {
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  const text = await response.text();
  return text.split("\n\n").filter((block) => /^(event|id|data):/m.test(block)).map((block) => {
    const fields = Object.fromEntries(
      block.split("\n").filter((line) => !line.startsWith(":")).map((line) => {
        const at = line.indexOf(":");
        return [line.slice(0, at), line.slice(at + 1).trimStart()];
      }),
    );
    return { event: fields.event!, id: fields.id!, data: JSON.parse(fields.data!) };
  });
}

Deno.test("GET …/chunks and …/logs: pages hold every chunk and line once, in their order", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.succeed({ batch_size: 50, chunk_size: 10 });
  await engine.sql`delete from etl.run_logs`;
  await engine.sql`insert into etl.run_logs (run_id, line_no, logged_at, level, message, fields)
    select ${run_id}, n, now(), 'info', 'line ' || n, '{}' from generate_series(3, 7) as n`;
  const all = async (what: string, query = "") => {
    const pages: Record<string, unknown>[][] = [];
    let cursor = "";
    do {
      const response = await engine.request(
        `/api/etl/runs/${run_id}/${what}?limit=2${query}${cursor}`,
      );
      assert.equal(response.status, 200);
      const { items, next } = await response.json();
      pages.push(items);
      cursor = next === null ? "" : `&cursor=${encodeURIComponent(next)}`;
    } while (cursor !== "");
    return pages.map((items) => items.map((item) => item.chunk_no ?? item.line_no));
  };
  assert.deepEqual(await all("chunks"), [[0, 1], [2, 3], [4]]);
  assert.deepEqual(await all("logs"), [[3, 4], [5, 6], [7]]);
  assert.deepEqual(await all("logs", "&after=5"), [[6, 7]]);
});

Deno.test("POST /api/etl/run keeps a traceparent that is one, and how the run was asked for", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const kept = async (traceparent: string) => {
    const response = await engine.request("/api/etl/run", {
      method: "POST",
      headers: { "content-type": "application/json", traceparent },
      body: JSON.stringify({ batch_size: 1, dry_run: true }),
    });
    const { run_id } = await response.json();
    const [run] = await engine
      .sql`select traceparent, trigger from etl.runs where run_id = ${run_id}`;
    assert.equal(run!.trigger, "http");
    return run!.traceparent;
  };
  const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  assert.equal(await kept(good), good);
  for (const bad of ["x", `${good}-more`, good.toUpperCase(), good.replace("00-", "ff-")]) {
    assert.equal(await kept(bad), null, bad);
  }
});

Deno.test("GET …/events streams the run until it ends; Last-Event-ID takes it up", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const { run_id } = await engine.submit({ batch_size: 3000, chunk_size: 500 });
  const all = await events(await engine.request(`/api/etl/runs/${run_id}/events`));
  assert.ok(all.length >= 1);
  const revisions = all.map(({ data }) => data.revision);
  assert.deepEqual(
    revisions,
    [...new Set(revisions)].sort((a, b) => a - b),
    "each revision once, in order",
  );
  for (const { id, data } of all) assert.equal(id, String(data.revision));
  const last = all.at(-1)!;
  assert.deepEqual([last.event, last.data.state, last.data.stages.length], ["end", "succeeded", 7]);
  assert.ok(all.slice(0, -1).every(({ event }) => event === "run"));

  const from = (id: string) =>
    engine.request(`/api/etl/runs/${run_id}/events`, { headers: { "last-event-id": id } });
  // someone who missed the end is told it; so is someone who has seen it and asks again
  for (const id of ["0", String(last.data.revision - 1), last.id, "garbage"]) {
    assert.deepEqual((await events(await from(id))).map(({ event, id }) => [event, id]), [[
      "end",
      last.id,
    ]]);
  }
});

Deno.test("GET …/events with Last-Event-ID leaves out what was seen of a run that goes on", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  const { revision } = await engine.run(run_id);
  const response = await engine.request(`/api/etl/runs/${run_id}/events`, {
    headers: { "last-event-id": String(revision) },
  });
  const reading = events(response);
  await engine.toEnd(run_id);
  const seen = await reading;
  assert.ok(seen.every(({ data }) => data.revision > revision));
  assert.equal(seen.at(-1)!.event, "end");
});

Deno.test("cancel: a waiting run is cancelled at once, and asked for again it says so", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { run_id } = await engine.submit({ batch_size: 5 });
  for (let i = 0; i < 2; i++) {
    const response = await engine.request(`/api/etl/runs/${run_id}/cancel`, { method: "POST" });
    assert.equal(response.status, 202);
    assert.equal((await response.json()).state, "cancelled");
  }
  const retried = await engine.request(`/api/etl/runs/${run_id}/retry`, { method: "POST" });
  assert.deepEqual([retried.status, (await retried.json()).state], [202, "queued"]);
  assert.equal((await engine.toEnd(run_id)).total_rows, 5);
});

Deno.test("/api/openapi.json is valid OpenAPI 3.1 and describes every route of the API", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const document = await (await engine.request("/api/openapi.json")).json();
  assert.match(document.openapi, /^3\.1\./);
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors, null, 1));
  const described = new Set(
    Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item as object).map((method) => `${method.toUpperCase()} ${path}`)
    ),
  );
  const routes = (await engine.routes()).filter(({ method, path }) =>
    method !== "ALL" && (path.startsWith("/api/") || /^\/(livez|readyz)$/.test(path)) &&
    // pages for people, and the description itself
    !/^\/api\/(docs|problems|openapi\.json)/.test(path)
  ).map(({ method, path }) => `${method} ${path.replaceAll(/:([a-z_]+)(\{[^/]*\})?/g, "{$1}")}`);
  assert.ok(routes.length > 10);
  assert.deepEqual([...new Set(routes)].filter((route) => !described.has(route)), []);
  const body = document.paths["/api/etl/run"].post.requestBody.content["application/json"].schema;
  assert.ok("configuration" in body.properties && "batch_size" in body.properties);
  for (
    const [path, item] of Object.entries<Record<string, { responses: Record<string, unknown> }>>(
      document.paths,
    )
  ) {
    for (const [method, { responses }] of Object.entries(item)) {
      assert.ok(
        Object.keys(responses).some((status) => status.startsWith("2")),
        `${method} ${path}`,
      );
    }
  }
});

Deno.test("a value of a wrong type is told as what it is, not as missing", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const slots = (body: unknown) =>
    engine.request("/api/pools/p", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const first = async (response: Promise<Response>) => (await problemOf(await response)).errors![0];
  assert.deepEqual(await first(slots({ slots: "x" })), {
    field: "slots",
    value: "x",
    code: "wrong-type",
    message: "must be a number",
    expected: "a number",
  });
  assert.equal((await first(slots({})))!.message, "is missing");
  const limit = await first(engine.request("/api/metrics/history?limit=abc") as Promise<Response>);
  assert.deepEqual([limit!.value, limit!.message], ["abc", "must be a number"]);
});

Deno.test("a variable that stands for a parameter has to be one, of a value that runs take", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const put = async (name: string, value: unknown) =>
    await engine.request(`/api/variables/${name}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ value }),
    });
  for (
    const [name, value, expected] of [
      ["etl_improved__btach_size", 1, /did you mean batch_size/],
      ["etl_improved__batch_size", "1000", /batch_size must be/],
      ["etl_improved__min_acceptance_ratio", 2, /too large/],
      ["etl_maintenance__retention_days_event", 1, /did you mean retention_days_events/],
      ["etl_maintenance__retention_days_events", -2, /too small/],
    ] as const
  ) {
    const problem = await problemOf(await put(name, value));
    assert.equal(problem.status, 422);
    assert.match(problem.detail, expected);
  }
  assert.equal((await put("etl_improved__batch_size", 1000)).status, 201);
  assert.equal((await put("etl_maintenance__retention_days_events", -1)).status, 201);
  assert.equal((await put("of_somebody_else", "x")).status, 201);
});

Deno.test("a filter of a list that is not known is refused instead of left out", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  for (
    const path of [
      "/api/metrics/history",
      "/api/etl/runs",
      "/api/schedules",
      "/api/etl/maintenance",
    ]
  ) {
    assert.equal((await engine.request(`${path}?limit=1`)).status, 200, path);
    const problem = await problemOf(await engine.request(`${path}?limit=1&run_lable=x`));
    assert.equal(problem.status, 400, path);
    assert.match(problem.detail, /run_lable is not a known name/);
    assert.match(problem.errors![0]!.expected!, /api\/docs/);
  }
  // and of a body, too
  const body = await problemOf(
    await engine.request("/api/schedules/s", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ cron: "@daily", conf: {}, paused: true }),
    }),
  );
  assert.deepEqual(body.errors!.map(({ field, expected }) => [field, expected]), [
    ["paused", "a name of /api/docs"],
  ]);
});

Deno.test("below a prefix the type of a problem leads to its explanation, of an answer and of a run that failed", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_BASE_PATH: "/tools/etl" } });
  const none = "00000000-0000-7000-8000-000000000000";
  const { run_id } = await engine.runToEnd({
    source: { type: "file", path: "none.csv", key: "id" },
  });
  const get = async (path: string) => await (await engine.request(`/tools/etl${path}`)).json();
  const events = await (await engine.request(`/tools/etl/api/etl/runs/${run_id}/events`)).text();
  const ended = JSON.parse(/^data: (.*)$/m.exec(events)![1]!);
  const problems = [
    ended.error,
    ...ended.stages.flatMap(({ error }: { error: unknown }) => error ?? []),
    await get(`/api/etl/runs/${none}`),
    (await get(`/api/etl/runs/${run_id}`)).error,
    (await get("/api/etl/runs")).items[0].error,
  ];
  assert.equal(problems.length, 5);
  for (const problem of problems) {
    assert.match(problem.type, /^\/tools\/etl\/api\/problems\/[a-z-]+$/);
    assert.equal((await engine.request(problem.type)).status, 200);
    assert.equal(`/tools/etl${Problem.fromJSON(problem).toJSON().type}`, problem.type);
  }
});

Deno.test("the page of alerts says for each kind what to do, in the reader's language", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  for (const [language, expected] of [["en", "What to do"], ["es", "Qué hacer"]]) {
    const page = await (await engine.request("/etl/alerts", {
      headers: { accept: "text/html", "accept-language": language! },
    })).text();
    assert.ok(page.includes(expected!), language!);
    for (const kind of Object.keys(ALERT_KINDS)) assert.ok(page.includes(`id="do-${kind}"`), kind);
  }
});

Deno.test("whoever asks for Spanish before English is told in Spanish what is wrong", async (t) => {
  await using engine = await startEngine(t, { workers: 1, queue: true });
  const ask = async (language: string) => {
    const response = await engine.request("/api/etl/run", {
      method: "POST",
      headers: { "content-type": "application/json", "accept-language": language },
      body: JSON.stringify({ bach_size: 5 }),
    });
    const { title, errors } = await response.json();
    return [response.headers.get("content-language"), title, errors[0].code, errors[0].message];
  };
  assert.deepEqual(await ask("es-MX,es;q=0.9,en;q=0.8"), [
    "es",
    "Parámetro desconocido",
    "unknown-name",
    "no es un nombre conocido; ¿quería decir batch_size?",
  ]);
  for (const language of ["en-GB,es;q=0.8", "*", "fr"]) {
    const [tag, title] = await ask(language);
    assert.deepEqual([tag, title], ["en", "Unknown parameter"]);
  }
  const nothing = await engine.request("/etl/nothing", {
    headers: { accept: "text/html", "accept-language": "es" },
  });
  assert.match(await nothing.text(), /<p lang="es">No hay ninguna página \/etl\/nothing\.<\/p>/);
  // reasons of rejected records, warnings and the error of a run
  const csv = "id,id_type\n1\nid,id_type\n3,y\n";
  const run = await (await engine.request(
    "/api/etl/run?wait=true&key=id",
    { method: "POST", headers: { "content-type": "text/csv" }, body: csv },
  )).json();
  const get = async (path: string) =>
    await (await engine.request(path, { headers: { "accept-language": "es" } })).json();
  const { items } = await get(`/api/etl/runs/${run.run_id}/quarantine`);
  assert.deepEqual(
    items.map(({ message }: { message: string }) => message.replace(/^.* de [^:]*: /, "")),
    [
      "1 campo; la cabecera tiene 2",
      "otra vez la cabecera: ¿se unieron archivos? Quítela, o cargue los archivos con un glob",
    ],
  );
  const ofRun = await engine.request(`/etl/runs/${run.run_id}`, {
    headers: { "accept-language": "es" },
  });
  assert.match(await ofRun.text(), /<span class="reason">.{0,100}: 1 campo; la cabecera tiene 2/s);
  const preview = await engine.request("/api/etl/preview", {
    method: "POST",
    headers: { "content-type": "application/json", "accept-language": "es" },
    body: JSON.stringify({
      exclude: ["nobody"],
      source: { type: "inline", key: "id", records: [{ id: 1 }, { no_id: 2 }] },
    }),
  });
  const { rejected, warnings } = await preview.json();
  assert.equal(preview.headers.get("content-language"), "es");
  assert.match(rejected[0].message, /^el campo clave id falta o es nulo/);
  assert.match(warnings[0], /^Ningún registro tiene nobody/);
  const inline = await (await engine.request("/api/etl/run?wait=true", {
    method: "POST",
    headers: { "content-type": "application/json", "accept-language": "es" },
    body: '{"source": {"type": "inline", "key": "id", "records": [{"id": 1}, {"id": 1, "id": 2}]}}',
  })).json();
  assert.match(inline.warnings[0], /^El cuerpo tiene el nombre "id" dos veces/);
  assert.equal(
    (await get(`/api/etl/runs/${run.run_id}`)).error.title,
    "No se alcanzó el ratio de aceptación",
  );
  await engine.sql`insert into public.etl_improved_alerts (kind, message, run_label, details)
    values ('run_failed', 'The body must be a JSON object.', 'a', '{}'), ('run_failed', 'as it is', 'a', '{}')`;
  const { data } = await get("/api/alerts/recent");
  assert.deepEqual(data.map(({ message }: { message: string }) => message).sort(), [
    "El cuerpo debe ser un objeto JSON.",
    "as it is",
  ]);
  const explained = await engine.request("/api/problems/disk-full", {
    headers: { "accept-language": "es" },
  });
  assert.equal((await explained.json()).title, "Disco lleno");
  // the page that the dashboard leads to is in the language that was chosen there, whatever the browser's
  const page = await (await engine.request("/api/problems/low-ratio?lang=es", {
    headers: { accept: "text/html", "accept-language": "en" },
  })).text();
  assert.match(
    page,
    /<html lang="es">[^]*Problemas[^]*<h2>Qué hacer<\/h2>[^]*<code>etl quarantine ID<\/code>/,
  );
  assert.doesNotMatch(page, /What to do|Problems/);
});
