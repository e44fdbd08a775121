import assert from "node:assert/strict";
import { find, remoteApi } from "../../scripts/cli/api.ts";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { VERSION } from "../../vocabulary/version.ts";
import { answering, runCli } from "../helpers/cli.ts";

/** The command line without a server or a database, which none of these commands reaches. */
const etl = (args: string[], env: Record<string, string> = {}) =>
  runCli(args, { env, ownProcess: false });

Deno.test("etl tells its version, and its help as a whole, of a topic and of a command, however it is asked", async () => {
  for (const args of [["--version"], ["-V"], ["version"]]) {
    const { code, out } = await etl(args);
    assert.deepEqual([code, out], [0, `etl-improved ${VERSION} (Deno ${Deno.version.deno})`]);
  }
  const whole = (await etl([])).out;
  assert.match(whole, /^etl loads data into PostgreSQL[\s\S]*Usage: {2}deno task etl <command>/);
  for (const args of [["help"], ["--help"], ["-h"], ["help", "--json"]]) {
    assert.deepEqual(await etl(args).then(({ code, out }) => [code, out]), [0, whole]);
  }
  assert.match((await etl(["help", "params"])).out, /^Parameters of a run[\s\S]*\n {2}batch_size /);
  assert.match(
    (await etl(["help", "sources"])).out,
    /^A source is an object[\s\S]*"type": "file": /,
  );
  const own = (await etl(["help", "pool"])).out;
  assert.match(own, /\n\nUsage: {2}deno task etl pool /);
  for (const args of [["pool", "--help"], ["pool", "set", "-h"]]) {
    assert.deepEqual(await etl(args).then(({ code, out }) => [code, out]), [0, own]);
  }
  // an installed program is called otherwise, and says so
  const installed = { ETL_TOOL: "etl" };
  assert.match((await etl([], installed)).out, /Usage: {2}etl <command>/);
  assert.doesNotMatch((await etl([], installed)).out, /deno task etl/);
  assert.match((await etl(["help", "pool"], installed)).out, /Usage: {2}etl pool /);
  assert.match((await etl(["pool", "-h"], installed)).out, /Usage: {2}etl pool /);
});

Deno.test("etl says what was probably meant, and where help is", async () => {
  const said = async (...args: string[]) => {
    const { code, out, err } = await etl(args, { ETL_TOOL: "etl" });
    assert.deepEqual([code, out], [EXIT.usage, ""]);
    return err;
  };
  const help = "`etl --help` tells how it is used.";
  assert.equal(
    await said("lod"),
    `error: there is no command 'lod'; did you mean load?\n${help}`,
  );
  assert.equal(await said("xyzzy"), `error: there is no command 'xyzzy'\n${help}`);
  assert.equal(
    await said("help", "lod"),
    `error: there is no command 'lod'; did you mean load?\n` +
      "`etl --help` tells how it is used.",
  );
  assert.equal(
    await said("--json", "runs"),
    `error: the command comes first: etl <command> --json …\n${help}`,
  );
  assert.equal(
    await said("runs", "--jsno"),
    "error: there is no option --jsno; did you mean --json?\n`etl runs --help` tells how it is used.",
  );
});

Deno.test("etl sends the token of a file or of the environment, and says of what holds none", async () => {
  await using cli = answering({ "/api/etl/runs": { items: [], next: null } });
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/token`, " etl_of-file\n");
    await Deno.writeTextFile(`${dir}/empty`, "\n");
    await Deno.writeTextFile(`${dir}/several`, "etl_a etl_b");
    const sent = async (env: Record<string, string>, ...args: string[]) => {
      const given = { INIT_CWD: dir, ETL_SERVER: cli.address, ...env };
      const { code, err } = await runCli(["runs", ...args], { env: given });
      return code === 0 ? cli.asked.at(-1)!.headers.authorization : err;
    };
    assert.equal(await sent({}), undefined);
    assert.equal(await sent({ ETL_TOKEN: "" }), undefined);
    assert.equal(await sent({ ETL_TOKEN: " etl_env " }), "Bearer etl_env");
    assert.equal(await sent({ ETL_TOKEN: "x" }, "--token-file", "token"), "Bearer etl_of-file");
    assert.equal(await sent({}, "--token-file", `${dir}/token`), "Bearer etl_of-file");
    const none = /holds no API token, which is one word such as etl_…/;
    assert.match((await sent({ ETL_TOKEN: "a b" }))!, new RegExp(`ETL_TOKEN ${none.source}`));
    assert.match((await sent({}, "--token-file", "empty"))!, new RegExp(`empty ${none.source}`));
    assert.match((await sent({}, "--token-file", "several"))!, none);
    assert.match((await sent({}, "--token-file", "gone"))!, /there is no file .*\/gone/);
    assert.match((await sent({}, "--token-file", "."))!, /error: \S+ cannot be read: /);
    // the option is nearer than the environment
    const other = { ETL_SERVER: "http://127.0.0.1:9" };
    assert.equal(await sent(other, "--server", cli.address), undefined);
    assert.equal(cli.asked.at(-1)!.headers["x-etl-client"], "cli");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("etl ends as a problem is: with what is wrong of each field, and what to do about a token or an address", async () => {
  let problem: Record<string, unknown> = {};
  const path = "/api/etl/runs";
  await using cli = answering({
    [path]: () => Response.json(problem, { status: problem.status as number }),
  });
  const ended = async (of: Record<string, unknown>) => {
    problem = of;
    const { code, out, err } = await cli.etl("runs");
    assert.equal(out, "");
    return [code, err];
  };
  const of = (type: string, status: number, more: object = {}) => ({
    ...{ type: `/api/problems/${type}`, status, detail: `It is ${type}.`, ...more },
  });
  assert.deepEqual(await ended(of("unauthorized", 401)), [
    EXIT.usage,
    "error: It is unauthorized.\n" +
    "Set ETL_TOKEN to the token, or name a file that holds it with --token-file.",
  ]);
  assert.deepEqual(await ended(of("forbidden", 403)), [EXIT.usage, "error: It is forbidden."]);
  assert.deepEqual(await ended(of("unavailable", 503)), [
    EXIT.unreachable,
    "error: It is unavailable.",
  ]);
  assert.deepEqual(await ended(of("internal", 500)), [EXIT.failed, "error: It is internal."]);
  const errors = [{ field: "limit", value: 0, message: "must be at least 1", code: "too_small" }];
  const several = of("invalid-parameters", 400, {
    ...{ detail: "One is wrong: limit must be at least 1", errors },
  });
  assert.deepEqual(await ended(several), [
    EXIT.usage,
    "error: One is wrong.\n  limit (0) must be at least 1",
  ]);
  const [code, err] = await ended({ status: 200, items: "none" });
  assert.equal(code, EXIT.failed);
  assert.match(String(err), /^error: TypeError: [\s\S]*\nThis was not expected: it is a defect/);

  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const gone = await runCli(["runs"], { env: { ETL_SERVER: `http://127.0.0.1:${port}` } });
  assert.equal(gone.code, EXIT.unreachable);
  assert.match(
    gone.err,
    new RegExp(
      `^error: No server answers at http://127\\.0\\.0\\.1:${port} \\(.*refused.*\\)\\. Start`,
    ),
  );
  for (const address of ["http://", "ftp://x", "a b"]) {
    const { code, err } = await runCli(["runs", "--server", address], { env: {} });
    assert.equal(code, EXIT.usage);
    assert.match(err, /--server must be an address such as http:\/\/127\.0\.0\.1:8080, not '/);
  }
});

Deno.test("find() takes nothing for null, and any other problem for one", async () => {
  const api = remoteApi("http://localhost");
  const answers: [number, unknown][] = [[404, {}], [200, { a: 1 }], [500, {
    ...{ type: "/api/problems/internal", status: 500, detail: "It broke." },
  }]];
  const ask = ([status, body]: [number, unknown]) =>
    find({ ...api, fetch: () => Promise.resolve(Response.json(body, { status })) }, "/x");
  assert.equal(await ask(answers[0]!), null);
  assert.deepEqual(await ask(answers[1]!), { a: 1 });
  await assert.rejects(ask(answers[2]!), /It broke\./);
});

Deno.test("etl reaches a server below a path, without its scheme, and says of what is none that it is none", async () => {
  let answer = Response.json({ items: [], next: null });
  const seen: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, ({ url }) => {
    seen.push(new URL(url).pathname);
    return answer;
  });
  try {
    const address = `127.0.0.1:${server.addr.port}`;
    const runs = (at: string) => runCli(["runs", "--server", at], { env: { ETL_SERVER: "x" } });
    for (const at of [address, `http://${address}/etl/`, `HTTP://${address}/etl`]) {
      answer = Response.json({ items: [], next: null });
      assert.equal((await runs(at)).code, EXIT.succeeded);
    }
    assert.deepEqual(seen, ["/api/etl/runs", "/etl/api/etl/runs", "/etl/api/etl/runs"]);
    for (const [status, type] of [[200, "text/html"], [404, "text/plain"]] as const) {
      answer = new Response("hello", { status, headers: { "content-type": type } });
      const { code, err } = await runs(address);
      assert.equal(code, EXIT.unreachable);
      assert.match(
        err,
        new RegExp(`What answers at http://${address}/api/etl/runs\\?limit=20 is no`),
      );
      assert.match(err, new RegExp(`it answered with status ${status} and ${type}\\. Check`));
    }
  } finally {
    await server.shutdown();
  }
});

Deno.test("etl suite reads, stores, removes and tries suites, with every digit of whole numbers", async () => {
  const row = (
    type: string,
    success: boolean,
    kwargs: object,
    result: object,
    raised?: string,
  ) => ({
    ...{ success, expectation_config: { type, kwargs }, result },
    exception_info: { raised_exception: raised !== undefined, exception_message: raised ?? null },
  });
  let result: object = {
    success: false,
    statistics: { evaluated_expectations: 6, successful_expectations: 2 },
    results: [
      row("a", true, { column: "id" }, { unexpected_count: 0, partial_unexpected_list: [] }),
      row("b", false, { column_list: ["a", "b"] }, {
        ...{ unexpected_count: 5, partial_unexpected_list: [1, 2, 3, 4] },
      }),
      row("c", false, { column_A: "x", column_B: "y" }, { observed_value: { n: 1 } }),
      row("d", false, {}, {}, "no such column"),
      row("e", false, {}, { unexpected_count: 2 }),
      row("f", true, {}, {}),
    ],
  };
  const stored = '{"name":"s","max":12345678901234567890}';
  await using cli = answering({
    "/api/suites": {
      items: [{ name: "s", expectations: 2, origin: "a file", row_wise: true }, {
        ...{ name: "t", expectations: 12, origin: "the API", row_wise: false },
      }],
    },
    "/api/suites/s%20t": (asked: { method: string }) =>
      asked.method === "GET" ? new Response(stored) : Response.json({ expectations: [1, 2] }),
    "/api/suites/s": { expectations: [1, 2, 3] },
    "/api/suites/try": () => Response.json(result),
  });
  assert.deepEqual((await cli.etl("suite", "list")).out.split("\n"), [
    "SUITE  EXPECTATIONS  FROM     CAN QUARANTINE",
    "s                 2  a file   yes",
    "t                12  the API  no, judges the batch",
  ]);
  assert.equal(
    (await cli.etl("suite", "get", "s t")).out,
    '{\n  "name": "s",\n  "max": 12345678901234567890\n}',
  );
  assert.equal((await cli.etl("suite", "get", "s t", "--json")).out, stored);
  assert.equal((await cli.etl("suite", "delete", "s t")).out, "Suite s t is removed.");
  assert.equal(cli.asked.at(-1)!.method, "DELETE");
  assert.equal(
    (await cli.etl("suite", "delete", "s t", "--json")).out,
    '{"name":"s t","deleted":true}',
  );

  const gone = await cli.etl("suite", "delete", "gone");
  assert.deepEqual([gone.code, gone.out], [EXIT.usage, ""]);
  assert.match(gone.err, /^error: Nothing is at /);
  const missing = await cli.etl("suite", "put", "/missing.json");
  assert.equal(missing.code, EXIT.usage);
  assert.match(missing.err, /^error: there is no file \/missing\.json\n/);

  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, stored);
    assert.equal(
      (await cli.etl("suite", "put", file)).out,
      "Suite s is stored, with 3 expectations.",
    );
    assert.equal(cli.asked.at(-1)!.path, "/api/suites/s");
    assert.equal(cli.asked.at(-1)!.text, stored);
    const other = await cli.etl("suite", "put", file, "--name", "s t", "--json");
    assert.deepEqual(other.json(), { name: "s t", expectations: 2 });
    const tried = await cli.etl("suite", "try", file, "--set", "batch_size=7");
    assert.equal(tried.code, EXIT.failed);
    assert.equal(cli.asked.at(-1)!.text, `{"suite":${stored},"conf":{"batch_size":7}}`);
    assert.deepEqual(tried.out.split("\n"), [
      "   EXPECTATION  COLUMN  FOUND",
      "✓  a            id",
      "✗  b            a, b    5 unexpected, such as [1,2,3]",
      '✗  c            x, y    {"n":1}',
      "✗  d                    no such column",
      "✗  e                    2 unexpected, such as",
      "✓  f",
      "",
      "4 of 6 expectations do not hold.",
    ]);
    assert.deepEqual((await cli.etl("suite", "try", file, "--json")).json(), result);
    result = { ...result, success: true };
    const good = await cli.etl("suite", "try", file);
    assert.equal(good.code, EXIT.succeeded);
    assert.match(good.out, /\n\nAll 6 expectations hold\.$/);
    await Deno.writeTextFile(file, '{"expectation_suite_name": "s"}');
    assert.match((await cli.etl("suite", "put", file)).out, /^Suite s is stored/);
    const before = cli.asked.length;
    for (
      const [text, said] of [
        ["[]", /\.json holds no suite: a suite is a JSON object/],
        ["null", /\.json holds no suite: a suite is a JSON object/],
        ["{", /\.json is not JSON: /],
        ["{}", /the suite in .*\.json has no name; give one with --name/],
      ] as const
    ) {
      await Deno.writeTextFile(file, text);
      const { code, err } = await cli.etl("suite", "put", file);
      assert.equal(code, EXIT.usage);
      assert.match(err, said);
    }
    assert.equal(cli.asked.length, before);
  } finally {
    await Deno.remove(file);
  }
});
