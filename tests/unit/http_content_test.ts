import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { contentOf } from "../../pipeline/sources/http/request.ts";

const text = (chunk: Uint8Array) => new TextDecoder().decode(chunk);

Deno.test("http content: what had come before the connection was cut is read, and then the error", async () => {
  const answer = new Readable({ read: () => {} });
  for (const part of ["a", "b", "c"]) answer.push(new TextEncoder().encode(part));
  const content = contentOf(answer);
  assert.equal(text((await content.next()).value as Uint8Array), "a");
  const closed = new Promise((resolve) => answer.on("close", resolve));
  answer.destroy(new Error("cut"));
  await closed;
  assert.equal(text((await content.next()).value as Uint8Array), "b");
  assert.equal(text((await content.next()).value as Uint8Array), "c");
  await assert.rejects(content.next(), /cut/);
});

Deno.test("http content: an answer that was cut before it is read gives what had come", async () => {
  const answer = new Readable({ read: () => {} });
  answer.push(new TextEncoder().encode("a"));
  answer.destroy(new Error("cut"));
  await new Promise((resolve) => answer.on("error", resolve));
  const content = contentOf(answer);
  assert.equal(text((await content.next()).value as Uint8Array), "a");
  await assert.rejects(content.next(), /cut/);
});

Deno.test("http content: a server that is faster than its reader waits", async () => {
  let made = 0;
  const answer = new Readable({
    highWaterMark: 1 << 16,
    read() {
      this.push(made++ < 1_000 ? new Uint8Array(1 << 16) : null);
    },
  });
  let read = 0;
  for await (const chunk of contentOf(answer)) {
    read += chunk.length;
    assert.ok(made * (1 << 16) - read <= 3 << 20, `${made} made, ${read} read`);
  }
  assert.equal(read, 1_000 << 16);
});
