import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Problem } from "../../vocabulary/problem.ts";
import { Requester } from "../../pipeline/user_code/requests.ts";

/** A server on a free port that notes what it is asked for. */
function startServer(answer: (path: string, nth: number) => Response | Promise<Response>) {
  const asked: { path: string; headers: Record<string, string>; method: string; body: string }[] =
    [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname, search } = new URL(request.url);
      const { method } = request;
      const headers = Object.fromEntries(request.headers);
      asked.push({ path: pathname + search, headers, method, body: await request.text() });
      return answer(pathname, asked.length);
    },
  );
  const host = `127.0.0.1:${server.addr.port}`;
  return { asked, host, [Symbol.asyncDispose]: () => server.shutdown() };
}

const LIMITS = {
  maxSpoolBytes: 1e6,
  maxRecordBytes: 1e6,
  httpHosts: ["127.0.0.1"],
  allowPrivateHosts: ["127.0.0.1"],
};

interface Asking {
  url: string;
  method?: string;
  body?: string;
  connection?: string;
  connections?: Record<string, { url: string; headers: Record<string, string> }>;
  hosts?: string[];
}

/** What comes of work that must not be waited for. */
async function soon<T>(work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("there is no answer after 30 s")), 30_000);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a module is answered: the text, or the type of the problem and what it says. */
async function ask(
  { url, method = "GET", body, connection, connections = {}, hosts = ["127.0.0.1"] }: Asking,
): Promise<string> {
  const requester = new Requester({ connections, limits: LIMITS, retryInitialMs: 1 });
  const request = { url, method, headers: {}, body: body ?? null, connection };
  try {
    return new TextDecoder().decode((await soon(requester.ask(request as never, hosts))).body);
  } catch (error) {
    const { type, message, transient } = error as Problem;
    return `${type}${transient ? ", later" : ""}: ${message}`;
  }
}

Deno.test("a request is tried again while its server is away or has too much to do, and not where it says no", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  closed.close();
  assert.match(
    await ask({ url: `http://127.0.0.1:${port}/a?sig=s3cret` }),
    /^source-unreadable, later: http:\/\/127\.0\.0\.1:\d+\/a did not respond in 8 attempts \(.*REFUSED.*\)/i,
  );
  for (
    const [status, tries] of [
      [408, 2],
      [429, 2],
      [500, 2],
      [503, 2],
      [501, 1],
      [505, 1],
      [404, 1],
      [401, 1],
    ] as const
  ) {
    await using server = startServer((_, nth) =>
      new Response(`${nth}`, { status: nth === 1 ? status : 200 })
    );
    assert.equal(await ask({ url: `http://${server.host}/` }), `${tries}`, `${status}`);
  }
  await using busy = startServer(() =>
    new Response("", { status: 503, headers: { "retry-after": "301" } })
  );
  assert.match(
    await ask({ url: `http://${busy.host}/` }),
    /^source-unreadable, later: .* in 1 attempts \(it answers 503, come back in 301 s\)/,
  );
  // a date counts from the server's own clock
  const dated = {
    date: "Mon, 01 Jan 2024 00:00:00 GMT",
    "retry-after": "Mon, 01 Jan 2024 01:00:00 GMT",
  };
  await using slow = startServer(() => new Response("", { status: 429, headers: dated }));
  assert.match(await ask({ url: `http://${slow.host}/` }), /it answers 429, come back in 3600 s/);
  await using broken = startServer((_, nth) =>
    nth === 1
      ? new Response("no gzip", { headers: { "content-encoding": "gzip" } })
      : new Response("whole")
  );
  assert.equal(await ask({ url: `http://${broken.host}/` }), "whole");
});

Deno.test("a redirect is followed with the same request, after 303 by GET, five times at most, and only to HTTP", async () => {
  const to = (status: number, location: string) =>
    new Response(null, { status, headers: { location } });
  for (
    const [status, method, then] of [
      ...[301, 302, 307, 308].map((each) => [each, "POST", "POST /there body"] as const),
      [303, "POST", "GET /there "],
      [303, "HEAD", "HEAD /there "],
    ] as const
  ) {
    await using server = startServer((path) =>
      path === "/there" ? new Response("") : to(status, "/there")
    );
    const body = method === "POST" ? { body: "body" } : {};
    await ask({ url: `http://${server.host}/here`, method, ...body });
    const asked = server.asked.map((each) => `${each.method} ${each.path} ${each.body}`);
    assert.deepEqual(asked, [`${method} /here ${body.body ?? ""}`, then], `${status}`);
  }
  const often = (redirects: number) =>
    startServer((path) => {
      const done = Number(path.slice(1));
      return done === redirects ? new Response("there") : to(302, `/${done + 1}`);
    });
  await using five = often(5);
  assert.equal(await ask({ url: `http://${five.host}/0` }), "there");
  await using six = often(6);
  assert.match(await ask({ url: `http://${six.host}/0` }), /^source-refused: .* more than 5 times/);
  for (const location of ["ftp://127.0.0.1/", "http://[", "file:///etc/passwd"]) {
    await using server = startServer(() => to(302, location));
    assert.match(
      await ask({ url: `http://${server.host}/` }),
      /^source-refused: .* no URL of HTTP/,
      location,
    );
  }
  await using elsewhere = startServer(() => to(302, "http://localhost:1/"));
  assert.match(
    await ask({ url: `http://${elsewhere.host}/` }),
    /^source-refused: .*asks localhost:1, which/,
  );
});

Deno.test("of more requests than are sent at once each has its turn", async () => {
  let inside = 0;
  let most = 0;
  await using server = startServer(async () => {
    most = Math.max(most, ++inside);
    await delay(1);
    inside--;
    return new Response("read");
  });
  const requester = new Requester({ connections: {}, limits: LIMITS });
  const request = { url: `http://${server.host}/`, method: "GET", headers: {}, body: null };
  await soon(Promise.all(
    Array.from({ length: 20 }, () => requester.ask(request as never, ["127.0.0.1"])),
  ));
  assert.deepEqual([server.asked.length, most <= 4], [20, true]);
});

Deno.test("a module asks by reading methods, of servers that it lists or that its connections name", async () => {
  await using server = startServer(() => new Response("read"));
  const url = `http://${server.host}/`;
  const shop = { url: `${url}shop/`, headers: {} };
  const connections = { shop };
  for (const method of ["PUT", "DELETE", "OPTIONS"]) {
    assert.match(
      await ask({ url, method }),
      new RegExp(`^source-refused: .*sends ${method}: a source reads`),
    );
  }
  assert.match(
    await ask({ url, hosts: [] }),
    /^source-refused: .*does not list: add "127\.0\.0\.1:\d+"/,
  );
  assert.match(
    await ask({ url, hosts: ["127.0.0.1:1", "x.test"] }),
    /\(there are 127\.0\.0\.1:1, x\.test\)/,
  );
  // a port that a URL leaves out is that of its protocol
  for (
    const [url, listed, wanted] of [["https://x.test/", "x.test:80", "x.test:443"], [
      "http://x.test/",
      "x.test:443",
      "x.test:80",
    ]] as const
  ) {
    assert.match(await ask({ url, hosts: [listed] }), new RegExp(`does not list: add "${wanted}"`));
  }
  assert.match(await ask({ url: "ftp://127.0.0.1/" }), /^source-refused: .*asks for ftp:/);
  assert.match(
    await ask({ url: "/a" }),
    /^source-refused: .*no whole URL, and the source has no connection/,
  );
  assert.match(
    await ask({ url: "a", connection: "toString", connections }),
    /connection "toString", which is not its own/,
  );
  assert.match(
    await ask({ url: "a", connections: { shop, other: shop } }),
    /^source-refused: .*does not name its connection/,
  );
  assert.equal(server.asked.length, 0);
  assert.equal(await ask({ url: "a", connections, hosts: [] }), "read");
  assert.equal(
    await ask({ url: `${url}b`, connections, hosts: [] }),
    "read",
    "of its connection's server",
  );
  assert.equal(
    await ask({ url: "c", connection: "shop", connections: { shop, other: shop } }),
    "read",
  );
  assert.deepEqual(server.asked.map(({ path }) => path), ["/shop/a", "/b", "/shop/c"]);
});

Deno.test("a redirect takes nothing that was meant for one server to another, however it is written", async () => {
  await using other = startServer(() => Response.redirect(`http://${shop.host}/back`, 307));
  await using shop = startServer((path) =>
    path === "/go"
      ? new Response(null, { status: 307, headers: { location: `http://${other.host}/there` } })
      : new Response("done")
  );
  const requester = new Requester({
    connections: {
      shop: {
        url: `http://user:word@${shop.host}/?sig=s3cret`,
        headers: { "x-shop": "its own" },
      },
    },
    limits: LIMITS,
  });
  const answer = await requester.ask({
    url: "go",
    method: "GET",
    headers: {
      "Accept": "text/plain",
      "X-API-Key": "s3cret",
      "Cookie": "a=s3cret",
      "X-Auth": "s3cret",
      "Host": "s3cret",
      "Proxy-Authorization": "s3cret",
    },
    body: null,
    connection: "shop",
  }, [other.host]);
  assert.equal(new TextDecoder().decode(answer.body), "done");
  const [there] = other.asked;
  assert.equal(there!.path, "/there");
  assert.doesNotMatch(JSON.stringify(there), /s3cret|its own|authorization/);
  assert.equal(there!.headers.accept, "text/plain");
  const [first, back] = shop.asked;
  assert.equal(first!.path, "/go?sig=s3cret");
  for (const { headers } of [first!, back!]) {
    assert.equal(headers["x-api-key"], "s3cret");
    assert.equal(headers["x-shop"], "its own");
    assert.equal(headers.authorization, `Basic ${btoa("user:word")}`);
    assert.equal(headers.host, shop.host);
    assert.equal(headers["proxy-authorization"], undefined);
  }
});
