import assert from "node:assert/strict";
import { Requester } from "../../pipeline/user_code/requests.ts";

/** A server on a free port that notes what it is asked for. */
function startServer(answer: (path: string) => Response) {
  const asked: { path: string; headers: Record<string, string> }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname, search } = new URL(request.url);
    asked.push({ path: pathname + search, headers: Object.fromEntries(request.headers) });
    return answer(pathname);
  });
  const host = `127.0.0.1:${server.addr.port}`;
  return { asked, host, [Symbol.asyncDispose]: () => server.shutdown() };
}

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
    limits: {
      maxSpoolBytes: 1e6,
      maxRecordBytes: 1e6,
      httpHosts: ["127.0.0.1"],
      allowPrivateHosts: ["127.0.0.1"],
    },
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
