import assert from "node:assert/strict";
import { join } from "node:path";
import { withClient } from "../helpers/query.ts";
import { runCli, startCli, type StartedCli } from "../helpers/cli.ts";
import { testClusterDir } from "../helpers/clusters.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { processesWith } from "../helpers/processes.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Long enough to be caught in the middle on any machine. */
const LONG = ["--set", "batch_size=20000000", "--set", "chunk_size=20000"];

interface Home extends AsyncDisposable {
  dir: string;
  env: Record<string, string>;
}

/** Directories of a user's own, and the database. */
async function homeOf(dsn: string): Promise<Home> {
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  await Deno.mkdir(join(dir, "data"));
  return {
    dir,
    env: {
      KPIS_PG_DSN: dsn,
      ETL_DATA_DIR: join(dir, "data"),
      ETL_SPOOL_DIR: join(dir, "spool"),
      ETL_WORKERS: "1",
    },
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

async function stateOf(dsn: string, runId: unknown): Promise<string> {
  return await withClient(dsn, async (client) => {
    const { rows } = await client.query("select state from etl.runs where run_id = $1", [runId]);
    return rows[0].state;
  });
}

/** Waits until a run that a command shows is in the middle: a chunk of it is prepared; answers its id. */
async function underWay(cli: StartedCli, dsn: string): Promise<string> {
  const line = await cli.says(/^run \S+ running: /);
  const runId = line.split(" ")[1]!;
  await waitFor(() =>
    withClient(dsn, async (client) => {
      const prepared = "select from etl.chunks where run_id = $1 and state = 'prepared' limit 1";
      return (await client.query(prepared, [runId])).rowCount === 1;
    })
  );
  return runId;
}

Deno.test("etl run in process sets up an empty database, loads, and loads nothing the second time", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using home = await homeOf(db.dsn);
  const first = await runCli(["run", "--json"], home);
  assert.equal(first.code, 0, first.err);
  const { run_id, duration_ms, stages, ...numbers } = first.json();
  assert.deepEqual(numbers, {
    status: "succeeded",
    total_rows: 500,
    expected_rows: 500,
    ratio: 1,
    num_chunks: 1,
    inserted: 500,
    updated: 0,
    unchanged: 0,
    rejected: 0,
    duplicates: 0,
    filtered: 0,
    deleted: 0,
    marked: 0,
  });
  assert.match(String(run_id), /^[0-9a-f-]{36}$/);
  assert.ok(Number(duration_ms) > 0);
  assert.equal(Object.keys(stages as object).length, 7);
  assert.equal(first.out.split("\n").length, 1);
  assert.match(first.err, new RegExp(`run ${run_id} succeeded`));

  const second = await runCli(["run"], home);
  assert.equal(second.code, 0, second.err);
  assert.match(second.out, /500 rows are in public\.etl_improved_events/);
  assert.match(second.out, /nothing was written/);
});

Deno.test("etl run without a database starts the embedded one, and leaves none running", async () => {
  const dir = testClusterDir(`${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`);
  await using home = await homeOf("");
  const env = { ...home.env, KPIS_PG_DSN: "", ETL_EMBEDDED_PG_DIR: dir };
  try {
    const run = await runCli(["run", "--set", "batch_size=3", "--json"], { env });
    assert.equal(run.code, 0, run.err);
    assert.equal(run.json().inserted, 3);
    const listed = await runCli(["runs", "--json"], { env });
    assert.equal((listed.json() as unknown as unknown[]).length, 1, listed.err);
    assert.deepEqual(await processesWith(dir), []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("etl run tells what is wrong with a conf before anything is started", async () => {
  const nowhere = { env: { KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" } };
  const conf = await runCli(["run", "--conf", '{"batch_sise": 1, "chunk_size": 0}'], nowhere);
  assert.equal(conf.code, 2);
  assert.match(
    conf.err,
    new RegExp(
      "^error: The conf has 2 errors\\.\\n" +
        "  chunk_size \\(0\\) is too small; expected: at least 1\\n" +
        "  batch_sise .*is not a known name; did you mean batch_size\\?$",
    ),
  );
  const option = await runCli(["run", "--cnof", "{}"], nowhere);
  assert.equal(option.code, 2);
  assert.match(option.err, /no option --cnof; did you mean --conf\?\n.*etl run --help/);
  const database = await runCli(["runs"], nowhere);
  assert.equal(database.code, 4);
  assert.match(
    database.err,
    /The database 127\.0\.0\.1:1\/none cannot be used .*Check KPIS_PG_DSN/,
  );
});

Deno.test("etl run ends with 1 when the run fails, and says why and how to go on", async (t) => {
  await using db = await testDatabase(t);
  await using home = await homeOf(db.dsn);
  const records = [{ id: 1 }, { id: 2 }, { no: 3 }];
  const source = { type: "inline", name: "a", key: "id", records };
  const run = await runCli(["run", "--source", JSON.stringify(source), "--json"], home);
  assert.equal(run.code, 1, run.err);
  const { status, rejected, inserted, error, run_id } = run.json();
  assert.deepEqual({ status, rejected, inserted }, { status: "failed", rejected: 1, inserted: 2 });
  assert.match((error as { detail: string }).detail, /min_acceptance_ratio|ratio/);

  const shown = await runCli(["show", String(run_id)], home);
  assert.equal(shown.code, 0, shown.err);
  assert.match(shown.out, /The run has failed after /);
  assert.match(shown.out, /ask for a new run/);
  assert.match(shown.out, /ratio +0\.6667 \(2 of 3\)/);
  const listed = await runCli(["runs", "--state", "failed"], home);
  assert.match(listed.out, new RegExp(`^RUN .*\n${run_id} `));
});

Deno.test("etl reads a conf from a file below where it was called, and from its standard input", async (t) => {
  await using db = await testDatabase(t);
  await using home = await homeOf(db.dsn);
  await Deno.writeTextFile(join(home.dir, "conf.json"), '{"batch_size": 3}');
  const env = { ...home.env, INIT_CWD: home.dir };
  const file = await runCli(["run", "--conf", "@conf.json", "--json"], { env });
  assert.equal(file.json().total_rows, 3, file.err);
  const input = await runCli(["run", "--conf", "@-", "--set", "dry_run=true", "--json"], {
    env,
    input: '{"batch_size": 4}',
  });
  assert.equal(input.json().total_rows, 4, input.err);
  const missing = await runCli(["run", "--conf", "@nope.json"], { env });
  assert.equal(missing.code, 2);
  assert.ok(missing.err.includes(`there is no file ${join(home.dir, "nope.json")}`));
});

Deno.test("etl run in process: Ctrl-C cancels the run, and etl retry takes it up", async (t) => {
  await using db = await testDatabase(t);
  await using home = await homeOf(db.dsn);
  const cli = startCli(["run", ...LONG, "--json"], home);
  const runId = await underWay(cli, db.dsn);
  cli.kill("SIGINT");
  assert.equal(await cli.code, 3, cli.err.join("\n"));
  const { run_id, status } = JSON.parse(cli.out.at(-1)!);
  assert.deepEqual([run_id, status], [runId, "cancelled"]);
  assert.ok(cli.err.some((each) => each.startsWith("Cancelling the run")));
  assert.equal(await stateOf(db.dsn, run_id), "cancelled");

  const again = startCli(["retry", "latest"], home);
  assert.equal(await underWay(again, db.dsn), runId);
  again.kill("SIGINT");
  assert.equal(await again.code, 3, again.err.join("\n"));
});

Deno.test("etl run in process: what ends it otherwise gives the run back to the queue", async (t) => {
  await using db = await testDatabase(t);
  await using home = await homeOf(db.dsn);
  const cli = startCli(["run", ...LONG], home);
  const runId = await underWay(cli, db.dsn);
  cli.kill("SIGTERM");
  assert.equal(await cli.code, 130, cli.err.join("\n"));
  assert.ok(cli.err.some((each) => each.includes(`run ${runId} goes back to the queue`)));
  assert.equal(await stateOf(db.dsn, runId), "queued");

  // whoever executes runs next goes on with it
  const next = startCli(["show", runId, "--follow"], home);
  assert.equal(await underWay(next, db.dsn), runId);
  next.kill("SIGINT");
  assert.equal(await next.code, 3, next.err.join("\n"));
});

Deno.test("etl with a server: asks, lists, shows, waits, cancels, retries", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  // a database that is not there shows that the server is asked
  const env = { ETL_SERVER: server.address, KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" };
  const etl = (...args: string[]) => runCli(args, { env });

  const asked = await etl("run", "--set", "batch_size=7", "--idempotency-key", "k", "--json");
  assert.equal(asked.code, 0, asked.err);
  const { run_id, created } = asked.json();
  assert.equal(created, true);
  const again = await etl(
    "run",
    "--set",
    "batch_size=7",
    "--idempotency-key",
    "k",
    "--wait",
    "--json",
  );
  assert.equal(again.code, 0, again.err);
  assert.equal(again.json().run_id, run_id);
  assert.equal(again.json().total_rows, 7);
  assert.match(again.err, /was asked for with this key before/);

  const other = await etl("run", "--set", "batch_size=8", "--idempotency-key", "k");
  assert.equal(other.code, 2);
  assert.match(other.err, /idempotency key belongs to run/);

  const refused = await etl("run", "--set", "pool=nope", "--set", "batch_size=-1");
  assert.equal(refused.code, 2);
  assert.match(refused.err, /\n {2}batch_size \(-1\) is too small/);

  const shown = await etl("show", "latest", "--json");
  assert.equal(shown.json().run_id, run_id);
  assert.deepEqual((shown.json().params as Record<string, unknown>).batch_size, {
    value: 7,
    origin: "request",
  });
  const listed = await etl("runs", "--json");
  assert.equal((listed.json() as unknown as { run_id: string }[])[0]!.run_id, run_id);

  const preview = await etl("preview", "--set", "batch_size=3");
  assert.equal(preview.code, 0, preview.err);
  assert.match(
    preview.out,
    /event_id +event_type +occurred_at +source +payload\nevt-0-0000000000 /,
  );

  const watching = startCli(["run", ...LONG, "--wait"], { env });
  const going = await underWay(watching, db.dsn);
  watching.kill("SIGINT");
  assert.equal(await watching.code, 130);
  assert.ok(watching.err.some((each) => each.startsWith(`Run ${going} goes on.`)));
  assert.equal(await stateOf(db.dsn, going), "running");

  const cancelled = await etl("cancel", going);
  assert.equal(cancelled.code, 0, cancelled.err);
  await waitFor(async () => await stateOf(db.dsn, going) === "cancelled");
  const followed = await etl("show", going, "--follow");
  assert.equal(followed.code, 3);

  const retried = await etl("retry", going);
  assert.equal(retried.code, 0, retried.err);
  assert.match(retried.out, /is (queued|running) again/);
  const twice = await etl("retry", going);
  assert.equal(twice.code, 2);
  assert.match(twice.err, /only a failed or cancelled run can be retried/);
  await etl("cancel", going);
});

Deno.test("etl with a server that is not there, or is something else, ends with 4", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const gone = await runCli(["runs", "--server", `127.0.0.1:${port}`], { env: {} });
  assert.equal(gone.code, 4);
  assert.match(
    gone.err,
    new RegExp(`No server answers at http://127\\.0\\.0\\.1:${port} .*deno task start`),
  );

  await using other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("<h1>hello</h1>", { headers: { "content-type": "text/html" } }),
  );
  const wrong = await runCli(["runs", "--server", `http://127.0.0.1:${other.addr.port}`], {
    env: {},
  });
  assert.equal(wrong.code, 4);
  assert.match(wrong.err, /is no etl-improved server/);
});

Deno.test("etl explains itself", async () => {
  const help = await runCli(["--help"], { env: {} });
  assert.equal(help.code, 0);
  assert.match(help.out, /Usage: {2}deno task etl <command>/);
  const command = await runCli(["help", "preview"], { env: {} });
  assert.match(command.out, /deno task etl preview \[options\]/);
  const wrong = await runCli(["preveiw"], { env: {} });
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /there is no command 'preveiw'; did you mean preview\?/);
});
