import assert from "node:assert/strict";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { redeliver } from "../../store/deliveries.ts";
import { databaseHealth } from "../../store/health.ts";
import { sweepConditions } from "../../store/reactions.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
import { startServer } from "../helpers/server.ts";
import { withClient } from "../helpers/query.ts";
import { waitFor } from "../helpers/wait_for.ts";

const EVENTS = "postgres://etl_improved/etl_improved_events";
const none = z.object({});

/** Writes a dataset event, as the end of a run does. */
const emit = async (engine: Engine, counts: object = { inserted: 1, updated: 0 }) => {
  const [row] = await engine.sql<{ event_no: string }[]>`
    insert into etl.dataset_events (dataset, emitted_by, counts)
    values ('public.etl_improved_events', 'test', ${
    JSON.stringify(counts)
  }::text::jsonb) returning event_no`;
  return Number(row!.event_no);
};

const settled = (engine: Engine, name?: string) => async () => {
  const rows = await engine.sql`select state from etl.deliveries
    where ${name ?? null}::text is null or consumer = ${name ?? null}`;
  return rows.length > 0 && rows.every((row) => row.state !== "pending");
};

const statesOf = async (engine: Engine, name: string) =>
  (await engine.sql<{ state: string }[]>`
    select state from etl.deliveries where consumer = ${name} order by delivery_id`)
    .map((row) => row.state);

/** Notes which events each execution got. */
function recorder(name: string, options: Partial<Parameters<typeof defineConsumer>[0]> = {}) {
  const seen: number[][] = [];
  const consumer = defineConsumer({
    name,
    datasets: [EVENTS],
    params: none,
    ...options,
    run: async (context) => {
      seen.push(context.events.map((event) => event.event_no));
      return await options.run?.(context as never);
    },
  });
  return { consumer, seen };
}

Deno.test("each succeeded run is one dataset event, unchanged ones too; dry and failed runs are none", async (t) => {
  await using engine = await startEngine(t);
  const every = recorder("every");
  const changes = recorder("changes", { skipUnchanged: true });
  await using _reacting = await startReacting(engine, {
    consumers: [every.consumer, changes.consumer],
  });
  await engine.succeed({ batch_size: 5 });
  await engine.succeed({ batch_size: 5, dry_run: true });
  await engine.runToEnd({ source: { type: "file", path: "missing.csv", key: "id" } });
  await engine.succeed({ batch_size: 5 });
  await waitFor(settled(engine));
  const events = await engine
    .sql`select event_no::int as no, counts from etl.dataset_events order by event_no`;
  assert.deepEqual(events.map((e) => [e.counts.inserted, e.counts.unchanged]), [[5, 0], [0, 5]]);
  assert.deepEqual(every.seen.flat(), events.map((event) => event.no));
  assert.deepEqual(changes.seen.flat(), [events[0]!.no]);
  assert.deepEqual(await statesOf(engine, "changes"), ["done", "skipped"]);
});

Deno.test("mode batch takes all events that wait, mode each one at a time in order", async (t) => {
  await using engine = await startEngine(t);
  const each = recorder("one_by_one");
  const batch = recorder("together", { mode: "batch" });
  {
    // registered, and then no server for a while
    await using _first = await startReacting(engine, {
      consumers: [each.consumer, batch.consumer],
    });
  }
  const numbers = [await emit(engine), await emit(engine), await emit(engine)];
  await using _reacting = await startReacting(engine, {
    consumers: [each.consumer, batch.consumer],
  });
  await waitFor(settled(engine));
  assert.deepEqual(each.seen, numbers.map((no) => [no]));
  assert.deepEqual(batch.seen, [numbers]);
});

Deno.test("between two executions of a batch there are pauseMs", async (t) => {
  await using engine = await startEngine(t);
  const at: number[] = [];
  const paused = recorder("paused", {
    mode: "batch",
    pauseMs: 400,
    run: () => Promise.resolve(at.push(performance.now())),
  });
  await using _reacting = await startReacting(engine, { consumers: [paused.consumer] });
  await emit(engine);
  await waitFor(() => paused.seen.length === 1);
  await emit(engine);
  await waitFor(() => paused.seen.length === 2);
  assert.ok(at[1]! - at[0]! >= 399, `after ${at[1]! - at[0]!} ms`);
  // of more than a batch holds, the others are the next one
  await engine.sql`insert into etl.dataset_events (dataset, emitted_by)
    select 'public.etl_improved_events', 'test' from generate_series(1, 1001)`;
  await waitFor(() => paused.seen.flat().length === 1003);
  assert.deepEqual(paused.seen.map((events) => events.length), [1, 1, 1000, 1]);
});

Deno.test("two servers deliver each event once to each consumer", async (t) => {
  await using engine = await startEngine(t);
  const [a, b] = [recorder("shared"), recorder("shared")];
  await using _one = await startReacting(engine, { consumers: [a.consumer] });
  await using _two = await startReacting(engine, { consumers: [b.consumer] });
  const numbers = await Promise.all(Array.from({ length: 30 }, () => emit(engine)));
  await waitFor(settled(engine), { timeoutMs: 30_000 });
  const seen = [...a.seen, ...b.seen].flat().sort((x, y) => x - y);
  assert.deepEqual(seen, numbers.sort((x, y) => x - y));
});

Deno.test("on two servers, consumers are told of ends of runs in the order of their events, though one is stored while another commits", async (t) => {
  await using engine = await startEngine(t);
  const [a, b] = [recorder("ordered"), recorder("ordered")];
  const seen: number[] = [];
  for (const { consumer } of [a, b]) {
    const { run } = consumer;
    consumer.run = (context, execution) => {
      seen.push(...context.events.map((event) => event.event_no));
      return run(context, execution);
    };
  }
  await using _one = await startReacting(engine, { consumers: [a.consumer] });
  await using _two = await startReacting(engine, { consumers: [b.consumer] });
  const insert =
    "insert into etl.dataset_events (dataset, emitted_by) values ('public.etl_improved_events', 'test')";
  for (let i = 0; i < 5; i++) {
    // the first has its number and takes its time to commit
    const later: Promise<unknown>[] = [];
    await withClient(engine.db.dsn, async (slow) => {
      await slow.query("begin");
      await slow.query(insert);
      for (let n = 0; n < 3; n++) later.push(emit(engine));
      await waitFor(async () => {
        const [row] = await engine.sql`select count(*)::int as n from pg_stat_activity
          where datname = current_database() and wait_event = 'advisory' and query like '%into etl.dataset_events%'`;
        return row!.n === 3;
      }, { what: "three inserts wait for the one before them" });
      await slow.query("commit");
    });
    await Promise.all(later);
  }
  await waitFor(settled(engine), { timeoutMs: 30_000 });
  assert.equal(seen.length, 20);
  assert.deepEqual(seen, seen.toSorted((x, y) => x - y));
});

Deno.test("a consumer that throws comes again without what it wrote, and holds up no other", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create table public.written (event_no int)`;
  await engine.sql`grant select, insert on public.written to public`;
  let failures = 2;
  const flaky = recorder("flaky", {
    run: async ({ db, events }) => {
      await db.query("insert into public.written values ($1)", [events[0]!.event_no]);
      if (failures-- > 0) throw new Error("not yet");
    },
  });
  const steady = recorder("steady");
  await using _reacting = await startReacting(engine, {
    consumers: [flaky.consumer, steady.consumer],
  });
  const no = await emit(engine);
  await waitFor(settled(engine, "steady"));
  await waitFor(settled(engine, "flaky"), { timeoutMs: 30_000 });
  assert.equal(flaky.seen.length, 3);
  assert.deepEqual(await statesOf(engine, "flaky"), ["done"]);
  const written = await engine.sql`select event_no from public.written`;
  assert.deepEqual(
    written.map((row) => row.event_no),
    [no],
    "only the attempt that succeeded counts",
  );
});

Deno.test("a consumer that always fails is given up after five attempts, and is an alert", async (t) => {
  await using engine = await startEngine(t);
  let broken = true;
  const hopeless = recorder("hopeless", {
    run: () => broken ? Promise.reject(new Error("no such column")) : Promise.resolve(),
  });
  await using _reacting = await startReacting(engine, { consumers: [hopeless.consumer] });
  await emit(engine);
  // no need to wait for the pauses between attempts
  await waitFor(async () => {
    await engine.sql`update etl.deliveries set next_attempt_at = now() where state = 'pending'`;
    return await settled(engine)();
  }, { timeoutMs: 30_000, intervalMs: 200 });
  assert.equal(hopeless.seen.length, 5);
  assert.deepEqual(await statesOf(engine, "hopeless"), ["failed"]);
  const [alert] = await engine
    .sql`select kind, message, resolved_at from public.etl_improved_alerts`;
  assert.equal(alert!.kind, "consumer_failed");
  assert.match(alert!.message, /hopeless failed 5 times .* no such column/);
  const [given] = await engine.sql<{ id: string }[]>`select delivery_id as id from etl.deliveries`;
  const shown = await (await engine.request(`/api/deliveries/${given!.id}`)).json();
  assert.deepEqual([shown.state, shown.attempts, shown.result], ["failed", 5, null]);
  assert.match(shown.error, /no such column/);
  broken = false;
  await emit(engine);
  await waitFor(async () => (await statesOf(engine, "hopeless"))[1] === "done");
  const isOpen = async () => {
    await sweepConditions(engine.sql);
    const [row] = await engine.sql<{ open: boolean }[]>`
      select resolved_at is null as open from etl.alert_states where fingerprint = 'consumer_failed:hopeless'`;
    return row!.open;
  };
  assert.equal(await isOpen(), true, "what was given up still is");
  // at once, whatever pause its last failure began
  await engine.sql`update etl.deliveries set next_attempt_at = 'infinity' where state = 'failed'`;
  const options = { deliveryId: null, actor: "ann" };
  assert.equal(await redeliver(engine.sql, "steady", options), 0);
  assert.equal(await redeliver(engine.sql, "hopeless", options), 1, "only what was given up");
  await waitFor(async () => (await statesOf(engine, "hopeless"))[0] === "done");
  const [resolved] = await engine.sql`select resolved_at from public.etl_improved_alerts`;
  assert.notEqual(resolved!.resolved_at, null);
});

Deno.test("a consumer emits events of its own, which start the next one in the chain", async (t) => {
  await using engine = await startEngine(t);
  const first = recorder("first", {
    emits: ["mart.daily"],
    run: ({ emit }) => emit("mart.daily", { inserted: 7 }),
  });
  const second = recorder("second", { datasets: ["mart.daily"] });
  const liar = recorder("liar", {
    emits: ["mart.weekly"],
    run: ({ emit }) => emit("mart.daily"),
  });
  await using reacting = await startReacting(engine, {
    consumers: [first.consumer, second.consumer, liar.consumer],
  });
  await emit(engine);
  await waitFor(settled(engine, "second"));
  const [event] = await engine
    .sql`select emitted_by, run_id, counts from etl.dataset_events where dataset = 'mart.daily'`;
  assert.deepEqual({ ...event }, { emitted_by: "first", run_id: null, counts: { inserted: 7 } });
  await waitFor(() => reacting.log.some((line) => line.includes("does not list")));
});

Deno.test("a consumer's transaction begins with its first query", async (t) => {
  await using engine = await startEngine(t);
  const computing = Promise.withResolvers<void>();
  const computed = Promise.withResolvers<void>();
  const open = async () =>
    (await engine.sql`select from pg_stat_activity where datname = current_database()
      and application_name = 'etl-lease consumer slow' and xact_start is not null`).length;
  let inTransaction = -1;
  const slow = recorder("slow", {
    run: async ({ db }) => {
      computing.resolve();
      await computed.promise;
      await db.query("select 1");
      inTransaction = await open();
    },
  });
  await using _reacting = await startReacting(engine, { consumers: [slow.consumer] });
  await emit(engine);
  await computing.promise;
  assert.equal(await open(), 0);
  computed.resolve();
  await waitFor(settled(engine, "slow"));
  assert.deepEqual(await statesOf(engine, "slow"), ["done"]);
  assert.equal(inTransaction, 1);
});

Deno.test("a consumer whose connection is cut is told by its signal, and comes again only when it has ended", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const waiting = Promise.withResolvers<void>();
  const told: unknown[] = [];
  const cut = recorder("cut", {
    run: async ({ db, signal }) => {
      if (cut.seen.length > 1) return "again";
      const over = new Promise((resolve) => signal.addEventListener("abort", resolve));
      await db.query("select 1");
      waiting.resolve();
      await over;
      // nobody else may have its event before it has ended, however long that takes
      for (let i = 0; i < 100; i++) {
        const [delivery] = await sql`select state, attempts from etl.deliveries`;
        told.push(`${delivery!.state}, attempt ${delivery!.attempts}`);
      }
      return "too late";
    },
  });
  await using _reacting = await startReacting(engine, { consumers: [cut.consumer] });
  const no = await emit(engine);
  await waiting.promise;
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
    and application_name = 'etl-lease consumer cut' and xact_start is not null`;
  await waitFor(settled(engine, "cut"), { timeoutMs: 30_000 });
  assert.deepEqual(
    new Set(told),
    new Set(["pending, attempt 1"]),
    "it is not given back meanwhile",
  );
  assert.deepEqual(cut.seen, [[no], [no]]);
  const [delivery] = await sql`select state, attempts, result from etl.deliveries`;
  assert.deepEqual({ ...delivery }, { state: "done", attempts: 1, result: "again" });
});

Deno.test("an attempt does not count where the database was away, whatever the consumer throws, and counts where only its words say so", async (t) => {
  await using engine = await startEngine(t);
  const cut = recorder("cut", {
    run: async ({ db }) => {
      if (cut.seen.length > 1) return "again";
      const { rows: [row] } = await db.query("select pg_backend_pid() as pid");
      await engine.sql`select pg_terminate_backend(${row!.pid})`;
      await db.query("select 1").catch(() => {
        throw new Error("the orders could not be read");
      });
    },
  });
  const words = recorder("words", {
    run: () =>
      words.seen.length > 1
        ? Promise.resolve("again")
        : Promise.reject(new Error("connection terminated by the shop")),
  });
  // its commit is cut
  await engine.sql`create table public.written (note text)`;
  await engine.sql`create sequence public.commits`;
  await engine
    .sql`create function public.cut_once() returns trigger language plpgsql security definer as
    'begin if nextval(''public.commits'') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; return null; end'`;
  await engine.sql`create constraint trigger cut_once after insert on public.written
    deferrable initially deferred for each row execute function public.cut_once()`;
  await engine.sql`grant insert on public.written to public`;
  const commit = recorder("committing", {
    run: async ({ db }) => {
      await db.query("insert into public.written values ('x')");
      return "again";
    },
  });
  // its own limit, on a server that speaks another language
  const limit = recorder("limited", {
    run: async ({ db }) => {
      if (limit.seen.length > 1) return "again";
      await db.query("do $$ begin raise exception 'cancelando' using errcode = '57014'; end $$");
    },
  });
  await using _reacting = await startReacting(engine, {
    consumers: [cut.consumer, words.consumer, limit.consumer, commit.consumer],
  });
  await emit(engine);
  await waitFor(settled(engine), { timeoutMs: 30_000 });
  assert.deepEqual(
    (await engine.sql`select consumer, attempts, result from etl.deliveries order by 1`)
      .map(({ consumer, attempts, result }) => [consumer, attempts, result]),
    [
      ...[["committing", 1, "again"], ["cut", 1, "again"]],
      ...[["limited", 2, "again"], ["words", 2, "again"]],
    ],
  );
  assert.equal(commit.seen.length, 2);
});

Deno.test("a statement that a consumer begins after it has ended is refused, also while its transaction is committed", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create table public.written (note text)`;
  await engine
    .sql`create function public.slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.5); return null; end'`;
  await engine.sql`create constraint trigger slow after insert on public.written
    deferrable initially deferred for each row execute function public.slow()`;
  await engine.sql`grant select, insert on public.written to public`;
  const late = Promise.withResolvers<string>();
  const hasty = recorder("hasty", {
    run: async ({ db }) => {
      await db.query("insert into public.written values ('in time')");
      // while the commit waits for the trigger
      void waitFor(async () =>
        (await engine.sql`select from pg_stat_activity where wait_event = 'PgSleep'
          and datname = current_database() and query = 'commit'`).length > 0
      ).then(() => db.query("insert into public.written values ('late')"))
        .then(() => late.resolve("written"), (error) => late.resolve(error.message));
    },
  });
  await using _reacting = await startReacting(engine, { consumers: [hasty.consumer] });
  await emit(engine);
  assert.equal(await late.promise, "the consumer's transaction has ended");
  await waitFor(settled(engine, "hasty"));
  assert.deepEqual((await engine.sql`select note from public.written`).map(({ note }) => note), [
    "in time",
  ]);
});

Deno.test("what a consumer was started with by hand is checked again before it runs, and defaults are filled in", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const given: unknown[] = [];
  const asked = recorder("asked", {
    params: z.object({ days: z.number().int().default(7), note: z.string().default("none") }),
    run: ({ params }) => Promise.resolve(given.push(params)),
  });
  await using _reacting = await startReacting(engine, { consumers: [asked.consumer] });
  await sql`insert into etl.deliveries (consumer, params) values ('asked', '{"days": 3}')`;
  await emit(engine);
  await waitFor(() => given.length === 2);
  await sql`insert into etl.deliveries (consumer, params) values ('asked', '{"dayz": 3}')`;
  await emit(engine); // wakes it
  await waitFor(async () => {
    const [wrong] = await sql`select attempts, error from etl.deliveries where params ? 'dayz'`;
    return wrong!.error !== null;
  });
  const [wrong] = await sql`select error from etl.deliveries where params ? 'dayz'`;
  assert.match(wrong!.error, /dayz/);
  assert.deepEqual(given, [{ days: 3, note: "none" }, { days: 7, note: "none" }]);
});

Deno.test("an event that waits for its consumer too long is an alert, until the consumer has caught up", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`select etl.register_consumers('[{"name": "late", "datasets": ["public.etl_improved_events"], "emits": [], "mode": "each", "skip_unchanged": false}]')`;
  await emit(engine);
  const open = async () => {
    await sweepConditions(sql);
    return (await sql<{ fingerprint: string }[]>`
      select fingerprint from etl.alert_states where resolved_at is null order by fingerprint`)
      .map(({ fingerprint }) => fingerprint);
  };
  assert.deepEqual(await open(), []);
  await sql`update etl.deliveries set created_at = created_at - interval '16 minutes'`;
  assert.deepEqual(await open(), ["consumer_late:late"]);
  await sql`update etl.deliveries set state = 'failed'`;
  await sql`select etl.raise_alert('consumer_failed', 'late', 'm')`;
  assert.deepEqual(await open(), ["consumer_failed:late"]);
  assert.equal(await redeliver(sql, "late", { deliveryId: null, actor: "ann" }), 1);
  assert.deepEqual(await open(), ["consumer_failed:late"], "it waits since it was delivered again");
  await sql`update etl.deliveries set redelivered_at = redelivered_at - interval '16 minutes'`;
  assert.deepEqual(await open(), ["consumer_failed:late", "consumer_late:late"]);
  const health = await databaseHealth(sql, { dsn: engine.db.dsn, cronDsn: undefined });
  assert.ok(
    health.warnings.some((text) => /consumer late is late: .* waits for 9[67]\d/.test(text)),
    String(health.warnings),
  );
  await sql`update etl.deliveries set state = 'done', redelivered_at = null`;
  assert.deepEqual(await open(), []);
});

Deno.test("deliveries: what changed nothing is skipped, who is gone gets none, a request by hand is alone, and pauses end at five minutes", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const registered = (name: string) =>
    sql`select etl.register_consumers(jsonb_build_array(jsonb_build_object('name', ${name}::text,
      'datasets', array['public.etl_improved_events'], 'emits', array[]::text[], 'mode', 'batch', 'skip_unchanged', true)))`;
  await registered("gone");
  await registered("c");
  const none = { inserted: 0, updated: 0 };
  for (const counts of [none, { ...none, deleted: 1 }, { ...none, marked: 1 }, {}]) {
    await emit(engine, counts);
  }
  assert.deepEqual(await statesOf(engine, "gone"), []);
  assert.deepEqual(await statesOf(engine, "c"), ["skipped", "pending", "pending", "pending"]);
  await registered("gone");
  await emit(engine);
  assert.deepEqual(await statesOf(engine, "gone"), ["pending"], "it is back");

  const holder = crypto.randomUUID();
  await sql`select etl.claim_lease('consumer c', ${holder})`;
  const claimed = async () => (await sql<{ id: string; params: { n?: number } }[]>`
      select delivery_id as id, params from etl.claim_deliveries('c', ${holder}, 10, 20)`);
  for (const n of [1, 2]) {
    await sql`select etl.request_delivery('c', jsonb_build_object('n', ${n}::int))`;
  }
  for (const n of [1, 2]) {
    const [byHand, ...others] = await claimed();
    assert.deepEqual([byHand!.params, others], [{ n }, []]);
    await sql`update etl.deliveries set state = 'done' where delivery_id = ${byHand!.id}`;
  }
  const ids = (await claimed()).map(({ id }) => id);
  assert.equal(ids.length, 3, "a batch");
  const pauses: number[] = [];
  for (const attempts of [1, 3, 15]) {
    await sql`update etl.deliveries set attempts = ${attempts} where state = 'pending'`;
    await sql`select etl.fail_deliveries('c', ${ids}::bigint[], 'no', 20)`;
    assert.equal((await claimed()).length, 0, "it rests");
    const [row] = await sql<
      { seconds: number }[]
    >`select extract(epoch from next_attempt_at - clock_timestamp())::float8 as seconds
      from etl.deliveries where delivery_id = ${ids[0]!}`;
    pauses.push(Math.ceil(row!.seconds));
  }
  assert.deepEqual(pauses, [1, 4, 300]);
});

Deno.test("a server that is frozen with a consumer in hand holds its events for nobody", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`create sequence public.tries`;
  await engine.sql`grant usage on sequence public.tries to public`;
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${dir}/stuck.ts`,
    `export const stuck = { name: "stuck", datasets: ["public.etl_improved_events"], run: async ({ db }) => {
      const { rows: [{ n }] } = await db.query("select nextval('public.tries')::int as n");
      if (n === 1) await new Promise(() => {});
      return { n };
    } };`,
  );
  const env = { ETL_CONSUMERS_DIR: dir };
  await using frozen = await startServer({ dsn: engine.db.dsn, env });
  await emit(engine);
  await waitFor(async () =>
    (await engine.sql<{ is_called: boolean }[]>`select is_called from public.tries`)[0]!.is_called
  );
  frozen.kill("SIGSTOP");
  try {
    await emit(engine);
    await using _other = await startServer({ dsn: engine.db.dsn, env });
    await waitFor(
      async () => (await statesOf(engine, "stuck")).every((state) => state === "done"),
      {
        timeoutMs: 60_000,
        what: "the other server to take over",
      },
    );
  } finally {
    frozen.kill("SIGCONT");
  }
});
