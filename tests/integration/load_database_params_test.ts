import { retryRun } from "../../store/runs.ts";
import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { tcpProxy } from "../helpers/tcp_proxy.ts";
import { waitFor } from "../helpers/wait_for.ts";

const inline = (records: unknown[]) => ({ type: "inline", name: "test", key: "id", records });

async function session(engine: Engine) {
  const client = await connect(engine.db.dsn, { applicationName: "the test's session" });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

interface Backend {
  pid: number;
  query: string;
  application_name: string;
}

/** The engine's backend that waits for a lock. */
function blocked(engine: Engine): Promise<Backend> {
  return waitFor(async () => {
    const [row] = await engine.sql<
      Backend[]
    >`select pid, query, application_name from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and application_name like 'etl-run%'`;
    return row;
  }, { what: "a worker that waits for a lock" });
}

const retries = (engine: Engine) => engine.log.filter((line) => / warn {2}tried again /.test(line));

Deno.test("db_statement_timeout_ms ends a statement that takes longer, and the run says which parameter", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using blocker = await session(engine);
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const run = await engine.runToEnd({ batch_size: 5, db_statement_timeout_ms: 100 });
  assert.deepEqual([run.state, run.error?.type], ["failed", "/api/problems/database-error"]);
  assert.match(String(run.error!.detail), /in load took longer than db_statement_timeout_ms/);
  assert.deepEqual(retries(engine), [], "is not tried again");
  await blocker.query("rollback");
  assert.equal((await engine.rows()).length, 0);
});

Deno.test("db_statement_timeout_ms 0 is no limit, whatever the role's setting", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using blocker = await session(engine);
  await blocker.query(`alter database "${engine.db.name}" set statement_timeout = '1s'`);
  await using fresh = await startEngine(t, { workers: 1, database: engine.db });
  await blocker.query(
    "set statement_timeout = 0; begin; lock table public.etl_improved_events in share mode",
  );
  const { run_id } = await fresh.submit({ batch_size: 5 });
  const ending = fresh.toEnd(run_id);
  await blocked(engine);
  // longer than the database's limit
  await blocker.query("select pg_sleep(1.1)");
  await blocker.query("rollback");
  assert.equal((await ending).state, "succeeded");
});

Deno.test("db_max_retries counts attempts; a connection that is ended is opened again and the chunk loaded once", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using blocker = await session(engine);
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const { run_id } = await engine.submit({
    batch_size: 50,
    db_max_retries: 3,
    db_retry_initial_ms: 1,
  });
  const ending = engine.toEnd(run_id);
  const killed = new Set<number>();
  while (killed.size < 2) {
    const { pid, query, application_name } = await blocked(engine);
    if (killed.has(pid)) continue;
    assert.match(query, /^copy "public"."etl_improved_events"/);
    assert.equal(application_name, `etl-run ${run_id} 1`);
    killed.add(pid);
    await blocker.query("select pg_terminate_backend($1)", [pid]);
  }
  await waitFor(async () => !killed.has((await blocked(engine)).pid));
  await blocker.query("rollback");
  const run = await ending;
  assert.deepEqual([run.state, run.attempt, run.counts.inserted], ["succeeded", 1, 50]);
  assert.equal(retries(engine).length, 2);
});

Deno.test("when db_max_retries are used up the run is given back, and another attempt loads it", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using blocker = await session(engine);
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const { run_id } = await engine.submit({ batch_size: 50, db_max_retries: 1 });
  const attempt = engine.execute(run_id);
  await blocker.query("select pg_terminate_backend($1)", [(await blocked(engine)).pid]);
  assert.equal(await attempt, "given back");
  assert.deepEqual(retries(engine), []);
  const between = await engine.run(run_id);
  assert.deepEqual([between.state, between.error?.type], [
    "queued",
    "/api/problems/database-unavailable",
  ]);
  await blocker.query("rollback");
  const run = await engine.toEnd(run_id);
  assert.deepEqual([run.state, run.attempt, run.counts.inserted, run.error], [
    "succeeded",
    2,
    50,
    null,
  ]);
});

Deno.test("ETL_RUN_MAX_ATTEMPTS bounds the attempts of a run that is always given back; one that lost its connection is none", async (t) => {
  await using engine = await startEngine(t, { workers: 1, env: { ETL_RUN_MAX_ATTEMPTS: "2" } });
  await using blocker = await session(engine);
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const { run_id } = await engine.submit({ batch_size: 5, db_max_retries: 1 });
  const attempt = engine.execute(run_id);
  await blocker.query("select pg_terminate_backend($1)", [(await blocked(engine)).pid]);
  assert.equal(await attempt, "given back");
  await blocker.query("rollback");
  await blocker.query(`
    create function public.conflict() returns trigger language plpgsql as
      $$ begin raise exception 'in conflict with another' using errcode = 'serialization_failure'; end $$;
    create trigger conflict before insert on public.etl_improved_events for each statement execute function public.conflict()`);
  await engine.afterPause();
  for (let i = 0; i < 2; i++) assert.equal(await engine.execute(run_id), "given back");
  assert.equal(await engine.execute(run_id), "nothing to do");
  const run = await engine.run(run_id);
  assert.deepEqual([run.state, run.error?.type], ["failed", "/api/problems/attempts-exhausted"]);
  assert.match(String(run.error!.detail), /was started 2 times.*in conflict with another/);
});

Deno.test("db_retry_initial_ms is the first delay", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using blocker = await session(engine);
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const { run_id } = await engine.submit({
    batch_size: 5,
    db_max_retries: 2,
    db_retry_initial_ms: 600,
  });
  const ending = engine.toEnd(run_id);
  const first = (await blocked(engine)).pid;
  const started = performance.now();
  await blocker.query("select pg_terminate_backend($1)", [first]);
  await waitFor(async () => (await blocked(engine)).pid !== first);
  const waited = performance.now() - started;
  assert.ok(waited >= 300, `tried again after ${waited} ms`);
  await blocker.query("rollback");
  assert.equal((await ending).state, "succeeded");
});

Deno.test("a permanent error of the database is not tried again and is shown with its code", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.sql.unsafe(
    `alter table public.etl_improved_events add constraint no_five check (event_id <> '5')`,
  );
  const run = await engine.runToEnd({
    chunk_size: 2,
    source: inline([1, 2, 3, 4, 5, 6].map((id) => ({ id }))),
  });
  assert.equal(run.state, "failed");
  assert.match(
    String(run.error!.detail),
    /in load \(SQLSTATE 23514\).*no_five.*of 3 chunks are in the table/,
  );
  assert.deepEqual(retries(engine), []);
  // what is published stays, each chunk whole
  const ids = Object.keys(await engine.payloads());
  assert.ok(!ids.includes("5") && !ids.includes("6") && ids.length % 2 === 0);
  await engine.sql`alter table public.etl_improved_events drop constraint no_five`;
  await retryRun(engine.sql, run.run_id, "test");
  const retried = await engine.toEnd(run.run_id);
  assert.deepEqual([retried.state, retried.total_rows, retried.counts.inserted], [
    "succeeded",
    6,
    6,
  ]);
});

Deno.test("db_page_size is the number of rows of a COPY flush", async (t) => {
  // looks at what crosses the wire: CopyData messages of the load
  const flushes = async (db_page_size: number) => {
    const sizes: number[] = [];
    let proxy: ReturnType<typeof tcpProxy> | undefined;
    {
      await using engine = await startEngine(t, {
        workers: 1,
        dsn: (dsn) => {
          proxy = tcpProxy({
            port: Number(new URL(dsn).port),
            onConnection: () => copyData((size) => sizes.push(size)),
          });
          return proxy.through(dsn);
        },
      });
      await engine.succeed({
        db_page_size,
        chunk_size: 2_000,
        source: inline(Array.from({ length: 2_000 }, (_, i) => ({ id: i, x: "y".repeat(100) }))),
      });
    }
    await proxy![Symbol.asyncDispose]();
    return sizes;
  };
  const small = await flushes(10);
  const large = await flushes(2_000);
  assert.ok(small.length > 100, `${small.length} flushes of 10 rows`);
  assert.ok(Math.max(...small) < 10_000, `largest flush of 10 rows: ${Math.max(...small)} bytes`);
  assert.ok(large.length < 20, `${large.length} flushes of 2,000 rows`);
});

/**
 * Follows the messages that a client sends: a type and four bytes of length, which counts itself. The first has no type.
 * Tells the length of each CopyData (`d`).
 */
function copyData(tell: (size: number) => void): (bytes: Uint8Array) => void {
  let type = 0;
  let head: number[] = [];
  let rest = 0;
  let begun = false;
  return (bytes) => {
    for (let at = 0; at < bytes.length;) {
      if (rest > 0) {
        const passed = Math.min(rest, bytes.length - at);
        rest -= passed;
        at += passed;
        continue;
      }
      head.push(bytes[at++]!);
      if (head.length < (begun ? 5 : 4)) continue;
      if (begun) type = head.shift()!;
      const size = new DataView(Uint8Array.from(head).buffer).getUint32(0);
      head = [];
      rest = size - 4;
      begun = true;
      if (type === 0x64) tell(size);
    }
  };
}
