import assert from "node:assert/strict";
import { join } from "node:path";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

/** The command line on a database of its own, without a server. */
async function withCli(
  t: { name: string },
  use: (
    etl: (...args: string[]) => ReturnType<typeof runCli>,
    home: { dir: string; dsn: string },
  ) => Promise<void>,
): Promise<void> {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  const env = {
    KPIS_PG_DSN: db.dsn,
    ETL_DATA_DIR: dir,
    ETL_SPOOL_DIR: join(dir, "spool"),
    ETL_WORKERS: "1",
    INIT_CWD: dir,
  };
  try {
    await use((...args) => runCli(args, { env }), { dir, dsn: db.dsn });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("etl variable: what is set counts for runs, as the parameter takes it, until it is removed", async (t) => {
  await withCli(t, async (etl, { dir, dsn }) => {
    assert.match((await etl("variable", "list")).out, /There are no variables yet/);
    const made = await etl("variable", "set", "etl_improved__batch_size", "3");
    assert.equal(made.code, 0, made.err);
    assert.equal(made.out, "The variable etl_improved__batch_size is made.");
    // a label is text, though it looks like a number
    const label = await etl("variable", "set", "etl_improved__run_label", "2026", "--json");
    assert.equal(label.json().value, "2026");
    await Deno.writeTextFile(join(dir, "tags.json"), '{"a": [1, 2]}\n');
    await etl("variable", "set", "tags", "@tags.json");
    assert.deepEqual(JSON.parse((await etl("variable", "show", "tags")).out), { a: [1, 2] });
    const changed = await etl("variable", "set", "tags", "some words");
    assert.equal(changed.out, "The variable tags is changed.");
    assert.equal((await etl("variable", "show", "tags")).out, '"some words"');
    const listed = await etl("variable", "list");
    assert.match(
      listed.out,
      /^VARIABLE .*\netl_improved__batch_size +3 +\d{4}-.*\netl_improved__run_label +"2026" /,
    );

    const run = await etl("run", "--json");
    assert.equal(run.json().total_rows, 3, run.err);
    const removed = await etl("variable", "delete", "etl_improved__batch_size", "--json");
    assert.deepEqual(removed.json(), { name: "etl_improved__batch_size", deleted: true });
    const gone = await etl("variable", "delete", "etl_improved__batch_size");
    assert.equal(gone.code, 2);
    assert.match(gone.err, /no variable etl_improved__batch_size\. `etl variable list`/);
    const refused = await etl("variable", "set", "etl_improved__batch_sise", "3");
    assert.equal(refused.code, 2);
    assert.match(refused.err, /did you mean batch_size/);

    await withClient(dsn, async (client) => {
      const { rows } = await client.query(
        "select distinct event from public.etl_improved_audit where event like 'variables%' order by 1",
      );
      assert.deepEqual(rows.map(({ event }) => event), ["variables_delete", "variables_put"]);
    });
  });
});

Deno.test("etl configuration: saved, changed by a member, run by name, removed", async (t) => {
  await withCli(t, async (etl, { dir }) => {
    await Deno.writeTextFile(join(dir, "nightly.json"), '{"batch_size": 4, "run_label": "n"}');
    const made = await etl(
      ..."configuration set nightly --conf @nightly.json --description each-night".split(" "),
    );
    assert.equal(made.code, 0, made.err);
    // only what is given changes
    await etl("configuration", "set", "nightly", "--set", "batch_size=2");
    const stored = (await etl("configuration", "show", "nightly", "--json")).json();
    assert.deepEqual(stored.conf, { batch_size: 2, run_label: "n" });
    assert.equal(stored.description, "each-night");
    const shown = await etl("configuration", "show", "nightly");
    assert.deepEqual(JSON.parse(shown.out), stored.conf);
    assert.match((await etl("configuration", "list")).out, /\nnightly +\{.*\} +each-night +\d{4}-/);

    const run = await etl(
      "run",
      "--configuration",
      "nightly",
      "--set",
      "run_label=by_hand",
      "--json",
    );
    assert.equal(run.json().total_rows, 2, run.err);
    const { params } = (await etl("show", "latest", "--json")).json() as {
      params: Record<string, unknown>;
    };
    assert.deepEqual([params.batch_size, params.run_label], [
      { value: 2, origin: "configuration" },
      { value: "by_hand", origin: "request" },
    ]);
    // a whole conf takes the place of the present one
    await etl("configuration", "set", "nightly", "--conf", '{"chunk_size": 9}');
    assert.deepEqual(JSON.parse((await etl("configuration", "show", "nightly")).out), {
      chunk_size: 9,
    });
    assert.equal((await etl("configuration", "delete", "nightly")).code, 0);
    const unknown = await etl("run", "--configuration", "nightly");
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /configuration \("nightly"\) is not a saved configuration/);
    const nothing = await etl("configuration", "set", "other", "--description", "x");
    assert.match(nothing.err, /there is no configuration other to describe/);
  });
});

Deno.test("etl pool with a server: slots change, the description stays, the default cannot go", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  const env = { ETL_SERVER: server.address, KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" };
  const etl = (...args: string[]) => runCli(args, { env });
  const made = await etl("pool", "set", "heavy", "2", "--description", "not many");
  assert.equal(made.out, "The pool heavy is made.", made.err);
  const changed = (await etl("pool", "set", "heavy", "3", "--json")).json();
  assert.deepEqual([changed.pool, changed.slots, changed.description], ["heavy", 3, "not many"]);
  const shown = await etl("pool", "show", "heavy");
  assert.deepEqual([shown.out, shown.err], ["3", "not many"]);
  assert.match((await etl("pool", "list")).out, /\nheavy +3 +installation +not many +\d{4}-/);
  assert.equal((await etl("pool", "delete", "heavy")).out, "The pool heavy is removed.");
  const kept = await etl("pool", "delete", "default_pool");
  assert.equal(kept.code, 2);
  assert.match(kept.err, /can be changed, not removed/);
});

Deno.test("etl variable, pool and configuration say what is wrong before anything is started", async () => {
  const cases: [string[], RegExp][] = [
    [["variable", "lst"], /cannot 'lst'; did you mean list/],
    [["variable", "show"], /needs the name of a variable/],
    [["variable", "set", "x"], /needs a name and a value/],
    [["pool", "set", "x"], /needs a name and its slots/],
    [["pool", "set", "x", "1001"], /from 0 to 1000, not '1001'/],
    [["configuration", "set", "x"], /needs what is to be saved: --conf/],
    [["configuration", "set", "x", "--conf", '{"batch_sise": 1}'], /did you mean batch_size/],
    [["schedule", "next"], /needs the name of a schedule, or --cron/],
    [["schedule", "puase", "x"], /did you mean pause/],
  ];
  const env = { KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" };
  for (const [args, message] of cases) {
    const { code, err } = await runCli(args, { env });
    assert.equal(code, 2, `${args}: ${err}`);
    assert.match(err, message);
  }
});
