import assert from "node:assert/strict";
import { tcpProxy } from "../helpers/tcp_proxy.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A server that sends back what it gets. */
function echoServer(): { port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Promise<unknown>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) {
      open.push(connection.readable.pipeTo(connection.writable).catch(() => {}));
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(open);
    },
  };
}

async function say(connection: Deno.Conn, word: string): Promise<string> {
  await connection.write(new TextEncoder().encode(word));
  return await hear(connection);
}

async function hear(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(100);
  const length = await connection.read(buffer);
  return length === null ? "closed" : new TextDecoder().decode(buffer.subarray(0, length));
}

Deno.test("tcpProxy() passes bytes on in both directions", async () => {
  await using server = echoServer();
  await using proxy = tcpProxy(server);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  assert.equal(await say(connection, "one"), "one");
  assert.equal(proxy.connectionCount, 1);
});

Deno.test("tcpProxy() holds everything back while it stalls", async () => {
  await using server = echoServer();
  await using proxy = tcpProxy(server);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  await say(connection, "one");
  proxy.stall();
  let heard: string | undefined;
  const answer = say(connection, "two").then((word) => heard = word);
  await using other = tcpProxy(server); // a round trip elsewhere: time enough for an answer
  using control = await Deno.connect({ hostname: "127.0.0.1", port: other.port });
  await say(control, "control");
  assert.equal(heard, undefined);
  proxy.resume();
  assert.equal(await answer, "two");
});

Deno.test("tcpProxy() breaks open connections and serves new ones", async () => {
  await using server = echoServer();
  await using proxy = tcpProxy(server);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  await say(connection, "one");
  proxy.breakAll();
  assert.equal(await hear(connection), "closed");
  using next = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  assert.equal(await say(next, "two"), "two");
});

Deno.test("tcpProxy() refuses connections until told otherwise", async () => {
  await using server = echoServer();
  await using proxy = tcpProxy(server);
  proxy.refuse(true);
  using refused = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  assert.equal(await hear(refused), "closed");
  proxy.refuse(false);
  using served = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  assert.equal(await say(served, "back"), "back");
});

Deno.test("waitFor() names what it waited for in vain, with the last error as cause", async () => {
  const error = await waitFor(() => {
    throw new Error("not yet");
  }, { timeoutMs: 30, intervalMs: 5, what: "the impossible" }).catch((error) => error);
  assert.match(error.message, /30 ms in vain for: the impossible/);
  assert.equal(error.cause.message, "not yet");
});
