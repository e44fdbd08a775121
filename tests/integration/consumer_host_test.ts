import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Consumer } from "../../pipeline/consumers/consumer.ts";
import { registeredConsumers } from "../../pipeline/consumers/registered.ts";
import { Problem } from "../../vocabulary/problem.ts";
import {
  consumersIn,
  consumerWithinTime,
  hostedConsumer,
} from "../../pipeline/user_code/consumer_client.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
import { longestBlock } from "../helpers/event_loop.ts";
import { waitFor } from "../helpers/wait_for.ts";

const EVENTS = '["public.etl_improved_events"]';
const PATHS = {
  define: import.meta.resolve("../../pipeline/consumers/consumer.ts"),
  zod: import.meta.resolve("zod"),
  pg: import.meta.resolve("pg"),
};

/** Consumers of the user's own, each in a file. */
async function consumersOf(files: Record<string, string>): Promise<Consumer[]> {
  const dir = await Deno.makeTempDir({ prefix: "etl_consumers_" });
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${dir}/${name}.ts`, text);
  }
  return await consumersIn(dir);
}

async function emit(engine: Engine): Promise<void> {
  await engine.sql`insert into etl.dataset_events (dataset, emitted_by, counts)
    values ('public.etl_improved_events', 'test', '{"inserted": 1}'::jsonb)`;
}

interface Delivery {
  state: string;
  attempts: number;
  error: string | null;
  result: Record<string, unknown> | null;
}

async function delivery(
  engine: Engine,
  consumer: string,
  ready: (delivery: Delivery) => boolean,
): Promise<Delivery> {
  let found: Delivery | undefined;
  // those that compute for ever leave the others of a slow machine little
  await waitFor(async () => {
    [found] = await engine.sql<Delivery[]>`select state, attempts, error, result from etl.deliveries
      where consumer = ${consumer} order by delivery_id`;
    return found !== undefined && ready(found);
  }, { timeoutMs: 120_000, what: `consumer ${consumer}` });
  return found!;
}

const done = ({ state }: Delivery) => state === "done";
const failedOnce = ({ error }: Delivery) => error !== null;

Deno.test("a consumer in a file of one's own runs in a host: its writes and events are in the transaction that ticks it off", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create table public.written (event_no bigint, days int, at timestamptz)`;
  await engine.sql`grant select, insert on public.written to public`;
  const consumers = await consumersOf({
    defined: `
      import { z } from "${PATHS.zod}";
      import { defineConsumer } from "${PATHS.define}";
      export const written = defineConsumer({
        name: "defined", datasets: ${EVENTS}, emits: ["mart.daily"], timeoutMs: 60_000,
        params: z.object({ days: z.number().default(7) }),
        run: async ({ events, params, db, emit, log }) => {
          await db.query("insert into public.written values ($1, $2, $3)", [events[0].event_no, params.days, new Date(0)]);
          const { rows, rowCount } = await db.query({ text: "select days, at from public.written" });
          await emit("mart.daily", { inserted: rowCount });
          log.info("extract written", { rows: rowCount });
          console.log("printed");
          return { rows, sameTime: rows[0].at.getTime() === 0 };
        },
      });`,
    plain: `export const consumer = {
      name: "plain", datasets: ["mart.daily"],
      run: async ({ events, db }) => {
        const refused = await db.query("select 1 / 0").catch(({ code, message }) => ({ code, message }));
        console.log("refused with " + refused.code);
        return { from: events[0].emitted_by, refused };
      },
    };
    export const fails = { name: "fails", datasets: ${EVENTS},
      run: async ({ db }) => { await db.query("insert into public.written values (-1)"); 
        for (let n = 0; n < 1_000; n++) console.log("failing", n); throw new Error("not yet"); } };`,
  });
  assert.deepEqual(consumers.map(({ name, timeoutMs }) => [name, timeoutMs]), [
    ["defined", 60_000],
    ["plain", 600_000],
    ["fails", 600_000],
  ]);
  await using reacting = await startReacting(engine, { consumers });
  await emit(engine);
  const { result } = await delivery(engine, "defined", done);
  assert.equal(result!.sameTime, true);
  assert.equal((await delivery(engine, "fails", failedOnce)).error, "not yet");
  const written = await engine.sql`select days from public.written`;
  assert.deepEqual([...written.map(({ days }) => days)], [7]);
  assert.ok(
    reacting.log.some((line) => /extract written.*rows: 1.*consumer=defined/.test(line)),
    reacting.log.join("\n"),
  );
  assert.ok(reacting.log.some((line) => /printed.*consumer=defined/.test(line)));
  const plain = await delivery(
    engine,
    "plain",
    ({ state, error }) => state === "done" || error !== null,
  );
  for (
    const said of [
      /refused with 22012.*=plain/,
      /failing 0 .*=fails/,
      /printed 9\d\d lines more.*=fails/,
    ]
  ) {
    assert.ok(reacting.log.some((line) => said.test(line)), String(said));
  }
  // what the database refuses ends the transaction: nothing is ticked off
  assert.equal(plain.state, "pending");
});

Deno.test("the consumers of the program run in a host or without one, in the same time", async (t) => {
  await using engine = await startEngine(t);
  const path = fileURLToPath(import.meta.resolve("../../pipeline/consumers/registered.ts"));
  const example = registeredConsumers.find(({ name }) => name === "etl_downstream_example")!;
  const never = { ...example, name: "never", timeoutMs: 1_000, run: () => new Promise(() => {}) };
  const ways = [[hostedConsumer(example, path)], [example, never].map(consumerWithinTime)];
  for (const [i, consumers] of ways.entries()) {
    await using _reacting = await startReacting(engine, { consumers });
    await engine.succeed({ batch_size: 5, run_label: `run ${i}` });
    await waitFor(async () => {
      const [row] = await engine.sql`select count(*)::int as n from etl.reports`;
      return row!.n === i + 1;
    }, { what: `report ${i + 1}` });
    if (!consumers.some(({ name }) => name === "never")) continue;
    const { error } = await delivery(engine, "never", failedOnce);
    assert.match(error!, /did not end within 1000 ms/);
  }
});

Deno.test("a consumer that does not end is ended in its time, counts as failed, and holds up nobody", async (t) => {
  await using engine = await startEngine(t);
  const consumers = await consumersOf({
    loops: `const datasets = ${EVENTS}, timeoutMs = 1_000;
      export const loop = { name: "loop", datasets, timeoutMs, run: () => { for (;;); } };
      export const loop_later = { name: "loop_later", datasets, timeoutMs,
        run: async ({ db }) => { await db.query("select 1"); for (;;); } };
      export const never = { name: "never", datasets, timeoutMs, run: () => new Promise(() => {}) };
      export const slow = { name: "slow", datasets, timeoutMs,
        run: ({ db }) => db.query("select pg_sleep(3600)") };
      export const exits = { name: "exits", datasets, run: () => Deno.exit(1) };
      export const floods = { name: "floods", datasets, timeoutMs,
        run: async ({ db }) => { for (;;) db.query("select pg_sleep(0.1)"); } };
      export const steady = { name: "steady", datasets, run: async () => "done" };`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  const { ms } = await longestBlock(async () => {
    await emit(engine);
    await delivery(engine, "steady", done);
    for (const name of ["loop", "loop_later", "never", "slow"]) {
      const { error, attempts } = await delivery(engine, name, failedOnce);
      assert.match(error!, /did not end within 1000 ms \(timeoutMs\) and was stopped/);
      assert.ok(attempts >= 1);
    }
    assert.match(
      (await delivery(engine, "exits", failedOnce)).error!,
      /Deno\.exit\(\) is not there/,
    );
    assert.match(
      (await delivery(engine, "floods", failedOnce)).error!,
      /more than 100 calls|did not end/,
    );
  });
  assert.ok(ms < 2_000, `the main thread stood still for ${ms} ms`);
});

Deno.test("a consumer has no password, environment or file; it reaches the hosts that it lists, and no other", async (t) => {
  await using engine = await startEngine(t);
  await using other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("reached"),
  );
  const host = `127.0.0.1:${other.addr.port}`;
  const tries = `async ({ db }) => {
    const found = {};
    for (const [name, attempt] of Object.entries({
      env: () => Deno.env.get("KPIS_PG_DSN"),
      file: () => Deno.readTextFile("/etc/hostname"),
      fetch: async () => (await fetch("http://${host}/")).text(),
      password: async () => { const pg = await import("${PATHS.pg}"); return db instanceof pg.default.Client; },
    })) {
      try { found[name] = await attempt(); } catch (error) { found[name] = error.name; }
    }
    return found;
  }`;
  const consumers = await consumersOf({
    tries: `export const closed = { name: "closed", datasets: ${EVENTS}, run: ${tries} };
      export const listed = { name: "listed", datasets: ${EVENTS}, hosts: ["${host}"], run: ${tries} };`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  const refused = { env: "NotCapable", file: "NotCapable", fetch: "NotCapable", password: false };
  assert.deepEqual((await delivery(engine, "closed", done)).result, refused);
  assert.deepEqual((await delivery(engine, "listed", done)).result, {
    ...refused,
    fetch: "reached",
  });
});

Deno.test("a file of consumers that cannot be loaded is named", async () => {
  for (const text of ["export const x = (", "throw new Error('no');"]) {
    await assert.rejects(
      consumersOf({ broken: text }),
      (error) => error instanceof Problem && /broken\.ts cannot be loaded: \S/.test(error.message),
    );
  }
});

Deno.test("a consumer whose connection is cut comes again, and its attempt does not count; one that never ends stops after five", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create sequence public.tries`;
  await engine.sql`grant usage on sequence public.tries to public`;
  const consumers = await consumersOf({
    cut: `export const cut = { name: "cut", datasets: ${EVENTS}, run: async ({ db }) => {
      const { rows: [{ n }] } = await db.query("select nextval('public.tries')::int as n");
      if (n === 1) await db.query("select pg_sleep(3600)");
      return { n };
    } };
    export const poison = { name: "poison", datasets: ${EVENTS}, timeoutMs: 200, run: () => { for (;;); } };`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  await waitFor(async () => {
    const [ended] = await engine.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query like 'select pg_sleep(3600)%' and pid <> pg_backend_pid()`;
    return ended !== undefined;
  }, { timeoutMs: 30_000, what: "the statement that is cut" });
  const cut = await delivery(engine, "cut", done);
  assert.deepEqual([cut.result, cut.attempts, cut.error], [{ n: 2 }, 1, null]);
  await waitFor(async () => {
    // no need to wait for the pauses between attempts
    await engine.sql`update etl.deliveries set next_attempt_at = now()
      where consumer = 'poison' and state = 'pending'`;
    const [found] = await engine.sql`select state from etl.deliveries where consumer = 'poison'`;
    return found!.state === "failed";
  }, { timeoutMs: 30_000, what: "the end of the attempts" });
  const poison = await delivery(engine, "poison", () => true);
  assert.equal(poison.attempts, 5);
  const [alert] = await engine.sql`select kind, message from public.etl_improved_alerts`;
  assert.equal(alert!.kind, "consumer_failed");
  assert.match(alert!.message, /poison failed 5 times.*did not end within 200 ms/);
});

Deno.test("a consumer that ends its own transaction has written nothing and ticked nothing off; savepoints are its own", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create table public.written (who text)`;
  await engine.sql`grant select, insert on public.written to public`;
  await engine.sql`create procedure public.commits() language plpgsql as 'begin commit; end'`;
  const ends = {
    commit: "commit",
    ending: "end",
    chained: "commit and chain",
    prepared: "prepare transaction 'x'",
    undone: "rollback",
    undone_chained: "rollback and chain",
    commented: "/* select */ abort",
    several: "rollback; insert into public.written values ('several'); select 1",
    several_begun: "commit; begin",
    block: "do $$ begin commit; end $$",
    procedure: "call public.commits()",
    immediate: "set constraints all immediate",
  };
  const consumers = await consumersOf({
    ends: Object.entries(ends).map(([name, statement]) =>
      `export const ${name} = { name: "${name}", datasets: ${EVENTS}, run: async ({ db }) => {
        await db.query("insert into public.written values ('${name}')");
        await db.query(${JSON.stringify(statement)}).catch(() => {});
        await db.query("insert into public.written values ('${name}, later')");
        return "done";
      } };
      export const ${name}_alone = { name: "${name}_alone", datasets: ${EVENTS}, run: async ({ db }) => {
        await db.query("insert into public.written values ('${name} alone')");
        db.query(${JSON.stringify(statement)});
        return "done";
      } };`
    ).join("\n"),
    savepoints:
      `export const savepoints = { name: "savepoints", datasets: ${EVENTS}, run: async ({ db }) => {
      await db.query("savepoint a");
      await db.query("insert into public.written values (1 / 0)").catch(() => {});
      await db.query("rollback to savepoint a");
      await db.query("begin").catch(() => {});
      await db.query("insert into public.written values ('savepoints')");
      return "done";
    } };`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  await delivery(engine, "savepoints", done);
  const found = new Map<string, string>();
  for (const name of Object.keys(ends)) {
    found.set(name, (await delivery(engine, name, failedOnce)).error!);
  }
  for (const name of ["commit", "chained", "undone", "undone_chained", "commented"]) {
    assert.match(found.get(name)!, /has ended its transaction.*leave commit and rollback/, name);
  }
  assert.match(found.get("several")!, /multiple commands|aborted/);
  for (const name of Object.keys(ends)) {
    const alone = await delivery(
      engine,
      `${name}_alone`,
      (d) => d.state === "done" || failedOnce(d),
    );
    assert.equal(alone.state, "pending", name);
  }
  const written = await engine.sql<{ who: string }[]>`select who from public.written`;
  assert.deepEqual([...written.map(({ who }) => who)], ["savepoints"]);
});

Deno.test("what a consumer hands over has a limit, and is refused in words that say what to do", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create table public.big (text text)`;
  await engine.sql`insert into public.big select repeat('x', 20_000_000)`;
  await engine.sql`grant select on public.big to public`;
  // each its end
  const runs: Record<string, [run: string, said: RegExp]> = {
    result: [
      `() => "x".repeat(20_000_000)`,
      /at most 1 MiB of JSON, and this has 19\.1 MiB: write it into a table/,
    ],
    result_list: [`() => Array(300_000).fill(12345)`, /at most 1 MiB of JSON/],
    result_bigint: [`() => ({ n: 1n })`, /kept as JSON, and cannot be written so: .*BigInt/],
    result_circle: [
      `() => { const a = {}; a.a = a; return a; }`,
      /kept as JSON, and cannot be written so: .*circular/,
    ],
    result_nul: [String.raw`() => ({ "a\0": 1 })`, /answers holds a NUL character/],
    result_half: [String.raw`() => ["\ud800"]`, /half of a surrogate pair/],
    error: [`() => { throw new Error("e".repeat(20_000_000)); }`, /^e{1000}…$/],
    no_error: [`() => { throw null; }`, /^null$/],
    query_null: [
      `({ db }) => db.query(null)`,
      /takes the statement as text, or \{ text, values \}; it was given null/,
    ],
    several: [`({ db }) => db.query("select 1; select 2")`, /multiple commands/],
    answer_rows: [
      `({ db }) => db.query("select repeat('x', 1000) from generate_series(1, 1e6)")`,
      /answered more than 8 MiB: read in parts/,
    ],
    answer_value: [
      `({ db }) => db.query("select text from public.big").catch(() => 1)`,
      /answered more than 8 MiB/,
    ],
    emit_null: [
      `({ emit }) => emit(null)`,
      /takes a dataset as "schema\.table"; it was given null/,
    ],
  };
  // of one consumer, as each is refused before it is sent
  const calls: typeof runs = {
    query_list: [`({ db }) => db.query(["select 1"])`, /it was given a list/],
    query_nul: [
      String.raw`({ db }) => db.query("select 1\0")`,
      /the statement of db\.query\(\) holds a NUL/,
    ],
    query_long: [
      `({ db }) => db.query("select '" + "x".repeat(17_000_000) + "'")`,
      /at most 16 MiB with its parameters, and this one has 16\.3 MiB/,
    ],
    values: [
      `({ db }) => db.query("select $1", 5)`,
      /values of \$1, \$2, … as a list; it was given a number/,
    ],
    values_nul: [
      String.raw`({ db }) => db.query("select $1, $2", ["a", "\0"])`,
      /parameter \$2 of db\.query\(\) holds a NUL/,
    ],
    values_code: [
      `({ db }) => db.query("select $1", [() => 1])`,
      /parameter \$1 of db\.query\(\) is a function/,
    ],
    values_circle: [
      `({ db }) => { const a = {}; a.a = a; return db.query("select $1::jsonb", [a]); }`,
      /parameter \$1 of db\.query\(\) cannot be sent: .*circular/,
    ],
    values_long: [
      `({ db }) => db.query("select $1::text", ["x".repeat(17_000_000)])`,
      /write in several calls/,
    ],
    emit_object: [`({ emit }) => emit({})`, /it was given an object/],
    emit_counts: [
      `({ emit }) => emit("s.t", 7)`,
      /takes counts as an object.* it was given a number/,
    ],
    emit_nan: [
      `({ emit }) => emit("s.t", { inserted: NaN })`,
      /takes numbers as counts, and "inserted" is NaN/,
    ],
    emit_many: [
      `({ emit }) => emit("s.t", Object.fromEntries(Array.from({ length: 101 }, (_, i) => [i, 1])))`,
      /at most 100 counts/,
    ],
    emit_other: [
      `({ emit }) => emit("s".repeat(20_000_000))`,
      /takes a dataset as "schema\.table"; it was given "s{60}…"/,
    ],
  };
  const consumers = await consumersOf({
    hands: Object.entries(runs).map(([name, [run]]) =>
      `export const ${name} = { name: "${name}", datasets: ${EVENTS}, run: async (context) => (${run})(context) };`
    ).join("\n") +
      `export const fine = { name: "fine", datasets: ${EVENTS}, run: async ({ db, log }) => {
        log.info(null, null);
        const { rows } = await db.query({ text: "select $1::int[] as list, $2::jsonb as json, $3::bytea as bytes, $4::text as none",
          values: [[1, 2], { a: [1] }, new Uint8Array([1, 2]), undefined] });
        return { ...rows[0], bytes: [...rows[0].bytes] };
      } };`,
    calls: `export const calls = { name: "calls", datasets: ${EVENTS}, run: async (context) => {
        const said = {};
        const call = (name, run) => run(context).then(() => "taken", ({ message }) => message)
          .then((message) => said[name] = message);
        ${
      Object.entries(calls).map(([name, [run]]) =>
        `await call("${name}", async (c) => (${run})(c));`
      )
        .join("\n")
    }
        return said;
      } };`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  const { result: said } = await delivery(engine, "calls", done);
  for (const [name, [, pattern]] of Object.entries(calls)) {
    const message = String(said![name]);
    assert.match(message, pattern, name);
    assert.ok(message.length <= 1001, name);
  }
  const { result } = await delivery(engine, "fine", done);
  assert.deepEqual(result, { list: [1, 2], json: { a: [1] }, bytes: [1, 2], none: null });
  for (const [name, [, said]] of Object.entries(runs)) {
    const { error } = await delivery(
      engine,
      name,
      ({ state, error }) => state === "done" || error !== null,
    );
    assert.match(error ?? "", said, name);
    assert.ok(error!.length <= 1001, name);
  }
});
