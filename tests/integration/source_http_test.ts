import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import { fetchHttpSource } from "../../pipeline/sources/http/source.ts";
import { httpTarget } from "../../pipeline/sources/http/connection.ts";
import { httpSource } from "../../pipeline/sources/schema.ts";
import { download } from "../../pipeline/sources/http/download.ts";
import { previewSource } from "../../pipeline/sources/adapters.ts";
import type { SourceLimits } from "../../pipeline/sources/source.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LIMITS: SourceLimits = {
  maxSpoolBytes: 1 << 24,
  maxRecordBytes: 1 << 20,
  allowPrivateHosts: ["127.0.0.1", "localhost"],
};

interface TestServer extends AsyncDisposable {
  url: string;
  port: number;
  /** Headers of the requests so far. */
  requests: Headers[];
}

function serve(handler: (request: Request, attempt: number) => Response): TestServer {
  const requests: Headers[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    requests.push(request.headers);
    return handler(request, requests.length);
  });
  const { port } = server.addr;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const LINES = Array.from({ length: 5_000 }, (_, i) => ({ id: i, text: "x".repeat(i % 80) }));
const NDJSON = new TextEncoder().encode(LINES.map((line) => JSON.stringify(line)).join("\n"));

/** A body without an announced length. */
function streamed(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new Blob([bytes.slice()]).stream();
}

/**
 * Answers one request with some bytes of a longer body, and drops the
 * connection when the client has written some of them down; then hands over
 * to `next`. Raw TCP, because an HTTP server would not do such a thing.
 */
function dropOnce(
  folder: SourceFolder,
  etag: string,
  next: TestServer,
): AsyncDisposable & { url: string } {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr as Deno.NetAddr;
  const serving = (async () => {
    let first = true;
    for await (const connection of listener) {
      const head = new Uint8Array(4_096);
      await connection.read(head);
      if (first) {
        first = false;
        await write(
          connection,
          `HTTP/1.1 200 OK\r\netag: ${etag}\r\ncontent-length: ${NDJSON.length}\r\n\r\n`,
        );
        await connection.write(NDJSON.subarray(0, 50_000));
        await waitFor(() => spooledBytes(folder));
      } else {
        await write(
          connection,
          `HTTP/1.1 307 Over there\r\nlocation: ${next.url}/a.ndjson\r\ncontent-length: 0\r\n\r\n`,
        );
      }
      connection.close();
    }
  })();
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

async function write(connection: Deno.Conn, text: string): Promise<void> {
  await connection.write(new TextEncoder().encode(text));
}

async function spooledBytes(folder: SourceFolder): Promise<number> {
  let bytes = 0;
  for await (const { name } of Deno.readDir(folder.ctx.spoolDir)) {
    bytes += (await Deno.stat(`${folder.ctx.spoolDir}/${name}`)).size;
  }
  return bytes;
}

async function rejection(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("did not fail"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

Deno.test("http source reads NDJSON, CSV by content type, and gzip", async () => {
  await using server = serve((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/data.ndjson") return new Response(NDJSON.slice());
    if (pathname === "/data.ndjson.gz") return new Response(gzipSync(NDJSON));
    return new Response("a,b\n1,x\n2,y\n", { headers: { "content-type": "text/csv" } });
  });
  for (const path of ["/data.ndjson", "/data.ndjson.gz"]) {
    await using folder = await SourceFolder.create({ limits: LIMITS });
    const { records, plan } = await readAll({ type: "http", url: server.url + path }, folder.ctx);
    assert.deepEqual(records, LINES);
    assert.match(plan.pin.sha256 as string, /^[0-9a-f]{64}$/);
  }
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const { records } = await readAll({ type: "http", url: `${server.url}/export` }, folder.ctx);
  assert.deepEqual(records, [{ a: 1, b: "x" }, { a: 2, b: "y" }]);
});

Deno.test("http source goes on where the connection broke, guarded by the ETag", async () => {
  await using server = serve((request) => {
    const from = Number(/bytes=(\d+)-/.exec(request.headers.get("range") ?? "")![1]);
    return new Response(NDJSON.slice(from), {
      status: 206,
      headers: {
        etag: '"v1"',
        "content-range": `bytes ${from}-${NDJSON.length - 1}/${NDJSON.length}`,
      },
    });
  });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  await using dropping = dropOnce(folder, '"v1"', server);
  const { records } = await readAll({ type: "http", url: `${dropping.url}/a.ndjson` }, folder.ctx);
  assert.deepEqual(records, LINES);
  assert.equal(server.requests.length, 1);
  assert.match(server.requests[0]!.get("range")!, /^bytes=[1-9]\d*-$/);
  assert.equal(server.requests[0]!.get("if-range"), '"v1"');
});

Deno.test("http source starts over when the content changed during an interruption", async () => {
  const other = new TextEncoder().encode('{"id":"new"}\n');
  await using server = serve(() => new Response(other, { headers: { etag: '"v2"' } }));
  await using folder = await SourceFolder.create({ limits: LIMITS });
  await using dropping = dropOnce(folder, '"v1"', server);
  const { records } = await readAll({ type: "http", url: `${dropping.url}/a.ndjson` }, folder.ctx);
  assert.deepEqual(records, [{ id: "new" }]);
});

Deno.test("http source retries 503 and gives up on 404 at once", async () => {
  await using server = serve((request, attempt) => {
    if (new URL(request.url).pathname === "/gone") return new Response(null, { status: 404 });
    return attempt < 3 ? new Response(null, { status: 503 }) : new Response('{"a":1}\n');
  });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const { records } = await readAll({ type: "http", url: `${server.url}/a.ndjson` }, folder.ctx);
  assert.deepEqual(records, [{ a: 1 }]);
  assert.equal(server.requests.length, 3);

  const gone = await rejection(readAll({ type: "http", url: `${server.url}/gone` }, folder.ctx));
  assert.equal(gone.type, "source-unreadable");
  assert.match(gone.message, /404/);
  assert.equal(server.requests.length, 4);
});

Deno.test("http source sends a connection's user and headers to its server only, also behind redirects", async () => {
  const seen: Record<string, (string | null)[]> = { own: [], other: [] };
  const note = (which: string, { headers }: Request) =>
    seen[which]!.push(headers.get("x-api-key"), headers.get("authorization"));
  await using other = serve((request) => {
    note("other", request);
    return new Response(NDJSON.slice());
  });
  await using server = serve((request) => {
    note("own", request);
    const { pathname } = new URL(request.url);
    const location = pathname === "/v1/a.ndjson" ? "/v1/b.ndjson" : `${other.url}/a.ndjson`;
    return new Response(null, { status: 302, headers: { location } });
  });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const url = server.url.replace("//", "//u:p@");
  const conf = httpSource.parse({ type: "http", url: "a.ndjson", connection: "api" });
  const target = httpTarget(conf, {
    http: { api: { url: `${url}/v1`, headers: { "x-api-key": "k" } } },
  });
  await fetchHttpSource(conf, folder.ctx, { target });
  const basic = `Basic ${btoa("u:p")}`;
  assert.deepEqual(seen, { own: ["k", basic, "k", basic], other: [null, null] });
  // who reads finds it there, without the secrets
  const { records } = await readAll(conf, folder.ctx);
  assert.deepEqual(records, LINES);
});

Deno.test("http source refuses private addresses, also by name, number and redirect", async () => {
  await using inner = serve(() => new Response('{"secret":1}\n'));
  await using server = serve((request) => {
    const to = new URL(request.url).searchParams.get("to")!;
    return new Response(null, { status: 302, headers: { location: to } });
  });
  const none = { ...LIMITS, allowPrivateHosts: [] };
  const only = { ...LIMITS, allowPrivateHosts: [`127.0.0.1:${server.port}`] };
  const { port } = inner;
  const refused = [
    `http://127.0.0.1:${port}/`,
    `http://localhost:${port}/`,
    `http://2130706433:${port}/`,
    `http://0x7f.1:${port}/`,
    `http://[::1]:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
  ];
  for (const url of refused) {
    await using folder = await SourceFolder.create({ limits: none });
    assert.equal(
      (await rejection(readAll({ type: "http", url }, folder.ctx))).type,
      "source-refused",
      url,
    );
    await using second = await SourceFolder.create({ limits: only });
    const via = `${server.url}/?to=${encodeURIComponent(url)}`;
    const problem = await rejection(readAll({ type: "http", url: via }, second.ctx));
    assert.equal(problem.type, "source-refused", via);
  }
  assert.equal(inner.requests.length, 0);
});

Deno.test("download() connects to the address that was checked, not to a later answer", async () => {
  await using server = serve(() => new Response("{}\n"));
  await using folder = await SourceFolder.create();
  let asked = 0;
  // Public when it is checked, loopback afterwards: nothing must be asked afterwards.
  const lookup = () =>
    Promise.resolve([{ address: asked++ === 0 ? "192.0.2.1" : "127.0.0.1", family: 4 }]);
  const url = new URL(`http://rebinding.example:${server.port}/`);
  const problem = await rejection(
    download(url, { dir: folder.ctx.spoolDir, name: "x" }, {
      limits: { ...LIMITS, allowPrivateHosts: [] },
      signal: folder.ctx.signal,
      lookup,
    }),
  );
  assert.equal(problem.type, "source-refused");
  assert.equal(asked, 1);

  const allowed = await download(url, { dir: folder.ctx.spoolDir, name: "x" }, {
    limits: { ...LIMITS, allowPrivateHosts: ["rebinding.example"] },
    signal: folder.ctx.signal,
    lookup,
  });
  assert.equal(allowed.size, 3);
  assert.equal(server.requests.length, 1);
});

Deno.test("http source follows at most 5 redirects, and relative ones", async () => {
  await using server = serve((request) => {
    const n = Number(new URL(request.url).pathname.slice(1));
    if (n === 0) return new Response('{"a":1}\n');
    return new Response(null, { status: 307, headers: { location: `/${n - 1}` } });
  });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const { records } = await readAll(
    { type: "http", url: `${server.url}/5`, format: "ndjson" },
    folder.ctx,
  );
  assert.deepEqual(records, [{ a: 1 }]);
  const problem = await rejection(readAll({ type: "http", url: `${server.url}/6` }, folder.ctx));
  assert.match(problem.message, /redirects more than 5 times/);
});

Deno.test("http source keeps to the size limit, announced or not", async () => {
  await using server = serve((request) => {
    const announced = new URL(request.url).pathname === "/announced";
    return new Response(announced ? NDJSON.slice() : streamed(NDJSON));
  });
  for (const path of ["/announced", "/streamed"]) {
    await using folder = await SourceFolder.create({ limits: { ...LIMITS, maxSpoolBytes: 1_000 } });
    const problem = await rejection(readAll({ type: "http", url: server.url + path }, folder.ctx));
    assert.match(problem.message, /larger than 1000 bytes/);
    const left = await Array.fromAsync(Deno.readDir(folder.ctx.spoolDir));
    assert.deepEqual(left, []);
  }
});

Deno.test("http source never shows credentials or the query", async () => {
  await using server = serve((request) => {
    const ok = request.headers.get("authorization") === `Basic ${btoa("bob:s3cret")}`;
    return new Response(ok ? "broken" : null, { status: ok ? 200 : 401 });
  });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const url = `http://bob:s3cret@127.0.0.1:${server.port}/a.ndjson?token=t0ken`;
  const { plan, unreadable } = await readAll({ type: "http", url }, folder.ctx);
  const problem = await rejection(
    readAll({ type: "http", url: url.replace("s3cret", "wr0ng") }, folder.ctx),
  );
  for (const text of [JSON.stringify(plan), unreadable[0]!.message, problem.message]) {
    assert.doesNotMatch(text, /s3cret|wr0ng|t0ken|bob/);
  }
  assert.match(problem.message, /401/);
});

Deno.test("http source fails as changed when another attempt finds other content", async () => {
  let body = '{"a":1}\n';
  await using server = serve(() => new Response(body));
  await using first = await SourceFolder.create({ limits: LIMITS });
  const conf = { type: "http", url: `${server.url}/a.ndjson` };
  const { plan } = await readAll(conf, first.ctx);
  // The same server still has its spool; another one downloads again.
  const again = await readAll(conf, { ...first.ctx, pin: plan.pin });
  assert.deepEqual(again.plan, plan);
  assert.equal(server.requests.length, 1);
  await using second = await SourceFolder.create({ limits: LIMITS });
  assert.deepEqual((await readAll(conf, { ...second.ctx, pin: plan.pin })).plan, plan);
  body = '{"a":2}\n';
  await using third = await SourceFolder.create({ limits: LIMITS });
  const problem = await rejection(readAll(conf, { ...third.ctx, pin: plan.pin }));
  assert.equal(problem.type, "source-changed");
});

Deno.test("http source gives up on a server that sends nothing", async () => {
  await using server = serve(() =>
    new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array([123])) }))
  );
  await using folder = await SourceFolder.create();
  const controller = new AbortController();
  const hanging = download(new URL(server.url), { dir: folder.ctx.spoolDir, name: "x" }, {
    limits: LIMITS,
    signal: controller.signal,
    idleTimeoutMs: 50,
    retryInitialMs: 1,
  });
  const problem = await rejection(hanging);
  assert.equal(problem.transient, true);
  assert.match(problem.message, /could not be fetched in \d+ attempts/);
});

Deno.test("http source stops when the run is cancelled", async () => {
  await using server = serve(() =>
    new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array([123])) }))
  );
  const controller = new AbortController();
  await using folder = await SourceFolder.create({ limits: LIMITS, signal: controller.signal });
  const reading = readAll({ type: "http", url: server.url }, folder.ctx);
  await waitFor(() => server.requests.length > 0);
  controller.abort();
  await assert.rejects(reading, { name: "AbortError" });
});

Deno.test("previewSource() fetches only the beginning of a large file", async () => {
  const line = new TextEncoder().encode(`${JSON.stringify({ text: "y".repeat(1_000) })}\n`);
  let sent = 0;
  await using server = serve(() =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += line.length;
          controller.enqueue(line);
          if (sent > 100 << 20) controller.close();
        },
      }),
    )
  );
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const conf = sourceConf({ type: "http", url: `${server.url}/big.ndjson` });
  const { records } = await previewSource(conf, folder.ctx);
  assert.equal(records.length, 20);
  assert.ok(sent < 20 << 20, `${sent} bytes were sent`);
});
