import assert from "node:assert/strict";
import { z } from "zod";
import {
  checkConsumers,
  type Consumer,
  defineConsumer,
} from "../../pipeline/consumers/consumer.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
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
  await waitFor(settled(engine), { timeoutMs: 20_000 });
  assert.deepEqual(each.seen, numbers.map((no) => [no]));
  assert.deepEqual(batch.seen, [numbers]);
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
  broken = false;
  await emit(engine);
  await waitFor(async () => (await statesOf(engine, "hopeless"))[1] === "done");
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
  const liar = recorder("liar", { run: ({ emit }) => emit("mart.daily") });
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

Deno.test("checkConsumers() refuses chains that would start themselves, and double names", () => {
  const link = (name: string, datasets: string[], emits: string[]): Consumer =>
    defineConsumer({ name, datasets, emits, params: none, run: () => Promise.resolve() });
  checkConsumers([link("a", ["s.x"], ["s.y"]), link("b", ["s.x", "s.y"], ["s.z"])]);
  assert.throws(
    () => checkConsumers([link("a", ["s.x"], ["s.y"]), link("b", ["s.y"], ["s.x"])]),
    (error) => error instanceof Problem && error.message.includes("s.x → a → s.y → b → s.x"),
  );
  assert.throws(() => checkConsumers([link("a", ["s.x"], ["s.x"])]), Problem);
  assert.throws(() => checkConsumers([link("a", ["s.x"], []), link("a", ["s.y"], [])]), Problem);
});

Deno.test("defineConsumer() says what is wrong with a definition", () => {
  const define = (options: object) => () =>
    defineConsumer({
      name: "ok",
      datasets: ["s.t"],
      params: none,
      run: () => Promise.resolve(),
      ...options,
    });
  assert.throws(define({ name: "Not OK" }), /name must be lower-case/);
  assert.throws(define({ datasets: ["events"] }), /written schema\.table/);
  assert.throws(define({ params: z.object({ n: z.number() }) }), /needs a default: n/);
  const { datasets } = define({ datasets: [EVENTS] })();
  assert.deepEqual(datasets, ["public.etl_improved_events"]);
});
