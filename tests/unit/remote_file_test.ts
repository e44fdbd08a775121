import assert from "node:assert/strict";
import { get, type IncomingMessage } from "node:http";
import { RemoteFile } from "../../pipeline/sources/http/remote_file.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";

Deno.test("a range that could not be fetched is asked for again, one that was is kept", async () => {
  const asked: string[] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () => {
    if (asked.length === 1) return new Response("not yours", { status: 403 });
    const headers = { "content-range": "bytes 2-4/6", etag: '"v"' };
    return new Response("cde", { status: 206, headers });
  });
  const url = `http://127.0.0.1:${server.addr.port}/a.parquet`;
  const file = new RemoteFile({
    label: url,
    identity: url,
    size: 6,
    etag: '"v"',
    ask: (headers) => {
      asked.push(headers.range!);
      return new Promise<IncomingMessage>((resolve, reject) => {
        get(url, { headers, agent: false }, resolve).on("error", reject);
      });
    },
    refusal: () =>
      Promise.resolve(new Problem("source-unreadable", { detail: say("url-not-web", {}) })),
    signal: new AbortController().signal,
    retryInitialMs: 1,
  });
  await assert.rejects(file.slice(2, 5), { type: "source-unreadable" });
  const read = async () => new TextDecoder().decode(await file.slice(2, 5));
  assert.deepEqual([await read(), await read()], ["cde", "cde"]);
  assert.deepEqual(asked, ["bytes=2-4", "bytes=2-4"]);
});
