import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

const BODY = new TextEncoder().encode(
  "id,name\n" + Array.from({ length: 20_000 }, (_, i) => `${i},n${i}\n`).join(""),
);
const CSV = { "content-type": "text/csv" };

interface Asked {
  response: ServerResponse;
  request: IncomingMessage;
  /** Number of the request, from 1. */
  n: number;
  /** First byte of the range that is asked for. */
  from: number | undefined;
}

interface Peer extends AsyncDisposable {
  url: string;
  asked: IncomingMessage[];
}

/** A server that may answer anything. */
async function serve(answer: (asked: Asked) => void): Promise<Peer> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
    answer({
      request,
      response,
      n: asked.length,
      from: range === undefined ? undefined : Number(range),
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Sends a beginning of the body with the length of all of it, and drops the connection. */
function cut(response: ServerResponse, bytes: number, headers: Record<string, string> = {}): void {
  response.writeHead(200, { ...CSV, "content-length": String(BODY.length), ...headers });
  response.write(BODY.subarray(0, bytes), () => setTimeout(() => response.destroy(), 50));
}

function part(
  response: ServerResponse,
  [start, end]: [number, number],
  { body = BODY, total = String(body.length), ...headers }: {
    body?: Uint8Array;
    total?: string;
    [header: string]: string | Uint8Array | undefined;
  } = {},
): void {
  response.writeHead(206, {
    ...CSV,
    "content-length": String(end - start),
    "content-range": `bytes ${start}-${end - 1}/${total}`,
    ...headers as Record<string, string>,
  });
  response.end(body.subarray(start, end));
}

async function read(url: string, conf: Record<string, unknown> = {}) {
  await using folder = await SourceFolder.create({
    limits: { maxSpoolBytes: 1 << 24, maxRecordBytes: 1 << 20, allowPrivateHosts: ["127.0.0.1"] },
  });
  return await readAll({ type: "http", url, ...conf }, folder.ctx);
}

async function refused(url: string, conf: Record<string, unknown> = {}): Promise<Problem> {
  const error = await read(url, conf).then(() => assert.fail("was read"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  assert.equal(error.type, "source-unreadable");
  return error;
}

const names = (records: { name?: unknown }[]) => [records.length, records.at(-1)?.name];

Deno.test("a download goes on until its total is there, however short the parts are", async () => {
  for (const total of [undefined, "*"]) {
    await using peer = await serve(({ response, from }) => {
      if (from === undefined) return cut(response, 100_000, { etag: '"v1"' });
      if (from >= BODY.length) {
        response.writeHead(416, { "content-range": `bytes */${BODY.length}` }).end();
      } else {
        part(response, [from, Math.min(BODY.length, from + 50_000)], {
          etag: '"v1"',
          ...(total === undefined ? {} : { total }),
        });
      }
    });
    assert.deepEqual(names((await read(`${peer.url}/a.csv`)).records), [20_000, "n19999"]);
    assert.ok(peer.asked.length >= 4);
  }
});

Deno.test("a server that cuts each answer is asked as long as each brings something", async () => {
  await using peer = await serve(({ response, from = 0 }) => {
    const rest = BODY.subarray(from);
    response.writeHead(from === 0 ? 200 : 206, {
      ...CSV,
      etag: '"v1"',
      "content-length": String(rest.length),
      ...(from === 0 ? {} : {
        "content-range": `bytes ${from}-${BODY.length - 1}/${BODY.length}`,
      }),
    });
    const sent = rest.subarray(0, Math.ceil(BODY.length / 7));
    response.write(
      sent,
      () => sent.length === rest.length ? response.end() : setTimeout(() => response.destroy(), 50),
    );
  });
  assert.deepEqual(names((await read(`${peer.url}/a.csv`)).records), [20_000, "n19999"]);
  assert.ok(peer.asked.length >= 7);
});

Deno.test("a total that nobody told is asked for until the server says that nothing follows", async () => {
  await using peer = await serve(({ response, from }) => {
    if (from === undefined) {
      response.writeHead(200, { ...CSV, etag: '"v1"' });
      response.write(BODY.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    } else if (from >= BODY.length) {
      response.writeHead(416, { "content-range": `bytes */${BODY.length}` }).end();
    } else {part(response, [from, Math.min(BODY.length, from + 80_000)], {
        total: "*",
        etag: '"v1"',
      });}
  });
  assert.deepEqual(names((await read(`${peer.url}/a.csv`)).records), [20_000, "n19999"]);
});

Deno.test("a part that was not asked for is refused", async () => {
  await using peer = await serve(({ response }) => part(response, [0, 16], { total: "400" }));
  const { message, transient } = await refused(`${peer.url}/a.csv`);
  assert.match(message, /206 with a part of the content \(bytes 0-15\/400\)/);
  assert.equal(transient, false);
});

Deno.test("content that changes on the way starts over, whatever the server makes of If-Range", async () => {
  const other = new TextEncoder().encode(
    new TextDecoder().decode(BODY).replaceAll(/,n(?=\d)/g, ",m"),
  );
  for (
    const [first, second] of [
      [{ etag: '"v1"' }, { etag: '"v2"' }],
      [
        { "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" },
        { "last-modified": "Tue, 02 Jan 2024 00:00:00 GMT" },
      ],
      // twice within the second that an answer tells
      [
        { "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT", date: "Mon, 01 Jan 2024 00:00:00 GMT" },
        { "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT", date: "Mon, 01 Jan 2024 00:00:01 GMT" },
      ],
      [{}, {}],
    ] as [Record<string, string>, Record<string, string>][]
  ) {
    await using peer = await serve(({ response, n, from }) => {
      if (n === 1) cut(response, 100_000, first);
      else if (from !== undefined) part(response, [from, other.length], { body: other, ...second });
      else response.writeHead(200, { ...CSV, ...second }).end(other);
    });
    const { records } = await read(`${peer.url}/a.csv`);
    assert.equal(records.length, 20_000);
    assert.ok(records.every(({ name }) => String(name).startsWith("m")));
  }
});

Deno.test("a total that changes on the way starts over too", async () => {
  const longer = new Uint8Array([...BODY, ...new TextEncoder().encode("20000,n20000\n")]);
  await using peer = await serve(({ response, n, from }) => {
    if (n === 1) cut(response, 100_000, { etag: '"v1"' });
    else if (from !== undefined) part(response, [from, longer.length], { body: longer });
    else response.writeHead(200, CSV).end(longer);
  });
  assert.deepEqual(names((await read(`${peer.url}/a.csv`)).records), [20_001, "n20000"]);
});

Deno.test("a body that ends before its length, or before its last chunk, is not the whole", async () => {
  for (const chunked of [false, true]) {
    await using peer = await serve(({ response, n }) => {
      if (n > 1) response.writeHead(200, CSV).end(BODY);
      else if (chunked) {
        response.writeHead(200, CSV);
        response.write(BODY.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
      } else cut(response, 100_000);
    });
    assert.deepEqual(names((await read(`${peer.url}/a.csv`)).records), [20_000, "n19999"]);
    assert.equal(peer.asked.length, 2);
  }
});

Deno.test("an answer whose end nothing tells is read, with a warning", async () => {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const serving = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4_096));
      await connection.write(
        new TextEncoder().encode("HTTP/1.0 200 OK\r\ncontent-type: text/csv\r\n\r\na\n1\n"),
      );
      connection.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  const { records, plan } = await read(`http://127.0.0.1:${port}/a.csv`);
  assert.equal(records.length, 1);
  assert.match(plan.warnings.join(), /neither the length of its answer nor where it ends/);
  listener.close();
  await serving;
});

Deno.test("Retry-After is waited for, in seconds and as a date", async () => {
  // the date counts from the server's own clock, which is an hour slow here
  const clock = Date.now() - 3_600_000;
  const date = (ms: number) => new Date(ms).toUTCString();
  for (const header of ["1", date(Math.ceil(clock / 1_000) * 1_000 + 1_000)]) {
    await using peer = await serve(({ response, n }) => {
      response.sendDate = false;
      if (n > 1) response.writeHead(200, CSV).end("a\n1\n");
      else {
        response.writeHead(429, {
          "retry-after": header,
          date: date(Math.ceil(clock / 1_000) * 1_000),
        }).end("slow");
      }
    });
    const started = performance.now();
    assert.equal((await read(`${peer.url}/a.csv`)).records.length, 1);
    const took = performance.now() - started;
    assert.ok(took > 950 && took < 10_000, `${header}: ${took} ms`);
  }
});

Deno.test("a server that asks to come back much later ends the try, and says when", async () => {
  await using peer = await serve(({ response }) =>
    response.writeHead(503, { "retry-after": "3600" }).end()
  );
  const { message, transient } = await refused(`${peer.url}/a.csv`);
  assert.match(message, /503.*come back in 3600 s/);
  assert.equal(transient, true);
});

Deno.test("a page in the place of data is refused, by its title", async () => {
  const page =
    "<!-- x -->\n<!DOCTYPE html>\n<html><head><title>Sign in\n to Acme</title></head></html>";
  await using peer = await serve(({ request, response }) => {
    const { pathname } = new URL(request.url!, "http://x");
    if (pathname === "/redirect.csv") {
      response.writeHead(302, { location: "/login" }).end();
    } else if (pathname === "/plain.csv") {
      response.writeHead(200, { "content-type": "text/html" }).end("a,b\n1,2\n");
    } else {
      const type = pathname === "/as.csv" ? "text/csv" : "text/html; charset=utf-8";
      response.writeHead(200, { "content-type": type }).end(page);
    }
  });
  for (const path of ["/html.csv", "/html.json", "/html.parquet", "/as.csv", "/redirect.csv"]) {
    const { message } = await refused(peer.url + path);
    assert.match(message, /HTML page .*titled "Sign in to Acme"/, path);
  }
  assert.match((await refused(`${peer.url}/redirect.csv`)).message, /redirected to .*\/login/);
  assert.match((await refused(`${peer.url}/html.csv`, { format: "csv" })).message, /Sign in/);
  assert.match((await refused(`${peer.url}/plain.csv`)).message, /HTML page \(text\/html\)/);
  // who names the format knows better than a framework's default
  assert.deepEqual((await read(`${peer.url}/plain.csv`, { format: "csv" })).records.length, 1);
});

Deno.test("codings of Content-Encoding are undone, also several and around a compressed file", async () => {
  const encoded: Record<string, [string, Uint8Array]> = {
    "/deflate.csv": ["deflate", deflateSync(BODY)],
    "/raw.csv": ["deflate", deflateRawSync(BODY)],
    "/br.csv": ["br", brotliCompressSync(BODY)],
    "/zstd.csv": ["zstd", zstdCompressSync(BODY)],
    "/gzip.csv": ["x-gzip", gzipSync(BODY)],
    "/twice.csv": ["gzip, br", brotliCompressSync(gzipSync(BODY))],
    "/around.csv.gz": ["gzip", gzipSync(gzipSync(BODY))],
    "/only.csv.gz": ["gzip", gzipSync(BODY)],
    "/none.csv": ["identity", BODY],
    "/lie.csv": ["gzip", BODY],
    "/zlie.csv": ["zstd", BODY],
  };
  await using peer = await serve(({ request, response }) => {
    const { pathname } = new URL(request.url!, "http://x");
    const [coding, bytes] = encoded[pathname] ?? ["compress", BODY];
    response.writeHead(200, { ...CSV, "content-encoding": coding }).end(bytes);
  });
  for (const path of Object.keys(encoded)) {
    const { records } = await read(peer.url + path);
    assert.deepEqual(names(records), [20_000, "n19999"], path);
  }
  const { message } = await refused(`${peer.url}/lzw.csv`);
  assert.match(message, /Content-Encoding compress, which is not read/);
});

Deno.test("compressed answers that are damaged or incomplete are refused", async () => {
  const whole = {
    br: brotliCompressSync(BODY),
    deflate: deflateSync(BODY),
    zstd: zstdCompressSync(BODY),
  };
  for (const [coding, bytes] of Object.entries(whole)) {
    await using peer = await serve(({ response }) =>
      response.writeHead(200, { ...CSV, "content-encoding": coding })
        .end(bytes.subarray(0, bytes.length - 20))
    );
    const { message } = await refused(`${peer.url}/a.csv`);
    assert.match(message, /data (ends too early|is damaged)/, coding);
  }
});

Deno.test("the charset of an answer is obeyed, below source.encoding and a byte order mark", async () => {
  const latin = Uint8Array.from([...new TextEncoder().encode("name\nZo"), 0xeb, 10]);
  const utf16 = Uint8Array.from("\ufeffname\nZoë\n", (c) => c.charCodeAt(0));
  const be = new Uint8Array(utf16.length * 2);
  Array.from("\ufeffname\nZoë\n").forEach((c, i) =>
    new DataView(be.buffer).setUint16(i * 2, c.charCodeAt(0))
  );
  const answers: Record<string, [string, Uint8Array | string]> = {
    "/latin.csv": ["text/csv; charset=iso-8859-1", latin],
    "/quoted.csv": ['text/csv; header=present; charset="ISO-8859-15"', latin],
    "/utf16.csv": ["text/csv;charset=utf-16", be],
    "/ascii.csv": ["text/csv;charset=us-ascii", "name\nZoë\n"],
    "/marked.csv": ["text/csv;charset=iso-8859-1", "\ufeffname\nZoë\n"],
    "/unknown.csv": ["text/csv;charset=klingon", "name\nZoë\n"],
    "/bare.csv": ["text/csv; header=absent", "Zoë\n"],
  };
  await using peer = await serve(({ request, response }) => {
    const [type, body] = answers[new URL(request.url!, "http://x").pathname]!;
    response.writeHead(200, { "content-type": type }).end(body);
  });
  for (const path of Object.keys(answers)) {
    if (path === "/unknown.csv") continue;
    const { records, plan } = await read(peer.url + path);
    assert.deepEqual(records.map((record) => Object.values(record)), [["Zoë"]], path);
    if (path === "/latin.csv") assert.match(plan.warnings.join(), /read as iso-8859-1/);
  }
  assert.match((await refused(`${peer.url}/unknown.csv`)).message, /klingon, which is not known/);
  assert.deepEqual(
    (await read(`${peer.url}/unknown.csv`, { encoding: "utf-8" })).records.map(({ name }) => name),
    ["Zoë"],
  );
});

Deno.test("the name of Content-Disposition tells the format where the address does not", async () => {
  await using peer = await serve(({ request, response }) =>
    response.writeHead(200, {
      "content-type": "application/octet-stream",
      "content-disposition": request.url === "/plain"
        ? 'attachment; filename="export.csv"'
        : "attachment; filename=\"export\"; filename*=UTF-8''export.csv",
    }).end("a\n1\n")
  );
  for (const path of ["/plain", "/extended"]) {
    assert.equal((await read(peer.url + path)).records.length, 1);
  }
});
