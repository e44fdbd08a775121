import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { resolveEnvironment } from "../../scripts/environment.ts";

async function file(text: string): Promise<string> {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, text);
  return path;
}

Deno.test("a variable may be given as a file, without its line end", async () => {
  const path = await file("postgres://u:p@h/d\n");
  assert.deepEqual(resolveEnvironment({ KPIS_PG_DSN_FILE: path, ETL_PORT: "1", A_FILE: "x" }), {
    KPIS_PG_DSN: "postgres://u:p@h/d",
    ETL_PORT: "1",
    A_FILE: "x",
  });
  await Deno.remove(path);
});

Deno.test("a password given alone goes into the connection string, encoded", async () => {
  const path = await file("a/b@c:d%");
  const env = resolveEnvironment({
    KPIS_PG_DSN: "postgres://u@h:5432/d?sslmode=require",
    PGPASSWORD_FILE: path,
  });
  assert.equal(env.KPIS_PG_DSN, "postgres://u:a%2Fb%40c%3Ad%25@h:5432/d?sslmode=require");
  assert.equal(decodeURIComponent(new URL(env.KPIS_PG_DSN!).password), "a/b@c:d%");
  const own = resolveEnvironment({ KPIS_PG_DSN: "postgres://u:mine@h/d", PGPASSWORD: "other" });
  assert.equal(own.KPIS_PG_DSN, "postgres://u:mine@h/d");
  await Deno.remove(path);
});

Deno.test("a file that is missing or empty, or a value given twice, is named and nothing is shown of it", async () => {
  const empty = await file("\n");
  for (
    const [env, pattern] of [
      [{ KPIS_PG_DSN_FILE: "/nowhere/dsn" }, /KPIS_PG_DSN_FILE names \/nowhere\/dsn.*NotFound/],
      [{ SLACK_WEBHOOK_FILE: empty }, /SLACK_WEBHOOK_FILE names .* is empty/],
      [
        { KPIS_PG_DSN: "postgres://u:geheim@h/d", KPIS_PG_DSN_FILE: empty },
        /KPIS_PG_DSN and KPIS_PG_DSN_FILE are both set/,
      ],
    ] as const
  ) {
    assert.throws(() => resolveEnvironment(env), (error) => {
      assert.ok(error instanceof Problem);
      assert.match(error.message, pattern);
      assert.ok(!error.message.includes("geheim"));
      return true;
    });
  }
  await Deno.remove(empty);
});
