import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { fetchHttpSource, httpAdapter } from "../../pipeline/sources/http/source.ts";
import { forgetRanges } from "../../pipeline/sources/http/remote_file.ts";
import { httpTarget } from "../../pipeline/sources/http/connection.ts";
import { httpSource } from "../../pipeline/sources/schema.ts";
import { download } from "../../pipeline/sources/http/download.ts";
import { previewSource, readSource } from "../../pipeline/sources/adapters.ts";
import type { SourceLimits } from "../../pipeline/sources/source.ts";
import { startEngine } from "../helpers/engine.ts";
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

/** A file on a server that gives ranges of it, as nginx and object stores do. */
class Ranged implements AsyncDisposable {
  bytes: Uint8Array<ArrayBuffer>;
  etag = '"v1"';
  /** What the server says, and does, of ranges. */
  promises = true;
  keeps = true;
  /** Whether it knows If-Match. */
  checks = true;
  /** Whether ranges come with their ETag. */
  tells = true;
  /** What it gives for an address, where that is not its bytes. */
  other: (url: URL, headers: Headers) => Uint8Array<ArrayBuffer> | undefined = () => undefined;
  /** Bytes that it gives at once at most. */
  atOnce = Infinity;
  /** Bytes of ranges. */
  sent = 0;
  readonly #server: TestServer;

  constructor(content: string | Uint8Array, readonly contentType = "application/octet-stream") {
    this.bytes = typeof content === "string" ? new TextEncoder().encode(content) : content.slice();
    this.#server = serve((request) => this.#answer(request));
  }

  get url(): string {
    return this.#server.url;
  }

  get requests(): Headers[] {
    return this.#server.requests;
  }

  #answer({ url, headers }: Request): Response {
    const { etag } = this;
    const bytes = this.other(new URL(url), headers) ?? this.bytes;
    const told = {
      ...(this.tells || !headers.has("range") ? { etag } : {}),
      "content-type": this.contentType,
      ...(this.promises ? { "accept-ranges": "bytes" } : {}),
    };
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.get("range") ?? "") ?? [];
    const condition = headers.get("if-match");
    if (this.checks && condition !== null && condition !== etag) {
      return new Response(null, { status: 412 });
    }
    if (from === undefined || !this.keeps) {
      // a pipe: what nobody reads is not sent
      const sent = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          const at = offset;
          offset = Math.min(bytes.length, at + 65_536);
          controller.enqueue(bytes.subarray(at, offset));
          if (offset === bytes.length) controller.close();
        },
      }, { highWaterMark: 0 });
      let offset = 0;
      return new Response(sent, { headers: { ...told, "content-length": String(bytes.length) } });
    }
    const end = Math.min(Number(to) + 1, bytes.length, Number(from) + this.atOnce);
    this.sent += end - Number(from);
    return new Response(bytes.slice(Number(from), end), {
      status: 206,
      headers: { ...told, "content-range": `bytes ${from}-${end - 1}/${bytes.length}` },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

const MANY = Array.from({ length: 40_000 }, (_, i) => ({ id: i, text: "x".repeat(i % 80) }));
const MANY_LINES = MANY.map((line) => JSON.stringify(line)).join("\n");

/** Reads a file of such a server, and the same one from a disk. */
async function readBoth(server: Ranged, conf: Record<string, unknown> = {}) {
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const name = (conf.name as string | undefined) ?? "a.ndjson";
  await folder.write(name, server.bytes);
  const { name: _, ...rest } = conf;
  const here = await readAll({ type: "file", path: name, ...rest }, folder.ctx);
  const there = await readAll({ type: "http", url: `${server.url}/${name}`, ...rest }, folder.ctx);
  assert.deepEqual(there.slices, here.slices);
  const left = await Array.fromAsync(Deno.readDir(folder.ctx.spoolDir), ({ name }) => name);
  return { ...there, left };
}

Deno.test("http source reads by ranges what its server gives so, as the same file from a disk, and downloads nothing first", async () => {
  const csv = "id,text\n" + MANY.map(({ id, text }) => `${id},"a\n${text}"\n`).join("");
  const parquet = new Uint8Array(parquetWriteBuffer({
    columnData: [
      { name: "id", data: MANY.map(({ id }) => id), type: "INT32" },
      { name: "text", data: MANY.map(({ id, text }) => `${id} ${text}`), type: "STRING" },
    ],
    rowGroupSize: 10_000,
    codec: "UNCOMPRESSED",
  }));
  const files: [string, string | Uint8Array][] = [
    ["a.ndjson", MANY_LINES],
    ["a.csv", csv],
    ["a.parquet", parquet],
  ];
  for (const [name, content] of files) {
    await using server = new Ranged(content);
    const { plan, left } = await readBoth(server, { name });
    assert.equal(plan.slices.length > 1 || name === "a.parquet", true, name);
    assert.deepEqual(left.filter((file) => !file.endsWith(".json")), [], `${name} is on no disk`);
    const [first, ...rest] = server.requests;
    assert.equal(first!.get("range"), null);
    assert.ok(rest.length >= 2);
    for (const headers of rest) {
      assert.match(headers.get("range")!, /^bytes=\d+-\d+$/);
      assert.equal(headers.get("if-match"), '"v1"');
    }
    // of CSV with quotes the plan reads all of it once; of small NDJSON the places to sample and cut
    assert.ok(
      server.sent < server.bytes.length * 2.5,
      `${name}: ${server.sent} of ${server.bytes.length}`,
    );
    assert.equal(plan.pin.etag, '"v1"');
    assert.equal(plan.pin.sha256, undefined);
  }
  // in one stream, straight into what is made of it
  await using zipped = new Ranged(gzipSync(new TextEncoder().encode(csv), { level: 0 }));
  const { left } = await readBoth(zipped, { name: "a.csv.gz" });
  assert.ok(left.every((file) => !file.endsWith(".download")), String(left));
});

Deno.test("http source downloads what has no strong ETag, promises no ranges, does not keep the promise or is small", async () => {
  const cases: [Partial<Ranged>, RegExp | null][] = [
    [{ etag: 'W/"v1"' }, /no strong ETag/],
    [{ promises: false }, /does not give it by ranges/],
    [{ keeps: false }, /does not give it by ranges/],
    [{ tells: false }, /answers differ in their ETags/],
    [{ bytes: NDJSON.slice(0, 200_000) }, null],
  ];
  for (const [says, expected] of cases) {
    await using server = Object.assign(new Ranged(MANY_LINES), says);
    await using folder = await SourceFolder.create({ limits: LIMITS });
    const conf = httpSource.parse({ type: "http", url: `${server.url}/a.ndjson` });
    const target = { url: conf.url, headers: {} };
    const said = await httpAdapter.fetch!.download(conf, folder.ctx, { preview: false, target });
    if (expected === null) assert.equal(said, null);
    else assert.match(said!, expected);
    const { plan, records } = await readAll(conf, folder.ctx);
    assert.match(plan.pin.sha256 as string, /^[0-9a-f]{64}$/);
    assert.ok(records.length > 3_000);
  }
});

Deno.test("http source by ranges: what is replaced or gone fails as changed, also for servers that know no If-Match", async () => {
  for (const checks of [true, false]) {
    await using server = Object.assign(new Ranged(MANY_LINES), { checks });
    await using folder = await SourceFolder.create({ limits: LIMITS });
    const conf = sourceConf({ type: "http", url: `${server.url}/a.ndjson` });
    const { plan } = await readAll(conf, folder.ctx);
    // another attempt, on another server
    await using second = await SourceFolder.create({ limits: LIMITS });
    const again = await readAll(conf, { ...second.ctx, pin: plan.pin });
    assert.deepEqual(again.plan, plan);
    server.etag = '"v2"';
    forgetRanges();
    assert.equal(
      (await rejection(Array.fromAsync(readSource(conf, plan.slices[1]!, folder.ctx)))).type,
      "source-changed",
    );
    await using third = await SourceFolder.create({ limits: LIMITS });
    const problem = await rejection(readAll(conf, { ...third.ctx, pin: plan.pin }));
    assert.equal(problem.type, "source-changed");
  }
});

Deno.test("http source by ranges: files with one ETag and one size are two, by their query or by who asks; without an ETag a range is none of the file", async () => {
  const lines = (letter: string) =>
    new TextEncoder().encode(MANY_LINES.replaceAll(/x(?!t)/g, letter));
  await using server = Object.assign(new Ranged(MANY_LINES), {
    other: ({ searchParams }: URL, headers: Headers) =>
      lines(searchParams.get("day") ?? headers.get("x-user") ?? "x"),
  });
  const letters = async (path: string, user?: string) => {
    await using folder = await SourceFolder.create({ limits: LIMITS });
    const headers: Record<string, string> = user === undefined ? {} : { "x-user": user };
    const ctx = { ...folder.ctx, target: { url: `${server.url}${path}`, headers } };
    const { records } = await readAll({ type: "http", url: `${server.url}${path}` }, ctx);
    return [...new Set(records.map(({ text }) => String(text).slice(0, 1)).filter(Boolean))];
  };
  assert.deepEqual(await letters("/a.ndjson?day=a"), ["a"]);
  assert.deepEqual(await letters("/a.ndjson?day=b"), ["b"]);
  assert.deepEqual(await letters("/a.ndjson", "c"), ["c"]);
  assert.deepEqual(await letters("/a.ndjson", "d"), ["d"]);

  await using folder = await SourceFolder.create({ limits: LIMITS });
  const conf = sourceConf({ type: "http", url: `${server.url}/b.ndjson` });
  const { plan } = await readAll(conf, folder.ctx);
  server.tells = false;
  forgetRanges();
  const problem = await rejection(Array.fromAsync(readSource(conf, plan.slices[1]!, folder.ctx)));
  assert.equal(problem.type, "source-changed");
  assert.match(problem.message, /no longer sends its ETag/);
});

Deno.test("http source by ranges takes what a server gives at once, and sends the connection's headers with each request", async () => {
  await using server = Object.assign(new Ranged(MANY_LINES), { atOnce: 100_000 });
  await using folder = await SourceFolder.create({ limits: LIMITS });
  const conf = httpSource.parse({ type: "http", url: "a.ndjson", connection: "api" });
  const target = httpTarget(conf, {
    http: { api: { url: server.url, headers: { "x-api-key": "k" } } },
  });
  await fetchHttpSource(conf, folder.ctx, { target });
  const { records } = await readAll(conf, { ...folder.ctx, target });
  assert.deepEqual(records, MANY);
  assert.ok(server.requests.every((headers) => headers.get("x-api-key") === "k"));
  assert.ok(server.requests.length > 20);
});

Deno.test("http source by ranges: the next run on a worker reads what its server has then, whatever ETag that has", async (t) => {
  const lines = (letter: string) =>
    Array.from({ length: 2_000 }, (_, id) => JSON.stringify({ id, text: letter.repeat(1_000) }))
      .join("\n");
  await using server = new Ranged(lines("x"));
  const host = new URL(server.url).host;
  const env = { ETL_HTTP_SOURCES: host, ETL_HTTP_PRIVATE_HOSTS: host };
  await using engine = await startEngine(t, { workers: 1, env });
  const source = { type: "http", url: `${server.url}/a.ndjson`, key: "id", name: "a" };
  for (const [letter, inserted, updated] of [["x", 2_000, 0], ["y", 0, 2_000]] as const) {
    server.bytes = new TextEncoder().encode(lines(letter));
    const { counts } = await engine.succeed({ source });
    assert.deepEqual([counts!.inserted, counts!.updated], [inserted, updated]);
    assert.ok(server.sent > 0);
  }
});
