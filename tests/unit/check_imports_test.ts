import assert from "node:assert/strict";
import { cycles, importsOf, modules, violations } from "../../scripts/check_imports.ts";

Deno.test("violations() lets routes import the pipeline and not the other way round", () => {
  assert.deepEqual(violations("routes/runs.ts", `import { run } from "../pipeline/run.ts";`), []);
  assert.deepEqual(violations("pipeline/run.ts", `import { x } from "../routes/runs.ts";`), [
    "pipeline/run.ts:1: pipeline/ must not import routes/runs.ts",
  ]);
});

Deno.test("violations() lets the store import schemas and problems, and nothing else of ours", () => {
  const text = `import { sourceSchema } from "../pipeline/sources/schema.ts";
import { Problem } from "../vocabulary/problem.ts";
import {
  run,
} from "../pipeline/run.ts";`;
  assert.deepEqual(violations("store/runs.ts", text), [
    "store/runs.ts:3: store/ must not import pipeline/run.ts",
  ]);
});

Deno.test("violations() lets islands import types only", () => {
  const text = `import type { Run } from "../store/runs.ts";
import { type Chunk, type Stage } from "../store/chunks.ts";
import { type Chunk, read } from "../store/chunks.ts";`;
  assert.deepEqual(violations("islands/progress.tsx", text), [
    "islands/progress.tsx:3: islands import types and words only, not store/chunks.ts",
  ]);
});

Deno.test("violations() keeps the environment to main.ts and scripts", () => {
  const text = `const dsn =\n  Deno.env.get("KPIS_PG_DSN");`;
  assert.deepEqual(violations("main.ts", text), []);
  assert.deepEqual(violations("scripts/etl.ts", text), []);
  assert.deepEqual(violations("server/app.ts", text), [
    "server/app.ts:2: only main.ts and scripts read the environment",
  ]);
});

Deno.test("violations() lets a folder name the type of the configuration and not read it", () => {
  assert.deepEqual(
    violations("routes/shared/deps.ts", `import type { Config } from "../../server/config.ts";`),
    [],
  );
  assert.deepEqual(
    violations("routes/shared/deps.ts", `import { readConfig } from "../../server/config.ts";`),
    [
      "routes/shared/deps.ts:1: routes/ must not import server/config.ts",
    ],
  );
});

Deno.test("violations() keeps scripts and tests out of the program", () => {
  assert.deepEqual(violations("main.ts", `await import("./scripts/etl.ts");`), [
    "main.ts:1: the program must not import scripts/",
  ]);
});

Deno.test("importsOf() finds re-exports, bare and dynamic imports", () => {
  const text = `export { a } from "./a.ts";\nimport "./b.ts";\nconst c = await import("./c.ts");`;
  assert.deepEqual(importsOf(text).map(({ specifier, line }) => `${specifier}:${line}`), [
    "./a.ts:1",
    "./b.ts:2",
    "./c.ts:3",
  ]);
});

Deno.test("violations() lets nobody but tests reach past the public module of a package", () => {
  const text = `import type { Suite } from "../pipeline/expectations/suite.ts";`;
  const refused =
    "import pipeline/expectations/expectations.ts, not pipeline/expectations/suite.ts";
  assert.deepEqual(violations("routes/suites.ts", text), [`routes/suites.ts:1: ${refused}`]);
  assert.deepEqual(violations("scripts/suites.ts", text), [`scripts/suites.ts:1: ${refused}`]);
  assert.deepEqual(violations("tests/suites.ts", text), []);
  assert.deepEqual(
    violations("routes/suites.ts", `import "../pipeline/expectations/expectations.ts";`),
    [],
  );
  assert.deepEqual(
    violations("pipeline/expectations/profile.ts", `import { readSuite } from "./suite.ts";`),
    [],
  );
});

Deno.test("cycles() finds circles of imports, those of types alone included", () => {
  const texts = new Map([
    ["a.ts", `import type { B } from "./x/b.ts";\nimport "./d.ts";`],
    ["x/b.ts", `export { c } from "./c.ts";`],
    ["x/c.ts", `import { type A } from "../a.ts";`],
    ["d.ts", `import "zod";`],
    ["e.ts", `import "./a.ts";\nimport "./e.ts";`],
  ]);
  assert.deepEqual(cycles(texts), [["a.ts", "x/b.ts", "x/c.ts"], ["e.ts"]]);
});

Deno.test("violations() finds SQL outside of store/, sql/ and the source that speaks to the user's database", () => {
  const statements = [
    "await sql`select 1`;",
    "await sql<{ n: number }[]>`\n  select count(*) as n from etl.runs`;",
    'await client.query("select etl.admit_runs()");',
    "await client.query(`with ended as (select 1) select 2`);",
    "await copyIn(client, `copy ${table} (a, b) from stdin`, blocks);",
    'await client.query("begin");',
    "await client.query(`update etl.runs set state = 'failed'`);",
    "await client.query(`create temp table t (a text)`);",
    "await sql.unsafe(command);",
  ];
  for (const statement of statements) {
    assert.deepEqual(violations("pipeline/run.ts", statement), [
      "pipeline/run.ts:1: put SQL into store/, in a function named after what it does",
    ], statement);
    for (const path of ["store/runs.ts", "pipeline/sources/postgres/read.ts", "scripts/x.ts"]) {
      assert.deepEqual(violations(path, statement), []);
    }
  }
  const words = "/** `sql` is passed in. */ set('copy it there'); x`with more`;";
  assert.deepEqual(violations("routes/runs.ts", words), []);
});

Deno.test("what deno task pack leaves in dist is not checked", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/dist/package`, { recursive: true });
    await Deno.writeTextFile(`${dir}/dist/package/main.ts`, "");
    await Deno.writeTextFile(`${dir}/main.ts`, "");
    assert.deepEqual(await Array.fromAsync(modules(dir)), [`${dir}/main.ts`]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
