import assert from "node:assert/strict";
import { Hono } from "hono";
import {
  Gate,
  guardedBody,
  limitLoad,
  limitRequests,
  staysOpen,
  Turns,
  uploads,
} from "../../routes/shared/load.ts";
import { SharedLookup } from "../../routes/shared/lookups.ts";
import { say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";

Deno.test("Gate lets its limit through, refuses more with 503, and counts who leaves once", () => {
  const gate = new Gate(2, say("requests-in-progress", { n: 2 }));
  const leave = gate.enter();
  gate.enter();
  assert.throws(() => gate.enter(), (error: Problem) => {
    assert.deepEqual([error.status, error.transient], [503, true]);
    assert.match(error.message, /busy: 2 requests are in progress already/);
    return true;
  });
  leave();
  leave();
  assert.equal(gate.inside, 1);
  assert.throws(() => gate.enter(2));
  gate.enter();
});

Deno.test("Gate gives one caller no more than a share, and what he leaves is his again", () => {
  const gate = new Gate(4, say("requests-in-progress", { n: 4 }), { share: 2 });
  const [first] = [gate.enter(1, "a"), gate.enter(1, "a")];
  assert.throws(() => gate.enter(1, "a"), { status: 429 });
  const other = gate.enter(2, "b");
  first!();
  gate.enter(1, "a");
  assert.throws(() => gate.enter(1, "a"), { status: 429 });
  other();
  gate.enter(2, "b");
  assert.throws(() => gate.enter(1, "c"), { status: 503 }, "all of it is taken");
});

Deno.test("Gate.run() refuses with the status that it was given, and leaves also after a failure", async () => {
  const gate = new Gate(1, say("previews-made", { n: 1 }), { status: 429 });
  const end = Promise.withResolvers<void>();
  const first = gate.run(() => end.promise);
  await assert.rejects(gate.run(() => Promise.resolve()), { status: 429 });
  end.reject(new Error("broken"));
  await assert.rejects(first, /broken/);
  assert.equal(await gate.run(() => Promise.resolve("done")), "done");
});

Deno.test("Turns has so many work at once; the others follow in order, also after one that fails", async () => {
  const turns = new Turns(2);
  const begun: number[] = [];
  const ends = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const all = ends.map(({ promise }, i) =>
    turns.take(() => {
      begun.push(i);
      return promise;
    })
  );
  await Promise.resolve();
  assert.deepEqual(begun, [0, 1]);
  ends[1]!.reject(new Error("broken"));
  await assert.rejects(all[1]!, /broken/);
  assert.deepEqual(begun, [0, 1, 2]);
  for (const i of [0, 2, 3]) ends[i]!.resolve();
  await Promise.all([all[0], all[2], all[3]]);
  assert.deepEqual(begun, [0, 1, 2, 3]);
  // as many places are free as before
  const more = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  let going = 0;
  const rest = more.map(({ promise }) => turns.take(() => (going++, promise)));
  await Promise.resolve();
  assert.equal(going, 2);
  for (const { resolve } of more) resolve();
  await Promise.all(rest);
});

Deno.test("SharedLookup looks once for all, and never answers with what was looked up before the question", async () => {
  let looks = 0;
  const ends: PromiseWithResolvers<void>[] = [];
  const lookup = new SharedLookup(async () => {
    const number = ++looks;
    const end = Promise.withResolvers<void>();
    ends.push(end);
    await end.promise;
    return number;
  });
  const first = lookup.get("a");
  const later = [lookup.get("a"), lookup.get("a"), lookup.get("a")];
  assert.equal(looks, 1);
  ends[0]!.resolve();
  assert.equal(await first, 1);
  await Promise.resolve();
  ends[1]!.resolve();
  assert.deepEqual(await Promise.all(later), [2, 2, 2]);
  const failing = new SharedLookup(() => Promise.reject(new Error("away")));
  await assert.rejects(failing.get("a"), /away/);
  await assert.rejects(failing.get("a"), /away/);
});

const block = (bytes: number) => new Uint8Array(bytes);

/** A body that gives these blocks and then stays silent, unless it ends. */
function bodyOf(blocks: Uint8Array[], { ends }: { ends: boolean }) {
  const state = { cancelled: false };
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const each of blocks) controller.enqueue(each);
      if (ends) controller.close();
    },
    cancel() {
      state.cancelled = true;
    },
  });
  return { stream, state };
}

Deno.test("guardedBody() passes a body on as it is, and tells of each block", async () => {
  const { stream } = bodyOf([block(3), block(4)], { ends: true });
  const told: number[] = [];
  const guarded = guardedBody(stream, { timeoutMs: 1000, onBlock: (bytes) => told.push(bytes) });
  assert.equal((await new Response(guarded.stream).bytes()).length, 7);
  assert.deepEqual(told, [3, 4]);
});

Deno.test("guardedBody() gives up a body that stops coming, with 408", async () => {
  const { stream, state } = bodyOf([block(3)], { ends: false });
  const guarded = guardedBody(stream, { timeoutMs: 20 });
  await assert.rejects(new Response(guarded.stream).bytes(), { status: 408 });
  assert.ok(state.cancelled);
});

Deno.test("guardedBody() gives up a body whose bytes come too slowly, although they come", async () => {
  let timer: ReturnType<typeof setInterval>;
  let sent = 0;
  const drip = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => {
        controller.enqueue(block(1));
        if (++sent < 150) return;
        clearInterval(timer);
        controller.close();
      }, 10);
    },
    cancel: () => clearInterval(timer),
  });
  await assert.rejects(new Response(guardedBody(drip, { timeoutMs: 500 }).stream).bytes(), {
    status: 408,
    message: /less than 32 KiB a second/,
  });
  assert.ok(sent < 150, "it is given up while it comes");
});

Deno.test("guardedBody() ends where a block is refused", async () => {
  const { stream, state } = bodyOf([block(3), block(4)], { ends: false });
  const gate = new Gate(5, say("bodies-fill-memory", {}));
  const guarded = guardedBody(stream, { timeoutMs: 1000, onBlock: (bytes) => gate.enter(bytes) });
  await assert.rejects(new Response(guarded.stream).bytes(), { status: 503 });
  assert.ok(state.cancelled);
});

/**
 * Answers how many of `most` requests of each caller are let in, and what the next one is answered. Those that are in stay
 * in until the next call. Callers without a token begin with "?"; without a caller the server is open.
 */
function busyServer() {
  const MIB = 1 << 20;
  let leaving: (() => void)[] = [];
  let answers: Promise<Response>[] = [];
  let inside = () => {};
  const app = new Hono();
  app.onError((error, c) => c.body(null, (error as Problem).status as 429 | 503));
  app.use(limitLoad({
    maxRequests: 64,
    maxStreams: 80,
    maxUploads: 8,
    maxBodiesBytes: 40 * MIB,
    bodyTimeoutMs: 60_000,
  }));
  app.use((c, next) => {
    const key = c.req.header("caller") ?? "";
    c.set("caller", { key, known: !key.startsWith("?"), shares: key !== "" });
    return next();
  });
  app.use(limitRequests());
  app.all("*", async (c) => {
    if (c.req.path === "/stream") staysOpen(c);
    if (c.req.path === "/upload") uploads(c);
    if (c.req.path === "/body") await c.req.arrayBuffer();
    inside();
    await new Promise<void>((leave) => leaving.push(leave));
    return c.body(null, 204);
  });
  return {
    async let(path: string, { caller = "", most = 100, bytes = 0 } = {}) {
      for (let n = 0; n < most; n++) {
        const entered = new Promise<"in">((resolve) => inside = () => resolve("in"));
        const answer = Promise.resolve(app.request(path, {
          headers: { caller },
          ...(bytes === 0 ? {} : { method: "POST", body: new Uint8Array(bytes) }),
        }));
        answers.push(answer);
        const status = await Promise.race([entered, answer.then((response) => response.status)]);
        if (status !== "in") return [n, status];
      }
      return [most, "in"];
    },
    async leave() {
      for (const each of leaving) each();
      await Promise.all(answers);
      [leaving, answers] = [[], []];
    },
  };
}

Deno.test("one caller has a share of what a server takes on, strangers have places of their own, and probes are answered", async () => {
  const MIB = 1 << 20;
  const server = busyServer();
  assert.deepEqual(await server.let("/", { caller: "ann" }), [48, 429], "three quarters");
  assert.deepEqual(
    await server.let("/", { caller: "?1" }),
    [8, 429],
    "an eighth of them an address",
  );
  assert.deepEqual(await server.let("/", { caller: "bob" }), [16, 503]);
  for (const each of ["?2", "?3", "?4"]) await server.let("/", { caller: each, most: 8 });
  assert.deepEqual(await server.let("/", { caller: "?5" }), [0, 503], "half as many strangers");
  for (const path of ["/livez", "/readyz", "/api/etl/health", "/api/etl/metrics"]) {
    assert.deepEqual(await server.let(path, { caller: "bob", most: 1 }), [1, "in"], path);
  }
  await server.leave();
  assert.deepEqual(await server.let("/"), [64, 503], "all of it where no token is needed");
  await server.leave();
  assert.deepEqual(await server.let("/stream", { caller: "ann" }), [20, 429], "a quarter");
  assert.deepEqual(await server.let("/upload", { caller: "ann" }), [6, 429], "three quarters");
  await server.leave();
  const body = { caller: "ann", bytes: 10 * MIB };
  assert.deepEqual(await server.let("/body", body), [2, 429], "half of the bytes");
  const small = { caller: "?1", bytes: MIB };
  assert.deepEqual(await server.let("/body", small), [1, 429], "1 MiB an address");
  await server.leave();
});
