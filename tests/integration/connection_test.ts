import assert from "node:assert/strict";
import { Connection, type TransactionOptions } from "../../store/connection.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query, withClient } from "../helpers/query.ts";
import { type TcpProxy, tcpProxy } from "../helpers/tcp_proxy.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A transaction's options: three tries, what was tried again noted. */
function tries(again: unknown[] = [], more: Partial<TransactionOptions> = {}): TransactionOptions {
  const onRetry = (error: unknown) => void again.push((error as Error).message);
  return {
    statementTimeoutMs: 0,
    ...more,
    retry: { attempts: 3, initialMs: 1, onRetry, ...more.retry },
  };
}

/** Ends with the connections that were opened to a database of the test. */
async function scene(t: Deno.TestContext, options: { probeMs?: number; proxied?: boolean } = {}) {
  const db = await testDatabase(t, { setUp: false });
  const proxy: TcpProxy | null = options.proxied
    ? tcpProxy({ port: Number(new URL(db.dsn).port) })
    : null;
  // no superuser, whom no limit binds
  const role = `connecting_${crypto.randomUUID().slice(0, 8)}`;
  await query(db.dsn, `create role ${role} login password 'x'`);
  const dsn = new URL(proxy === null ? db.dsn : proxy.through(db.dsn));
  dsn.username = role;
  dsn.password = "x";
  const connection = new Connection(dsn.href, "it's a test", { probeMs: options.probeMs });
  await query(db.dsn, "create table seen (note text); grant all on seen to public");
  return {
    db,
    proxy: proxy!,
    connection,
    sql: <Row extends object>(text: string) =>
      withClient(db.dsn, async (client) => (await client.query<Row>(text)).rows),
    /** Backends of the connection that are in a transaction. */
    async inHand(name = "it's a test"): Promise<number[]> {
      const rows = await this.sql<{ pid: number }>(
        `select pid from pg_stat_activity where application_name = '${name.replaceAll("'", "''")}'
          and xact_start is not null and datname = current_database()`,
      );
      return rows.map(({ pid }) => pid);
    },
    async [Symbol.asyncDispose]() {
      await connection.close();
      await proxy?.[Symbol.asyncDispose]();
      await query(db.dsn, `drop owned by ${role}; drop role ${role}`);
      await db[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a connection's transaction has the name and the limits that it is given, and waits for the disk unless it need not", async (t) => {
  await using it = await scene(t);
  const settings = (options: Partial<TransactionOptions>) =>
    it.connection.transaction(tries([], options), async (client) => {
      const { rows } = await client.query(
        `select current_setting('application_name') as name, current_setting('statement_timeout') as timeout,
          current_setting('synchronous_commit') as durable`,
      );
      return rows[0];
    });
  await it.sql(
    `alter database ${new URL(it.db.dsn).pathname.slice(1)} set synchronous_commit = on`,
  );
  assert.deepEqual(await settings({ statementTimeoutMs: 1234.5 }), {
    ...{ name: "it's a test", timeout: "1234ms", durable: "on" },
  });
  assert.deepEqual(await settings({ durable: false, name: `run's ${"x".repeat(80)}` }), {
    ...{ name: `run's ${"x".repeat(57)}`, timeout: "0", durable: "off" },
  });
  assert.deepEqual(await settings({}), { name: "it's a test", timeout: "0", durable: "on" });
});

Deno.test("a transaction that fails is rolled back on the same connection, and only what may pass is tried again", async (t) => {
  await using it = await scene(t);
  const backends = new Set<number>();
  const failing = (code: string, times: number, again: unknown[]) => {
    let n = 0;
    return it.connection.transaction(tries(again), async (client) => {
      const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
      backends.add(rows[0]!.pid);
      await client.query("insert into seen values ($1)", [`${code} ${++n}`]);
      if (n <= times) {
        await client.query(`do $$ begin raise exception 'no' using errcode = '${code}'; end $$`);
      }
      return n;
    });
  };
  const again: unknown[] = [];
  await assert.rejects(failing("23505", 1, again), /no/);
  assert.equal(await failing("23505", 0, again), 1);
  assert.deepEqual([backends.size, again], [1, []], "the connection is good, and once is enough");
  assert.equal(await failing("40001", 2, again), 3);
  assert.deepEqual(again, ["no", "no"]);
  await assert.rejects(failing("40P01", 3, again), /no/, "three tries are all");
  assert.deepEqual(await it.sql("select note from seen order by note"), [
    { note: "23505 1" },
    { note: "40001 3" },
  ]);
});

Deno.test("a statement that somebody cancels is tried again, one that its own limit ends is not", async (t) => {
  await using it = await scene(t);
  const again: unknown[] = [];
  let first = true;
  const cancelled = it.connection.transaction(tries(again), async (client) => {
    if (!first) return "again";
    first = false;
    await client.query("select pg_sleep(60)");
  });
  await waitFor(async () => (await it.inHand()).length === 1 && (await sleeping(it)) === 1);
  await it.sql(
    "select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()",
  );
  assert.equal(await cancelled, "again");
  assert.equal(again.length, 1);
  await assert.rejects(
    it.connection.transaction(
      tries(again, { statementTimeoutMs: 50 }),
      (client) => client.query("select pg_sleep(60)"),
    ),
    /statement timeout/,
  );
  assert.equal(again.length, 1);
  // where the server's words do not tell, the time does
  const inSpanish = "do $$ begin raise exception 'cancelando' using errcode = '57014'; end $$";
  let n = 0;
  const soon = await it.connection.transaction(
    tries(again, { statementTimeoutMs: 60_000 }),
    async (client) => ++n === 1 ? await client.query(inSpanish) : n,
  );
  assert.deepEqual([soon, again.length], [2, 2]);
  await assert.rejects(
    it.connection.transaction(tries(again, { statementTimeoutMs: 200 }), async (client) => {
      for (let i = 0; i < 2; i++) await client.query("select pg_sleep(0.12)");
      await client.query(inSpanish);
    }),
    /cancelando/,
  );
  assert.equal(again.length, 2);
});

const sleeping = async (it: { sql: <R extends object>(text: string) => Promise<R[]> }) =>
  (await it.sql(
    "select from pg_stat_activity where wait_event = 'PgSleep' and pid <> pg_backend_pid() and datname = current_database()",
  ))
    .length;

Deno.test("cancel() ends the statement in hand, and does nothing where there is none", async (t) => {
  await using it = await scene(t);
  await it.connection.cancel();
  const stopped = it.connection.transaction(
    tries([], { retry: { attempts: 1, initialMs: 1 } }),
    (client) => client.query("select pg_sleep(60)"),
  );
  stopped.catch(() => {});
  await waitFor(async () => await sleeping(it) === 1);
  await it.connection.cancel();
  await assert.rejects(stopped, /canceling statement due to user request/);
  assert.equal(await it.connection.transaction(tries(), () => Promise.resolve(7)), 7);
});

Deno.test("an aborted signal keeps a transaction from beginning", async (t) => {
  await using it = await scene(t);
  const signal = AbortSignal.abort(new Error("stopped"));
  let ran = false;
  await assert.rejects(
    it.connection.transaction(
      tries([], { retry: { attempts: 3, initialMs: 1, signal } }),
      () => Promise.resolve(ran = true),
    ),
    /stopped/,
  );
  assert.equal(ran, false);
});

Deno.test("a backend that was terminated is replaced, and the transaction begins anew", async (t) => {
  await using it = await scene(t);
  const again: unknown[] = [];
  const backends: number[] = [];
  const done = await it.connection.transaction(tries(again), async (client) => {
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    backends.push(rows[0]!.pid);
    await client.query("insert into seen values ('x')");
    if (backends.length === 1) {
      await it.sql(`select pg_terminate_backend(${rows[0]!.pid})`);
      await client.query("select 1");
    }
    return "done";
  });
  assert.deepEqual([done, again.length, new Set(backends).size], ["done", 1, 2]);
  assert.equal((await it.sql("select from seen")).length, 1);
});

Deno.test("a connection that goes without a word, while a statement is on its way, is given up, and its transaction ended", async (t) => {
  await using it = await scene(t, { probeMs: 100, proxied: true });
  const again: unknown[] = [];
  let n = 0;
  const done = await it.connection.transaction(tries(again), async (client) => {
    // the lock of the first try would hold up the second
    await client.query("lock table seen in access exclusive mode");
    if (++n === 1) it.proxy.stall({ existing: true });
    await client.query("insert into seen values ('x')");
    return "done";
  });
  assert.equal(done, "done");
  assert.deepEqual(again, ["the connection to the database was lost without notice"]);
  assert.equal((await it.sql("select from seen")).length, 1);
});

Deno.test("a connection is kept while its statement works or waits in the database, and while its client is busy elsewhere", async (t) => {
  await using it = await scene(t, { probeMs: 20, proxied: true });
  const again: unknown[] = [];
  const looks = () => it.sql("select pg_sleep(0.3)");
  const done = await it.connection.transaction(tries(again), async (client) => {
    await client.query("select pg_sleep(0.5)");
    await looks(); // many times the interval: nothing is on its way
    await client.query("insert into seen values ('x')");
    return "done";
  });
  assert.deepEqual([done, again], ["done", []]);
});

Deno.test("a server that has no connection left to look by is there, and a slow statement goes on", async (t) => {
  await using it = await scene(t, { probeMs: 20 });
  const again: unknown[] = [];
  const done = it.connection.transaction(tries(again), async (client) => {
    await client.query("select pg_sleep(1)");
    return "done";
  });
  await waitFor(async () => await sleeping(it) === 1);
  const name = new URL(it.db.dsn).pathname.slice(1);
  // more than this database takes: whoever is no superuser gets 53300
  await it.sql(`alter database ${name} connection limit 0`);
  assert.equal(await done, "done");
  assert.deepEqual(again, []);
});
