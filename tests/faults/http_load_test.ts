import assert from "node:assert/strict";
import { withClient } from "../helpers/query.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { RawClient } from "../helpers/raw_http.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LONG = Deno.env.get("ETL_TEST_LONG") === "1";
const JSON_TYPE = { "content-type": "application/json" };

interface Site extends AsyncDisposable {
  server: TestServer;
  address: string;
  dsn: string;
  /** What the server holds now. */
  usage(): Promise<Usage>;
  /** Fails unless everything that the server held for its clients comes back. */
  comesBackTo(before: Usage): Promise<void>;
  run(conf: object, query?: string): Promise<Response>;
}

interface Usage {
  files: number;
  sessions: number;
  rssMb: number;
}

async function site(t: { name: string }, env: Record<string, string> = {}): Promise<Site> {
  const database = await testDatabase(t);
  const server = await startServer({
    dsn: database.dsn,
    env: { ETL_TRIGGERS_PER_MINUTE: "0", ...env },
  });
  const usage = async () => {
    const status = await Deno.readTextFile(`/proc/${server.pid}/status`);
    const files = await Array.fromAsync(Deno.readDir(`/proc/${server.pid}/fd`));
    const { rows } = await withClient(database.dsn, (client) =>
      client.query<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()`,
      ));
    return {
      files: files.length,
      sessions: rows[0]!.n,
      rssMb: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024),
    };
  };
  const run = (conf: object, query = "") =>
    fetch(`${server.address}/api/etl/run${query}`, {
      method: "POST",
      headers: JSON_TYPE,
      body: JSON.stringify(conf),
    });
  // what a server has warmed up it keeps: connections of its pools, code
  await (await run({ batch_size: 500 }, "?wait=true")).body?.cancel();
  await Promise.all(Array.from({ length: 40 }, async () => {
    await (await fetch(`${server.address}/api/etl/runs`)).body?.cancel();
  }));
  return {
    server,
    address: server.address,
    dsn: database.dsn,
    usage,
    async comesBackTo(before) {
      let now = before;
      const back = async () => {
        now = await usage();
        // the pools open and close connections of their own
        return now.files <= before.files + 10 && now.sessions <= before.sessions + 6;
      };
      await waitFor(back, { timeoutMs: 20_000 }).catch(() =>
        assert.fail(`before: ${JSON.stringify(before)}, now: ${JSON.stringify(now)}`)
      );
    },
    run,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Asks for health until `busy` has ended; answers how long the slowest answer took. */
async function slowestHealth(address: string, busy: Promise<unknown>): Promise<number> {
  let over = false;
  const end = () => over = true;
  busy.then(end, end);
  let slowest = 0;
  while (!over) {
    const started = performance.now();
    const response = await fetch(`${address}/readyz`);
    assert.equal(response.status, 200, await response.text());
    slowest = Math.max(slowest, performance.now() - started);
  }
  return Math.round(slowest);
}

function report(what: string, before: Usage, after: Usage, more = ""): void {
  console.log(
    `measured: ${what}: ${before.rssMb} → ${after.rssMb} MB, ${before.files} → ${after.files} files, ` +
      `${before.sessions} → ${after.sessions} sessions${more}`,
  );
}

Deno.test("500 connections at once are answered, health within 2 s meanwhile, and nothing stays behind", async (t) => {
  await using s = await site(t);
  const before = await s.usage();
  const statuses = new Map<number, number>();
  const rounds = LONG ? 20 : 4;
  const clients = Array.from({ length: 500 }, async () => {
    using client = await RawClient.connect(s.address);
    for (let i = 0; i < rounds; i++) {
      await client.send(RawClient.head("GET", "/api/etl/runs?limit=5") + "\r\n");
      const answer = await client.answer();
      const status = Number(answer.slice(9, 12));
      if (status === 503) assert.match(answer, /retry-after: \d/i);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });
  const all = Promise.all(clients);
  const slowest = await slowestHealth(s.address, all);
  await all;
  const peak = await s.usage();
  assert.deepEqual([...statuses.keys()].filter((status) => ![200, 503].includes(status)), []);
  assert.ok((statuses.get(200) ?? 0) >= 400 * rounds, JSON.stringify([...statuses]));
  await s.comesBackTo(before);
  report("500 connections", before, peak, `, health in ${slowest} ms at most`);
  assert.ok(slowest < 2_000, `health took ${slowest} ms`);
  assert.ok(peak.rssMb < before.rssMb + 150, `${before.rssMb} → ${peak.rssMb} MB`);
});

Deno.test("500 slow clients take no connection to the database; a body that stops coming is answered 408", async (t) => {
  await using s = await site(t, { ETL_BODY_TIMEOUT_SECONDS: "2", ETL_MAX_UPLOADS: "20" });
  const before = await s.usage();
  const slow: RawClient[] = [];
  const answers = new Map<string, number>();
  const answered: Promise<void>[] = [];
  try {
    for (let i = 0; i < 500; i++) slow.push(await RawClient.connect(s.address));
    for (const [i, client] of slow.entries()) {
      if (i < 300) {
        await client.send(RawClient.head("GET", "/api/etl/runs"));
        continue;
      }
      const type = i < 400 ? "application/json" : "text/csv";
      await client.send(
        RawClient.head("POST", "/api/etl/run", {
          "content-type": type,
          "content-length": "100000",
        }) + "\r\n" + (i < 400 ? '{"run_label": "' : "id\n1\n"),
      );
      answered.push(
        client.readUntil(/\r\n\r\n/).then((text) => {
          const status = text.slice(9, 12);
          if (status === "503") assert.match(text, /retry-after: \d/i);
          answers.set(`${type} ${status}`, (answers.get(`${type} ${status}`) ?? 0) + 1);
        }),
      );
    }
    const meanwhile = await s.usage();
    assert.ok(meanwhile.sessions <= before.sessions + 6, JSON.stringify({ before, meanwhile }));
    // others are served
    const response = await s.run({ batch_size: 10 }, "?wait=true");
    assert.equal((await response.json()).state, "succeeded");
    const all = Promise.all(answered);
    const slowest = await slowestHealth(s.address, all);
    await all;
    assert.equal(answers.get("application/json 408"), 100, JSON.stringify([...answers]));
    assert.equal(answers.get("text/csv 408"), 20, JSON.stringify([...answers]));
    assert.equal(answers.get("text/csv 503"), 80, JSON.stringify([...answers]));
    report("500 slow clients", before, await s.usage(), `, health in ${slowest} ms at most`);
    assert.ok(slowest < 2_000, `health took ${slowest} ms`);
  } finally {
    for (const client of slow) client[Symbol.dispose]();
  }
  await s.comesBackTo(before);
});

Deno.test("clients that do not read cost little: streams of events, the overview, CSV", async (t) => {
  await using s = await site(t);
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    await (await s.run({ batch_size: 5, run_label: `r${i % 7}` }, "?wait=true")).body?.cancel();
  }));
  const { run_id: runId } = await (await s.run({ batch_size: 50 }, "?wait=true")).json();
  const before = await s.usage();
  const paths = [
    `/api/etl/runs/${runId}/events`,
    "/api/metrics/history?format=csv&limit=200",
    "/etl/events",
  ];
  const slow: RawClient[] = [];
  try {
    for (let i = 0; i < 300; i++) {
      const client = await RawClient.connect(s.address);
      slow.push(client);
      await client.send(RawClient.head("GET", paths[i % paths.length]!) + "\r\n");
    }
    // something to tell them
    for (let i = 0; i < (LONG ? 200 : 30); i++) {
      await (await s.run({ batch_size: 5 }, "?wait=true")).body?.cancel();
    }
    const meanwhile = await s.usage();
    report("300 clients that do not read", before, meanwhile);
    assert.ok(meanwhile.rssMb < before.rssMb + 150, JSON.stringify({ before, meanwhile }));
    assert.ok(meanwhile.sessions <= before.sessions + 6, JSON.stringify({ before, meanwhile }));
  } finally {
    for (const client of slow) client[Symbol.dispose]();
  }
  await s.comesBackTo(before);
});

Deno.test("1,000 reconnects to a stream of events leave nothing behind, and it goes on telling", async (t) => {
  await using s = await site(t);
  await withClient(
    s.dsn,
    (client) => client.query("insert into etl.pools (pool, slots) values ('shut', 1)"),
  );
  // the first holds the slot for as long as nobody works on it: it was admitted to a server that is away
  const first = await (await s.run({ pool: "shut", batch_size: 1_000_000, chunk_size: 1_000 }))
    .json();
  const { run_id: runId } = await (await s.run({ pool: "shut", batch_size: 1 })).json();
  const before = await s.usage();
  const path = `/api/etl/runs/${runId}/events`;
  let reconnects = 0;
  const total = LONG ? 5_000 : 1_000;
  await Promise.all(Array.from({ length: 50 }, async () => {
    while (reconnects++ < total) {
      using client = await RawClient.connect(s.address);
      await client.send(RawClient.head("GET", path) + "\r\n");
      assert.match(await client.readUntil(/event: run/), /^HTTP\/1\.1 200 /);
    }
  }));
  const after = await s.usage();
  report(`${total} reconnects`, before, after);
  await s.comesBackTo(before);
  assert.ok(after.rssMb < before.rssMb + 150, JSON.stringify({ before, after }));
  using client = await RawClient.connect(s.address);
  await client.send(RawClient.head("GET", path) + "\r\n");
  await client.readUntil(/event: run/);
  const cancelled = await fetch(`${s.address}/api/etl/runs/${runId}/cancel`, { method: "POST" });
  assert.equal(cancelled.status, 202, await cancelled.text());
  assert.match(await client.readUntil(/event: end/), /"state":"cancelled"/);
  await (await fetch(`${s.address}/api/etl/runs/${first.run_id}/cancel`, { method: "POST" })).body
    ?.cancel();
});

Deno.test("too many streams and waiting requests are refused with Retry-After before anything is begun", async (t) => {
  await using s = await site(t, { ETL_MAX_STREAMS: "5" });
  const open: RawClient[] = [];
  try {
    for (let i = 0; i < 5; i++) {
      const client = await RawClient.connect(s.address);
      open.push(client);
      await client.send(RawClient.head("GET", "/etl/events") + "\r\n");
      await client.readUntil(/event: hello/);
    }
    const wanted = { run_label: "not begun", batch_size: 1 };
    for (
      const refused of [await fetch(`${s.address}/etl/events`), await s.run(wanted, "?wait=true")]
    ) {
      assert.equal(refused.status, 503, await refused.text());
      assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/);
    }
    const { items } = await (await fetch(`${s.address}/api/etl/runs?run_label=not%20begun`)).json();
    assert.deepEqual(items, []);
    const taken = await s.run(wanted);
    assert.equal(taken.status, 202, `without waiting it is taken: ${await taken.text()}`);
  } finally {
    for (const client of open) client[Symbol.dispose]();
  }
  await waitFor(async () => {
    const response = await s.run({ batch_size: 1 }, "?wait=true");
    await response.body?.cancel();
    return response.status === 200;
  }, { timeoutMs: 10_000 });
});

Deno.test("overload loses no run that was accepted: each 202 is there, and what was refused can be asked for again", async (t) => {
  await using s = await site(t, { ETL_MAX_REQUESTS: "10" });
  const count = LONG ? 400 : 200;
  const accepted = new Map<number, string>();
  let refused = 0;
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const body = JSON.stringify({ batch_size: 1, run_label: `load_${i % 10}` });
    await waitFor(async () => {
      const response = await fetch(`${s.address}/api/etl/run`, {
        method: "POST",
        headers: { ...JSON_TYPE, "idempotency-key": `load ${i}` },
        body,
      });
      const answer = await response.json();
      if (response.status === 202) accepted.set(i, answer.run_id);
      else {
        refused++;
        assert.equal(response.status, 503, JSON.stringify(answer));
        assert.match(response.headers.get("retry-after") ?? "", /^\d+$/);
      }
      return response.status === 202;
      // as Retry-After says: who comes back at once is what keeps the server busy
    }, { timeoutMs: 60_000, intervalMs: 1_000 });
  }));
  assert.equal(new Set(accepted.values()).size, count);
  assert.ok(refused > 0, "it was overloaded");
  const states = () =>
    withClient(s.dsn, (client) =>
      client.query<{ state: string; n: number }>(
        `select state, count(*)::int as n from etl.runs where run_label like 'load_%' group by state`,
      ));
  await waitFor(async () => {
    const { rows } = await states();
    return rows.length === 1 && rows[0]!.state === "succeeded" && rows[0]!.n === count;
  }, { timeoutMs: 60_000 });
  console.log(`measured: ${count} runs accepted, ${refused} requests refused before`);
});
