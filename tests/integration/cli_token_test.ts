import assert from "node:assert/strict";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";

Deno.test("etl token: made in process or over HTTP, shown once, sent to a server, revoked", async (t) => {
  await using db = await testDatabase(t);
  const env = { KPIS_PG_DSN: db.dsn };
  const made = await runCli(["token", "create", "ada", "--role", "admin"], { env });
  assert.equal(made.code, 0, made.err);
  assert.match(made.out, /^etl_[0-9a-f]{10}_[A-Za-z0-9_-]{43}$/);
  assert.match(made.err, /ada with the role admin does not expire\. It is shown this once/);

  // the token in the table is enough to be reached by others
  await using server = await startServer({ dsn: db.dsn, env: { ETL_HOST: "0.0.0.0" } });
  const address = `http://127.0.0.1:${new URL(server.address).port}`;
  const remote = (args: string[], token: string) =>
    runCli([...args, "--server", address], { env: { ETL_TOKEN: token } });
  const anonymous = await runCli(["runs", "--server", address], { env: {} });
  assert.equal(anonymous.code, 2);
  assert.match(anonymous.err, /needs an API token.*\n?.*ETL_TOKEN.*--token-file/s);

  const loader = await remote(
    ["token", "create", "loader", "--role", "operator", "--expires", "2w", "--json"],
    made.out,
  );
  const { token, expires_at, created_by } = loader.json() as Record<string, string>;
  assert.equal(created_by, "ada");
  const days = (Date.parse(expires_at!) - Date.now()) / 86_400_000;
  assert.ok(days > 13.9 && days <= 14);
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, `${token}\n`);
  const run = await runCli(
    ["run", "--server", address, "--token-file", file, "--wait", "--json"],
    { env: {} },
  );
  await Deno.remove(file);
  assert.equal(run.json().status, "succeeded", run.err);
  const refused = await remote(["token", "list"], token!);
  assert.match(refused.err, /needs the role admin, and loader has the role operator/);

  const listed = await remote(["token", "list"], made.out);
  assert.match(listed.out, /loader .*operator .* ada .* in use/);
  assert.ok(!listed.out.includes(token!.slice(15)));
  assert.equal((await remote(["token", "revoke", "loader"], made.out)).code, 0);
  assert.match((await remote(["runs"], token!)).err, /token loader was revoked/);
  assert.match((await runCli(["token", "list"], { env })).out, /loader .* revoked/);
});

Deno.test("etl token says what is wrong with how it is called", async () => {
  const cases: [string[], RegExp][] = [
    [["token", "make", "x"], /cannot 'make'/],
    [["token", "create"], /needs the name/],
    [["token", "create", "x"], /needs --role: viewer, operator, admin/],
    [["token", "create", "x", "--role", "root"], /not 'root'/],
    [["token", "create", "x", "--role", "viewer", "--expires", "soon"], /such as 90d; not 'soon'/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await runCli(args, {
      env: { KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" },
    });
    assert.equal(code, 2);
    assert.match(err, message);
  }
  const { code, err } = await runCli(["runs", "--server", "http://127.0.0.1:1"], {
    env: { ETL_TOKEN: "two words" },
  });
  assert.equal(code, 2);
  assert.match(err, /ETL_TOKEN holds no API token/);
});
