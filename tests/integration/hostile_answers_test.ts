import assert from "node:assert/strict";
import { download } from "../../pipeline/sources/http/download.ts";
import { openPart } from "../../pipeline/sources/local/open_input.ts";
import { planSource } from "../../pipeline/sources/adapters.ts";
import { consumersIn } from "../../pipeline/user_code/consumer_client.ts";
import { appendLogs, runLogs } from "../../store/run_views.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";
import { waitFor } from "../helpers/wait_for.ts";

/*
 * Answers that no honest server, file or module gives. Raw TCP, because an HTTP
 * server would not send them.
 */

type Answer = (send: (text: string) => Promise<void>, request: string, n: number) => Promise<void>;

interface Peer extends AsyncDisposable {
  host: string;
}

function peer(answer: Answer): Peer {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    let n = 0;
    for await (const connection of listener) {
      serving.push(serve(connection, answer, ++n));
    }
  })();
  return {
    host: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(serving);
    },
  };
}

async function serve(connection: Deno.Conn, answer: Answer, n: number): Promise<void> {
  try {
    const head = new Uint8Array(8_192);
    const got = await connection.read(head) ?? 0;
    const send = async (text: string) => {
      let bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
      while (bytes.length > 0) bytes = bytes.subarray(await connection.write(bytes));
    };
    await answer(send, new TextDecoder().decode(head.subarray(0, got)), n);
  } catch {
    // the client has gone
  } finally {
    connection.close();
  }
}

const CSV = "id,name\n1,a\n2,b\n";
const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\n";

async function folderFor(...hosts: string[]): Promise<SourceFolder> {
  return await SourceFolder.create({
    limits: { maxSpoolBytes: 1 << 20, maxRecordBytes: 1 << 16, allowPrivateHosts: hosts },
  });
}

async function read(host: string, ...others: string[]) {
  await using folder = await folderFor(host, ...others);
  return await readAll({ type: "http", url: `http://${host}/a.csv` }, folder.ctx);
}

async function problemOf(work: Promise<unknown>): Promise<Problem> {
  const error = await work.then(() => assert.fail("was read"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

Deno.test("hostile answers: what keeps the connection busy and is no content is silence", async () => {
  const endless: Record<string, Answer> = {
    "no answer for 300 ms": async (send) => {
      for (;;) await send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
    },
    // on a machine with much to do the head of an answer may take as long
    "no (byte of content|answer) for 300 ms": async (send) => {
      await send(`${HEAD}transfer-encoding: chunked\r\n\r\n3\r\nid\n\r\n5;`);
      for (;;) await send("y".repeat(20));
    },
  };
  for (const [said, answer] of Object.entries(endless)) {
    await using server = peer(answer);
    await using folder = await folderFor(server.host);
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new Error("it goes on")), 15_000);
    const { message, transient } = await problemOf(
      download(new URL(`http://${server.host}/`), { dir: folder.ctx.spoolDir, name: "x" }, {
        limits: folder.ctx.limits,
        signal: controller.signal,
        idleTimeoutMs: 300,
        retryInitialMs: 1,
      }),
    ).finally(() => clearTimeout(timer));
    assert.match(message, new RegExp(said));
    assert.equal(transient, true);
    assert.deepEqual([...Deno.readDirSync(folder.ctx.spoolDir)], []);
  }
});

Deno.test("hostile answers: a body that drips, or that is cut after each few bytes, is given up by what it brings", async () => {
  const tries: Record<string, Answer> = {
    // below the limit of silence, for ever
    "bytes in \\d+ s; the least is 64 KiB in 0.5 s": async (send) => {
      await send(`${HEAD}content-length: 9999999\r\netag: "1"\r\n\r\n`);
      for (;;) {
        await send("x");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    "could not be fetched in 5 attempts": async (send, request) => {
      const from = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);
      const status = from === 0 ? "200 OK" : `206 P\r\ncontent-range: bytes ${from}-999/1000`;
      await send(
        `HTTP/1.1 ${status}\r\netag: "1"\r\ncontent-length: ${1000 - from}\r\n\r\n${
          "x".repeat(10)
        }`,
      );
      // so that they are there before the end is
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
  };
  for (const [said, answer] of Object.entries(tries)) {
    let requests = 0;
    await using server = peer((...args) => {
      requests++;
      return answer(...args);
    });
    await using folder = await folderFor(server.host);
    const limits = { ...folder.ctx.limits, maxSpoolBytes: 1 << 24 };
    const { message, transient } = await problemOf(
      download(new URL(`http://${server.host}/`), { dir: folder.ctx.spoolDir, name: "x" }, {
        limits,
        signal: AbortSignal.timeout(30_000),
        idleTimeoutMs: 10_000,
        paceMs: 500,
        retryInitialMs: 1,
      }),
    );
    assert.match(message, new RegExp(said));
    assert.equal(transient, true);
    assert.ok(requests <= 5, `${requests} requests`);
  }
});

Deno.test("hostile answers: a large body that is cut again and again is had as long as each answer brings enough", async () => {
  const [size, piece] = [6_000_000, 100_000];
  await using server = peer(async (send, request) => {
    const from = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);
    const status = from === 0
      ? "200 OK"
      : `206 P\r\ncontent-range: bytes ${from}-${size - 1}/${size}`;
    await send(
      `HTTP/1.1 ${status}\r\netag: "1"\r\ncontent-length: ${size - from}\r\n\r\n${
        "x".repeat(piece)
      }`,
    );
  });
  await using folder = await folderFor(server.host);
  const { size: had } = await download(
    new URL(`http://${server.host}/`),
    { dir: folder.ctx.spoolDir, name: "x" },
    {
      limits: { ...folder.ctx.limits, maxSpoolBytes: 1 << 24 },
      signal: AbortSignal.timeout(60_000),
      retryInitialMs: 1,
    },
  );
  assert.equal(had, size);
});

Deno.test("hostile answers: a server's words are short and plain, its secrets and tricks nobody's", async () => {
  await using target = peer((send) => send(`${HEAD}content-length: ${CSV.length}\r\n\r\n${CSV}`));
  const answers: [string, RegExp][] = [
    [
      "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
      /switches to another protocol/,
    ],
    [
      `HTTP/1.1 302 F\r\nlocation: http://u%zz:s3cret@${target.host}/?token=s3cret\r\n\r\n`,
      /not percent-encoded/,
    ],
    [
      `HTTP/1.1 404 \x1b[31m${"z".repeat(9_000)}\r\ncontent-length: 0\r\n\r\n`,
      /answered 404 �\[31mz+…\. Check/,
    ],
    [
      `${HEAD.replace("csv", `csv; charset=${"k".repeat(9_000)}`)}content-length: 16\r\n\r\n${CSV}`,
      /declares the text to be in k+, which is not known/,
    ],
    [
      `${HEAD}content-encoding: ${Array(6).fill("gzip")}\r\ncontent-length: 16\r\n\r\n${CSV}`,
      /6 codings of Content-Encoding; at most 5/,
    ],
  ];
  for (const [answer, said] of answers) {
    await using server = peer((send) => send(answer));
    const { message } = await problemOf(read(server.host, target.host));
    assert.match(message, said);
    assert.doesNotMatch(message, /s3cret|\p{Cc}/u);
    assert.ok(message.length < 400, message);
  }
});

Deno.test("hostile answers: a body that only the connection's end ends is read with a warning, whatever coding it claims", async () => {
  for (const coding of ["identity", "gzip"]) {
    await using server = peer((send) => send(`${HEAD}transfer-encoding: ${coding}\r\n\r\n${CSV}`));
    const { records, plan } = await read(server.host);
    assert.equal(records.length, 2);
    assert.match(plan.warnings.join(), /neither the length of its answer nor where it ends/);
  }
});

Deno.test("hostile answers: a part that ends behind the whole is not taken, all of it is asked for instead", async () => {
  const ranges: string[] = [];
  await using server = peer(async (send, request, n) => {
    const from = /range: bytes=(\d+)-/i.exec(request)?.[1];
    ranges.push(from ?? "all");
    if (from !== undefined) {
      const rest = CSV.slice(Number(from));
      await send(
        `HTTP/1.1 206 P\r\netag: "1"\r\ncontent-range: bytes ${from}-99999999999999999999/*\r\n` +
          `content-length: ${rest.length}\r\n\r\n${rest}`,
      );
    } else {
      await send(`${HEAD}etag: "1"\r\ncontent-length: ${CSV.length}\r\n\r\n`);
      await send(n === 1 ? CSV.slice(0, 9) : CSV);
    }
  });
  assert.equal((await read(server.host)).records.length, 2);
  assert.equal(ranges.at(-1), "all");
  assert.ok(ranges.length <= 3, ranges.join());
});

Deno.test("hostile files: a pipe in the place of a file that was planned is not waited for", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", '{"a":1}\n');
  const { slices } = await planSource(sourceConf({ type: "file", path: "a.ndjson" }), folder.ctx);
  const [part] = (slices[0] as unknown as { parts: Parameters<typeof openPart>[0][] }).parts;
  const path = `${folder.ctx.dataDir}/a.ndjson`;
  await Deno.remove(path);
  assert.ok((await new Deno.Command("mkfifo", { args: [path] }).output()).success);
  const roots = { dataDir: folder.ctx.dataDir, spoolDir: folder.ctx.spoolDir };
  const opening = openPart(part!, roots);
  // opened for both, it lets go who waits for it
  const timer = setTimeout(() => Deno.openSync(path, { read: true, write: true }).close(), 10_000);
  const { type, message } = await problemOf(opening);
  clearTimeout(timer);
  assert.equal(type, "source-changed");
  assert.match(message, /a\.ndjson is not a regular file any more/);
});

const DATASETS = '["public.etl_improved_events"]';

Deno.test("hostile user code: text that PostgreSQL cannot hold does not keep a run or its log from being stored", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    transforms: { at_load: String.raw`throw new Error("a\0b\ud800 \\u0000");` },
  });
  const run = await engine.load([{ id: "k" }], { transform: "at_load" });
  assert.equal(run.state, "failed");
  assert.match(String(run.error!.detail), /cannot be loaded: a␀b� \\u0000$/);
  // it holds up nobody behind it
  assert.equal((await engine.load([{ id: "k" }])).state, "succeeded");

  const line = { run_id: run.run_id, logged_at: new Date().toISOString(), level: "info" };
  await appendLogs(engine.sql, [
    { ...line, message: "a\0b", fields: { "k\ud800": "v\udc00" } },
    { ...line, message: "after", fields: {} },
  ]);
  const lines = await runLogs(engine.sql, run.run_id, { after: 0, limit: 100 });
  assert.deepEqual(lines.map(({ message, fields }) => [message, fields]), [
    ["a␀b", { "k�": "v�" }],
    ["after", {}],
  ]);
});

Deno.test("hostile user code: a consumer that changes what its host sends ends its execution, not the server", async (t) => {
  await using engine = await startEngine(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_consumers_" });
  const changed = (line: string) =>
    `const push = Array.prototype.push;
    Array.prototype.push = function (...items) {
      for (const item of items) if (item && typeof item === "object" && "level" in item) Object.assign(item, ${line});
      return push.apply(this, items);
    };`;
  const files = {
    levels: `${changed('{ level: "boom", text: { toString: 1 } }')}
      export const levels = { name: "levels", datasets: ${DATASETS}, run: async ({ log }) => { log.info("x"); return 1; } };`,
    nul: String.raw`export const nul = { name: "nul", datasets: ${DATASETS},
      run: async () => { throw new Error("a\0b\ud800"); } };`,
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${dir}/${name}.ts`, text);
  }
  await using _reacting = await startReacting(engine, { consumers: await consumersIn(dir) });
  await engine.sql`insert into etl.dataset_events (dataset, emitted_by, counts)
    values ('public.etl_improved_events', 'test', '{"inserted": 1}'::jsonb)`;
  const found = new Map<string, { state: string; error: string | null }>();
  await waitFor(async () => {
    const rows = await engine.sql<{ consumer: string; state: string; error: string | null }[]>`
      select consumer, state, error from etl.deliveries`;
    for (const row of rows) found.set(row.consumer, row);
    return found.get("levels")?.state === "done" && found.get("nul")?.error != null;
  }, { timeoutMs: 30_000, what: "both consumers" });
  assert.equal(found.get("nul")!.error, "a␀b�");
});
