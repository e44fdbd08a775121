import assert from "node:assert/strict";
import process from "node:process";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { longestBlock } from "../helpers/event_loop.ts";

/**
 * How long the event loop may stand still for one request of the worst text of its kind. The attacks
 * took 7 to 40 s; a slow machine gets more time, as the reading of plain JSON takes more there.
 */
function blockMs(): number {
  const text = `[0${",0".repeat(2 << 20)}]`;
  const started = performance.now();
  JSON.parse(text);
  return 3_000 + 20 * (performance.now() - started);
}
/** How long all threads of the process may compute for an answer. */
const ANSWER_MS = 20_000;

const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

interface Attack {
  name: string;
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body: string;
  status: number;
  detail?: RegExp;
}

/** Each is answered with its status, without holding up anybody else meanwhile. */
async function withstands(engine: Engine, attacks: Attack[]): Promise<void> {
  for (const attack of attacks) {
    const { name, method = "POST", path, body, status, detail } = attack;
    const headers = {
      ...(attack.headers ?? JSON_TYPE),
      "content-length": String(new TextEncoder().encode(body).length),
    };
    const before = process.cpuUsage();
    const { ms, value } = await longestBlock(async () => {
      const response = await engine.request(path, { method, headers, body });
      return { status: response.status, text: await response.text() };
    });
    assert.equal(value.status, status, `${name}: ${value.text.slice(0, 500)}`);
    if (detail !== undefined) assert.match(value.text, detail, name);
    assert.ok(
      value.text.length < 200_000,
      `${name}: the answer has ${value.text.length} characters`,
    );
    assert.ok(ms < blockMs(), `${name}: everything stood still for ${ms} ms`);
    const { user, system } = process.cpuUsage(before);
    const took = (user + system) / 1_000;
    assert.ok(took < ANSWER_MS, `${name}: computed for ${took} ms`);
  }
}

const repeated = (unit: string, bytes: number) => unit.repeat(Math.floor(bytes / unit.length));
const MIB = 1 << 20;

/** A schema of definitions that refer twice to the one before. */
function doubled(depth: number): object {
  const $defs: Record<string, object> = { d0: { type: "object", required: ["nothing"] } };
  for (let i = 1; i <= depth; i++) {
    const $ref = `#/$defs/d${i - 1}`;
    $defs[`d${i}`] = { anyOf: [{ $ref }, { $ref }] };
  }
  return { $defs, $ref: `#/$defs/d${depth}` };
}

Deno.test("hostile work: a body is bounded by its route before anything looks at it, and looked at once", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    env: { ETL_ADMIN_TOKEN: "x".repeat(40) },
  });
  const quotes = `token="${repeated('\\"', 8 * MIB - 10)}`;
  const numbers = `[1234567890123456789${repeated(",0", 4 * MIB)}]`;
  for (const path of ["/etl/sign-in", "/etl/sign-out", "/etl/preferences"]) {
    await withstands(engine, [
      { name: "quotes in a form", path, headers: FORM_TYPE, body: quotes, status: 413 },
      { name: "numbers that are no form", path, body: numbers, status: 413 },
    ]);
  }
  const small = `token="${repeated('\\"', 15_000)}`;
  await withstands(engine, [
    {
      name: "a form within its limit",
      path: "/etl/sign-in",
      headers: FORM_TYPE,
      body: small,
      status: 401,
    },
  ]);
});

Deno.test("hostile work: JSON of any shape costs what its size costs", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const shapes: Record<string, (bytes: number) => string> = {
    "quotes that do not end": (bytes) => repeated('\\"', bytes),
    "half a text": (bytes) => `"${repeated("\\\\", bytes)}`,
    "exact numbers": (bytes) => `[1234567890123456789${repeated(",0", bytes)}]`,
    "large numbers": (bytes) => `[1${repeated(",12345678901234567890", bytes)}]`,
    "long numbers": (bytes) => `[1${repeated(`,${"9".repeat(3000)}`, bytes)}]`,
    "exponents": (bytes) => `[1${repeated(",1e100", bytes)}]`,
    "one number": (bytes) => "9".repeat(bytes),
    "decimals": (bytes) => `[1${repeated(",0.12345678901234567890", bytes)}]`,
    "empty objects": (bytes) => `[{}${repeated(",{}", bytes)}]`,
    "objects": (bytes) => `[{}${repeated(',{"a":1}', bytes)}]`,
    "brackets": (bytes) => repeated("[", bytes),
    "brackets and quotes": (bytes) => repeated('["', bytes),
    "names": () => `{${Array.from({ length: 70_000 }, (_, i) => `"k${i}":1`).join(",")}}`,
    "names in a list": () =>
      `[{${Array.from({ length: 10_001 }, (_, i) => `"k${i}":1`).join(",")}}]`,
  };
  const variable = { method: "PUT", path: "/api/variables/v" };
  for (const [name, shape] of Object.entries(shapes)) {
    const body = shape(7 * MIB);
    await withstands(engine, [
      { name, path: "/api/etl/run", body, status: 400 },
      { name: `variable: ${name}`, ...variable, body: shape(MIB - 100), status: 400 },
      ...body.length > MIB
        ? [{ name: `large variable: ${name}`, ...variable, body, status: 413 }]
        : [],
    ]);
  }
});

Deno.test("hostile work: a text that looks like a URL of a million parameters is refused at once", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  for (const parameter of ["a=b&", "%41=b&", "a&", "key=b&", "%41"]) {
    const url = `http://a/?${repeated(parameter, 4 * MIB)}`;
    const source = { type: "postgres", connection: "c", query: url };
    await withstands(engine, [
      {
        name: parameter,
        path: "/api/etl/run",
        body: JSON.stringify({ run_label: url }),
        status: 422,
      },
      { name: parameter, path: "/api/etl/preview", body: JSON.stringify({ source }), status: 422 },
    ]);
  }
});

Deno.test("hostile work: a conf with thousands of errors is refused at once, with a hundred of them", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const many = (count: number, name: (i: number) => string) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [name(i), 1]));
  const unknown = many(3_000, (i) => `batch_sise${i}`);
  const long = many(3_000, (i) => `${"batch_size".repeat(6)}${i}`.slice(-63));
  const conf = (value: object) => JSON.stringify(value);
  const page = { source: { type: "postgres", connection: "c", page_key: Array(100_000).fill(1) } };
  for (const path of ["/api/etl/run", "/api/etl/preview", "/api/suites/profile"]) {
    await withstands(engine, [
      { name: "unknown names", path, body: conf(unknown), status: 422, detail: /did you mean/ },
      { name: "long unknown names", path, body: conf(long), status: 422 },
      {
        name: "a list of errors",
        path,
        body: conf(page),
        status: 422,
        detail: /more than 20000 values/,
      },
      {
        name: "unknown members",
        path,
        body: conf({ source: { type: "synthetic", ...unknown } }),
        status: 422,
      },
    ]);
  }
  await withstands(engine, [
    {
      name: "configuration",
      method: "PUT",
      path: "/api/configurations/c",
      body: conf({ conf: unknown }),
      status: 422,
    },
    {
      name: "schedule",
      method: "PUT",
      path: "/api/schedules/s",
      body: conf({ cron: "@daily", conf: unknown }),
      status: 422,
    },
    {
      name: "maintenance",
      path: "/api/etl/maintenance",
      body: conf(many(2_000, (i) => `retention_${i}`)),
      status: 422,
    },
    {
      name: "unknown members of a pool",
      method: "PUT",
      path: "/api/pools/p",
      body: conf(many(3_000, (i) => `slot${i}`)),
      status: 400,
    },
  ]);
  const refused = await (await engine.post("/api/etl/run", unknown)).json();
  assert.equal(refused.errors.length, 100);
  assert.match(refused.detail, /at least 100 errors/);
  // the database, where requests in SQL come from, bounds its work too
  const { ms } = await longestBlock(async () => {
    const [row] = await engine.sql`
      select jsonb_array_length(etl.conf_errors(${conf(unknown)}::text::jsonb)) as errors`;
    assert.ok(row!.errors <= 200, `${row!.errors} errors`);
    await engine.sql`set statement_timeout = '10s'`;
    await engine.sql`select etl.conf_errors(${conf(long)}::text::jsonb)`;
  });
  assert.ok(ms < blockMs());
});

Deno.test("hostile work: suites, schemas and patterns are compiled where they hold up nobody, and not for ever", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const suite = (payload_schema: unknown) => ({ expectations: [], meta: { payload_schema } });
  const expecting = (kwargs: object, type = "expect_column_values_to_match_json_schema") => ({
    expectations: [{ type, kwargs: { column: "a", ...kwargs } }],
  });
  const records = [{ a: '{"b":1}', b: 1 }];
  const hostile: [string, object, RegExp][] = [
    ["doubled references", suite(doubled(29)), /more than 10000 subschemas/],
    [
      "doubled references of a column",
      expecting({ json_schema: doubled(29) }),
      /more than 10000 subschemas/,
    ],
    ["references without end", suite({ $ref: "#" }), /without end/],
  ];
  for (const [name, body, detail] of hostile) {
    await withstands(engine, [
      {
        name,
        method: "PUT",
        path: "/api/suites/s",
        body: JSON.stringify(body),
        status: 422,
        detail,
      },
      {
        name,
        path: "/api/suites/try",
        body: JSON.stringify({ suite: body, records }),
        status: 422,
        detail,
      },
    ]);
  }
  // what is no error: it only must not hold up anybody
  const large = suite({
    type: "object",
    properties: Object.fromEntries(
      Array.from({ length: 4_000 }, (_, i) => [`p${i}`, { type: "string" }]),
    ),
  });
  const unknown = {
    expectations: Array.from(
      { length: 1_000 },
      (_, i) => ({ type: `expect_colum_${i}_to_be_uniqe`, kwargs: {} }),
    ),
  };
  const nested = expecting({ regex: "(a|b)*c".repeat(50) }, "expect_column_values_to_match_regex");
  for (const [name, body] of Object.entries({ large, unknown, nested })) {
    const { ms } = await longestBlock(async () => {
      const response = await engine.request("/api/suites/s", {
        method: "PUT",
        headers: JSON_TYPE,
        body: JSON.stringify(body),
      });
      assert.ok([200, 201, 422].includes(response.status), `${name}: ${response.status}`);
      await response.body?.cancel();
    });
    assert.ok(ms < blockMs(), `${name}: everything stood still for ${ms} ms`);
  }
});
