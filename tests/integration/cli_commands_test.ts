import assert from "node:assert/strict";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { downstreamExample } from "../../pipeline/consumers/downstream_example.ts";
import { cliOf } from "../helpers/cli.ts";
import { startEngine } from "../helpers/engine.ts";
import { consumeEnds, startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("etl alert lists what is open, acknowledges, silences and closes it, and tests the channels", async (t) => {
  await using engine = await startEngine(t);
  await using cli = cliOf(engine);
  const { etl } = cli;
  for (const run_label of ["a", "b"]) {
    await engine.runToEnd({ run_label, source: { type: "file", path: "missing.csv", key: "id" } });
    await consumeEnds(engine.sql);
  }
  const listed = await etl("alert");
  assert.equal(listed.code, 0, listed.err);
  assert.match(
    listed.out,
    /^FINGERPRINT +SINCE +TIMES +STATE\n(?:run_failed:[ab] +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +1 +open\n?){2}$/,
  );
  assert.equal((await etl("alert", "ack", "run_failed:a")).out, "run_failed:a: done");
  await etl("alert", "silence", "run_failed:b", "--minutes", "90");
  const [silence] = await engine.sql<{ minutes: number }[]>`
    select round(extract(epoch from silenced_until - now()) / 60)::int as minutes from etl.alert_states where subject = 'b'`;
  assert.equal(silence!.minutes, 90);
  const states = (await etl("alert")).out;
  assert.match(states, /run_failed:a .* acknowledged by /);
  assert.match(states, /run_failed:b .* silenced by .* until \d{4}-\d\d-\d\dT\d\d:\d\d$/m);
  await etl("alert", "close", "run_failed:a");
  assert.deepEqual(
    (JSON.parse((await etl("alert", "--json")).out) as { fingerprint: string }[])
      .map(({ fingerprint }) => fingerprint),
    ["run_failed:b"],
  );
  assert.equal((await etl("alert", "close", "run_failed:none")).code, 2);

  const none = await etl("alert", "test");
  assert.equal(none.code, 1, "nobody would be told");
  assert.match(none.out, /^No server has a channel: set SLACK_WEBHOOK/);
  await engine.sql`update etl.reaction_settings set channels = '{slack,email}'`;
  const sent = await etl("alert", "test");
  assert.deepEqual([sent.code, sent.out], [0, "On its way to slack, email."]);
});

Deno.test("etl consumer, downstream, reports and redeliver run consumers and show what they made", async (t) => {
  await using engine = await startEngine(t);
  await using cli = cliOf(engine);
  const { etl } = cli;
  const counter = defineConsumer({
    name: "counter",
    datasets: ["public.etl_improved_events"],
    emits: ["mart.counts"],
    mode: "batch",
    params: z.object({}),
    run: () => Promise.resolve({ pages: 2 }),
  });
  await using _reacting = await startReacting(engine, { consumers: [downstreamExample, counter] });
  await engine.succeed({ batch_size: 9 });
  await waitFor(async () =>
    (await engine.sql`select from etl.deliveries where state <> 'done'`).length === 0 &&
    (await engine.sql`select from etl.deliveries`).length === 2
  );
  assert.equal((await etl("consumer", "run", "counter")).out, 'counter: done {"pages":2}');
  const failed = engine.sql`update etl.deliveries set state = 'failed', error = 'out of paper'
    where delivery_id = (select min(delivery_id) from etl.deliveries where consumer = 'counter')`;
  assert.equal((await failed).count, 1);
  const [title, mine] = (await etl("consumer")).out.split("\n");
  assert.match(title!, /^CONSUMER +LISTENS +WRITES +WAITS +FAILED +LAST +ERROR$/);
  assert.match(
    mine!,
    /^counter +public\.etl_improved_events +mart\.counts +0 +1 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +out of paper$/,
  );
  assert.equal(
    (await etl("redeliver", "counter", "--delivery", "999999")).out,
    "0 events wait again.",
  );
  assert.equal((await etl("redeliver", "counter")).out, "1 event waits again.");
  assert.match((await etl("consumer", "run")).err, /etl consumer run needs the name of a consumer/);

  const asked = await etl("downstream", "--analysis-type", "by_type", "--top-n", "1", "--cleanup");
  assert.equal(asked.code, 0, asked.err);
  assert.match(asked.out, /^etl_downstream_example: \{.*"removed":\{"tables":0\}.*`etl reports`/);
  const report = await etl("reports", "--analysis-type", "by_type");
  assert.match(report.err, /^etl_downstream_example, by_type, \d{4}-/);
  assert.equal(JSON.parse(report.out).types.length, 1);
  assert.equal((await etl("reports", "--analysis-type", "anomalies")).code, 2);
  assert.equal((await etl("reports", "--consumer", "counter")).code, 2);
  assert.match((await etl("downstream", "--top-n", "0")).err, /--top-n must be a whole number/);
});

Deno.test("etl dataset alter adds and widens columns, and changes which fields of a source are left out or hashed", async (t) => {
  await using engine = await startEngine(t, {
    env: { ETL_HASH_SECRET: "a secret of at least 32 characters, for tests" },
  });
  await using cli = cliOf(engine);
  const alter = (...args: string[]) => cli.etl("dataset", "alter", "public.people", ...args);
  await engine.load([{ id: 1, n: 1 }], { table_name: "typed", layout: "typed" });
  const load = (name: string, more: object = {}) =>
    engine.load([{ id: name, n: 1, mail: "m", phone: "p" }], {
      table_name: "people",
      ...more,
      source: { name },
    });
  await load("shop", { exclude: ["phone"] });
  await load("fair", { exclude: ["phone"] });
  const added = await cli.etl(
    "dataset",
    "alter",
    "public.typed",
    "--add",
    "a:b:numeric(5,2)",
    "--type",
    "n:numeric",
  );
  assert.equal(added.code, 0, added.err);
  assert.match(
    added.out,
    /^COLUMN +TYPE +FIELD\n(?:.*\n)*n +numeric +n\n(?:.*\n)*a_b +numeric\(5,2\) +a:b$/m,
  );
  const unnamed = await alter("--exclude", "phone,mail");
  assert.equal(unnamed.code, 2, "there are two sources");
  assert.match(unnamed.err, /of several sources: say with --source which one is meant/);
  const told = await alter("--source", "shop", "--exclude", " phone , mail", "--hash", "");
  assert.equal(told.out, "Left out: mail, phone. Hashed: none.");
  const hashed = await alter("--source", "fair", "--hash", "mail", "--json");
  assert.deepEqual(hashed.json(), { exclude: ["phone"], hash: ["mail"] });
  assert.match((await alter()).err, /say with --add, --type, --exclude or --hash what to alter/);
  assert.match((await alter("--add", "x")).err, /--add is a name and a type, such as/);
});

Deno.test("etl run says that no run was made while one of its label goes on, and waits for none", async (t) => {
  await using engine = await startEngine(t);
  await using cli = cliOf({
    // whoever followed the other run would see an error
    request: (path, init) => engine.request(path.replace(/events$/, "nothing"), init),
  });
  const { run_id } = await engine.submit({ batch_size: 1, run_label: "night" });
  const skipping = ["run", "--set", "run_label=night", "--set", "overlap=skip", "--wait"];
  const asked = await cli.etl(...skipping, "--json");
  assert.equal(asked.code, 0, asked.err);
  assert.deepEqual(asked.json(), { run_id, status: "queued", created: false, skipped: true });
  const said = await cli.etl(...skipping);
  assert.deepEqual([said.code, said.out], [0, ""]);
  assert.match(
    said.err,
    new RegExp(`^No run was made: run ${run_id} of the same label is going on`),
  );
});

Deno.test("etl maintenance confirms only what it is told to, and ends with 1 when a task has failed", async () => {
  const asked: string[] = [];
  const at = "2026-01-01T00:00:00.000Z";
  const task = { task: "clean_old_events", cutoff: at, started_at: at, ended_at: at, deleted: 7 };
  await using cli = cliOf({
    request(path) {
      asked.push(path);
      const failed = { ...task, state: "failed", warnings: ["slow"], error: "no room" };
      const view = { maintenance_id: "m1", state: "failed", ended_at: at, tasks: [failed] };
      return Promise.resolve(Response.json(view));
    },
  });
  const done = await cli.etl("maintenance");
  assert.equal(done.code, 1);
  assert.match(done.out, /^clean_old_events +failed +2026-01-01 +7 /m);
  assert.match(done.out, /warning: clean_old_events: slow\nerror: clean_old_events: no room\n/);
  await cli.etl("maintenance", "--confirm");
  assert.deepEqual(asked, ["/api/etl/maintenance", "/api/etl/maintenance?confirm=true"]);
});

Deno.test("etl compare and etl suite try end with 1 where something differs or fails, and say what", async () => {
  const same = { dataset: "public.a", other: "public.b", equal: 3, different: 0 };
  const found = { ...same, only_in_dataset: 0, only_in_other: 0, fields: {}, differences: [] };
  const comparisons = [found, { ...found, rejected: 2 }, { ...found, only_in_other: 1 }];
  const kwargs = [{ column: "n" }, { column_A: "a", column_B: "b" }, { column_list: ["x", "y"] }];
  const results = kwargs.map((each, i) => ({
    success: i > 0,
    expectation_config: { type: "expect_it", kwargs: each },
    exception_info: { raised_exception: false },
    result: { unexpected_count: 2, partial_unexpected_list: [7] },
  }));
  const statistics = { evaluated_expectations: 3, successful_expectations: 2 };
  await using cli = cliOf({
    request: (path) =>
      Promise.resolve(Response.json(
        path.endsWith("/try") ? { success: false, statistics, results } : comparisons.shift(),
      )),
  });
  const compared = [];
  for (let i = 0; i < 3; i++) compared.push(await cli.etl("compare", "public.a", "public.b"));
  assert.deepEqual(compared.map(({ code }) => code), [0, 1, 1]);
  assert.match(compared[1]!.out, /^3 equal, .*\n2 rejected: etl quarantine/);
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/suite.json`, '{"expectations": []}');
  const tried = await cli.etl("suite", "try", `${dir}/suite.json`, "--source", "{}");
  await Deno.remove(dir, { recursive: true });
  assert.equal(tried.code, 1);
  assert.match(tried.out, /^✗ +expect_it +n +2 unexpected, such as \[7\]$/m);
  assert.match(tried.out, /^✓ +expect_it +a, b +/m);
  assert.match(tried.out, /^✓ +expect_it +x, y +/m);
  assert.match(tried.out, /1 of 3 expectations do not hold\.$/);
});

Deno.test("etl runs and etl logs show what is asked for, and say when there is more or nothing", async (t) => {
  await using engine = await startEngine(t);
  await using cli = cliOf(engine);
  const { etl } = cli;
  assert.match((await etl("runs")).out, /^There are no runs yet/);
  const night = await engine.succeed({ batch_size: 3, run_label: "night" });
  const dry = await engine.succeed({ batch_size: 3, dry_run: true, run_label: "day" });
  const idsOf = (out: string) => out.split("\n").slice(1).map((line) => line.split(" ")[0]);
  const all = await etl("runs");
  assert.deepEqual(idsOf(all.out), [dry.run_id, night.run_id], "newest first");
  assert.match(all.out, /^RUN +LABEL +STATE +REQUESTED +TOOK +ROWS +RATIO\n/);
  assert.match(
    all.out,
    / day +succeeded \(dry run\) +\d{4}-\d\d-\d\d \d\d:\d\d +\S+.*\n.* night +succeeded .* 3 +1$/,
  );
  assert.deepEqual(idsOf((await etl("runs", "--label", "night")).out), [night.run_id]);
  assert.equal((await etl("runs", "--state", "failed")).out, "No run is like that.");
  assert.match(
    (await etl("runs", "--limit", "1")).out,
    /\nThere are more: --limit shows up to 500\.$/,
  );
  assert.match((await etl("runs", "--state", "done")).err, /--state must be one of queued, /);

  await engine.sql`delete from etl.run_logs`;
  assert.match((await etl("logs", night.run_id)).out, /^Nothing is kept of the log of run /);
  const lines = [["info", "run began", {}], ["warn", "slow", { file: "Sales 1.csv", n: 2 }], [
    "error",
    "lost",
    {},
  ]] as const;
  for (const [i, [level, message, fields]] of lines.entries()) {
    await engine.sql`insert into etl.run_logs (run_id, line_no, logged_at, level, message, fields)
      values (${night.run_id}, ${i + 1}, '2026-01-01T00:00:00Z', ${level}, ${message}, ${
      JSON.stringify(fields)
    }::text::jsonb)`;
  }
  const logs = async (...args: string[]) =>
    (await etl("logs", night.run_id, ...args)).out.split("\n");
  assert.deepEqual(await logs(), [
    "2026-01-01T00:00:00.000Z info  run began",
    '2026-01-01T00:00:00.000Z warn  slow n=2 file="Sales 1.csv"',
    "2026-01-01T00:00:00.000Z error lost",
  ]);
  assert.deepEqual((await logs("--level", "warn")).map((line) => line.slice(25, 30)), [
    "warn ",
    "error",
  ]);
  assert.match((await logs("--search", "sales")).join(), / slow n=2 /);
  assert.match((await logs("--limit", "1")).join(), /^\S+ error lost$/);
  assert.deepEqual(await logs("--search", "none"), ["None of its 3 lines is one of those."]);
  assert.match(
    (await etl("logs", "latest", "--level", "loud")).err,
    /--level must be one of debug/,
  );
});

Deno.test("etl show --follow takes up a stream that breaks, from a server that does not answer for a while", async (t) => {
  await using engine = await startEngine(t);
  const { run_id } = await engine.submit({ batch_size: 3 });
  const answers = ["broken", "away", "whole"];
  const asked: (string | null)[] = [];
  await using cli = cliOf({
    async request(path, init) {
      if (!path.endsWith("/events")) return await engine.request(path, init);
      asked.push(new Headers(init.headers).get("last-event-id"));
      const answer = answers.shift();
      if (answer === "away") {
        await engine.toEnd(run_id);
        return new Response("no", { status: 502 });
      }
      const response = await engine.request(path, init);
      if (answer === "whole") return response;
      const [first] = await Array.fromAsync(takeOne(response.body!));
      return new Response(first!);
    },
  });
  const followed = await cli.etl("show", run_id, "--follow", "--json");
  assert.equal(followed.code, 0, followed.err);
  assert.equal(followed.json().status, "succeeded");
  assert.equal(asked.length, 3);
  assert.equal(asked[0], null);
  assert.ok(asked[1] !== null && asked[1] === asked[2], "it says how far it has come");
});

/** The first block of a stream, which is then let go. */
async function* takeOne(stream: ReadableStream<Uint8Array>) {
  for await (const block of stream) {
    yield block as Uint8Array<ArrayBuffer>;
    return;
  }
}
