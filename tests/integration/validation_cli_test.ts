import assert from "node:assert/strict";
import { join } from "node:path";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";

Deno.test("etl profile proposes a suite from a whole file, and etl suite tries and stores it", async (t) => {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  try {
    await Deno.mkdir(join(dir, "data"));
    const env = {
      KPIS_PG_DSN: db.dsn,
      ETL_DATA_DIR: join(dir, "data"),
      ETL_SPOOL_DIR: join(dir, "spool"),
      ETL_WORKERS: "1",
      INIT_CWD: dir,
    };
    // more records than a server would look at
    const rows = Array.from({ length: 120_000 }, (_, i) => `${i},${i === 119_999 ? 7 : i % 5}`);
    await Deno.writeTextFile(join(dir, "data", "sales.csv"), `id,kind\n${rows.join("\n")}\n`);
    const source = '{"type": "file", "path": "sales.csv", "key": "id"}';
    const of = ["--source", source];

    const proposed = await runCli(["profile", ...of, "--name", "sales", "--out", "sales.json"], {
      env,
    });
    assert.equal(proposed.code, 0, proposed.err);
    assert.match(proposed.err, /hold on 120,000 events; they are in sales\.json\./);
    const suite = JSON.parse(await Deno.readTextFile(join(dir, "sales.json")));
    const set = suite.expectations.find(({ kwargs }: { kwargs: Record<string, unknown> }) =>
      kwargs.column === "kind" && kwargs.value_set !== undefined
    );
    assert.deepEqual(set.kwargs.value_set, [0, 1, 2, 3, 4, 7]);
    const again = await runCli(["profile", ...of, "--out", "sales.json"], { env });
    assert.equal(again.code, 2);
    assert.match(again.err, /sales\.json exists already/);
    const few = await runCli(["profile", ...of, "--records", "10"], { env });
    assert.equal(JSON.parse(few.out).meta.profiled_records, 10);
    assert.match(few.err, /Only the first 10 records were looked at/);

    const tried = await runCli(["suite", "try", "sales.json", ...of], { env });
    assert.equal(tried.code, 0, tried.err + tried.out);
    assert.match(tried.out, /All \d+ expectations hold\./);
    set.kwargs.value_set = [0, 1, 2];
    await Deno.writeTextFile(join(dir, "narrow.json"), JSON.stringify(suite));
    const narrow = await runCli(["suite", "try", "narrow.json", ...of], { env });
    assert.equal(narrow.code, 1, narrow.err);
    assert.match(
      narrow.out,
      /✗ +expect_column_values_to_be_in_set +kind +4000 unexpected, such as \[3,4,3\]/,
    );

    const stored = await runCli(["suite", "put", "sales.json"], { env });
    assert.match(stored.out, /^Suite sales is stored, with \d+ expectations\.$/, stored.err);
    const listed = await runCli(["suite", "list"], { env });
    assert.match(listed.out, /^sales +\d+ +api +no, judges the batch$/m);
    const shown = await runCli(["suite", "get", "sales", "--json"], { env });
    assert.equal(shown.json().name, "sales");
    await Deno.writeTextFile(
      join(dir, "big.json"),
      `{"name": "big", "expectations": [{"type": "expect_column_max_to_be_between",
        "kwargs": {"column": "id", "max_value": 9007199254740993}}]}`,
    );
    const big = await runCli(["suite", "put", "big.json"], { env });
    assert.equal(big.code, 0, big.err);
    assert.match((await runCli(["suite", "get", "big"], { env })).out, /: 9007199254740993\n/);
    assert.equal((await runCli(["suite", "try", "big.json", ...of], { env })).code, 0);
    const removed = await runCli(["suite", "delete", "sales"], { env });
    assert.equal(removed.out, "Suite sales is removed.");
    const gone = await runCli(["suite", "get", "sales"], { env });
    assert.equal(gone.code, 2);
    assert.match(gone.err, /There is no suite sales/);
    const wrong = await runCli(["suite", "lst"], { env });
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /did you mean list\?/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
