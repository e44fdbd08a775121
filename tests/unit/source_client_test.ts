import assert from "node:assert/strict";
import { SourceClient } from "../../pipeline/user_code/source_client.ts";
import type { FromHost, Lines, ToHost } from "../../pipeline/user_code/messages.ts";
import type { FromRequests, ToRequests } from "../../pipeline/user_code/requests_worker.ts";
import { Unreadable } from "../../pipeline/sources/source.ts";
import { verbatim } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { heldTimers } from "../helpers/clock.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LINES: Lines = { lines: [], dropped: 0 };
const LIMIT_MS = 50;
/** What a client waits for a host that does not keep to its limit. */
const GRACE_MS = 3_000;
const OPENING = { config: {}, since: null, connections: [], pageSize: 10, maxRecordBytes: 1_000 };

type Say = (message: object) => void;

/** A client, and in the place of the host and of the thread of its requests what a test says. */
function client(
  host: (question: ToHost, say: Say) => void,
  { requests = () => {}, signal }: {
    requests?: (asked: ToRequests, say: (message: FromRequests) => void) => void;
    signal?: AbortSignal;
  } = {},
) {
  const [line, asked] = [new MessageChannel(), new MessageChannel()];
  const questions: ToHost[] = [];
  line.port2.onmessage = ({ data }) => {
    questions.push(data);
    host(data, (message) => line.port2.postMessage({ lines: LINES, ...message }));
  };
  asked.port2.onmessage = ({ data }) => requests(data, (answer) => asked.port2.postMessage(answer));
  const printed: Lines[] = [];
  const made = new SourceClient({
    port: line.port1,
    requests: asked.port1,
    module: "m",
    path: new URL(import.meta.url).pathname,
    limitMs: LIMIT_MS,
  }, { onLines: (lines) => printed.push(lines), ...(signal === undefined ? {} : { signal }) });
  return {
    client: made,
    questions,
    printed,
    say: (message: object) => line.port2.postMessage({ lines: LINES, ...message }),
    [Symbol.dispose]() {
      made.close();
      line.port2.close();
      asked.port2.close();
    },
  };
}

const kinds = (questions: ToHost[]) => questions.map(({ type }) => type);

async function problem(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("no problem"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

const records = (values: unknown[], done = true, bad: FromHost[] | unknown[] = []) => ({
  type: "records",
  text: JSON.stringify(values),
  bad,
  done,
});

Deno.test("a source module is opened once, has time to load, and is repeatable and steady only where it says so", async () => {
  for (
    const [said, expected] of [
      [{ repeatable: true, steady: true }, [true, true]],
      [{ repeatable: false, steady: false }, [false, false]],
      [{ repeatable: "yes", steady: 1 }, [false, false]],
    ] as const
  ) {
    using it = client((_question, say) =>
      say({ type: "opened", hosts: ["API.example"], cursor: null, ...said })
    );
    const opened = await it.client.open(OPENING);
    assert.equal(await it.client.open(OPENING), opened);
    assert.deepEqual([opened.repeatable, opened.steady], expected);
    assert.deepEqual(opened.hosts, ["api.example"]);
    assert.equal(it.questions.length, 1);
    const { limitMs, batchMs } = it.questions[0] as { limitMs: number; batchMs: number };
    assert.deepEqual([limitMs, batchMs], [20_000, LIMIT_MS]);
  }
});

Deno.test("slices and positions of a module have their limits", async () => {
  const planned = async (slices: string[], position: string | null = null) => {
    using it = client((_question, say) => say({ type: "sliced", slices, position }));
    return await it.client.plan().then(({ slices }) => slices.length, (error) => String(error));
  };
  assert.equal(await planned(["a", "b"], "x".repeat(10_000)), 2);
  assert.match(String(await planned(["a"], "x".repeat(10_001))), /position/);
  const long = "x".repeat(1 << 20);
  assert.equal(await planned(Array(16).fill(long)), 16);
  assert.match(String(await planned([...Array(16).fill(long), "x"])), /slices/);
  assert.match(String(await planned(Array(100_001).fill(""))), /slices/);
});

Deno.test("a module whose records nobody wants any more is told to stop, one that has ended or failed is not", async () => {
  const answers = (more: object[]) => (question: ToHost, say: Say) =>
    say(question.type === "stop" ? { type: "stopped" } : more.shift()!);
  using left = client(answers([records([{ id: 1 }], false), records([{ id: 2 }], false)]));
  for await (const batch of left.client.read("0")) {
    assert.deepEqual([...batch], [{ id: 1 }]);
    break;
  }
  assert.deepEqual(kinds(left.questions), ["read", "stop"]);
  using ended = client(answers([records([{ id: 1 }], false), records([])]));
  assert.equal((await Array.fromAsync(ended.client.read("0"))).length, 1);
  assert.deepEqual(kinds(ended.questions), ["read", "next"]);
  using failed = client(
    answers([records([{ id: 1 }], false), { type: "failed", why: "error", message: "no luck." }]),
  );
  const { message } = await problem(Array.fromAsync(failed.client.read("0")));
  assert.match(message, /no luck/);
  assert.deepEqual(kinds(failed.questions), ["read", "next"]);
  // its last failure is the answer to everything
  assert.equal((await problem(failed.client.plan())).message, message);
  assert.equal(failed.questions.length, 2);
});

Deno.test("what a host gives is checked: records, rules, JSON, and the kind of its answer", async () => {
  const read = async (answer: object) => {
    using it = client((_question, say) => say(answer));
    return (await Array.fromAsync(it.client.read("0"))).flat();
  };
  const [good, list, rejected] = await read(
    records([{ id: 1 }, [2], null], true, [[2, "r".repeat(200), "no good"]]),
  );
  assert.deepEqual(good, { id: 1 });
  assert.equal((list as Unreadable).rule, "not_an_object");
  assert.equal((rejected as Unreadable).rule.length, 100);
  assert.match((rejected as Unreadable).message, /no good/);
  assert.match(
    (await problem(read({ type: "records", text: "[", bad: [], done: true }))).message,
    /JSON/,
  );
  assert.match((await problem(read({ ...records([]), text: "{}" }))).message, /list/);
  await problem(read({ type: "opened", hosts: [] }));
  await problem(read({}));
});

Deno.test("what a server takes is not the module's time, and what the module takes afterwards is", async () => {
  using timers = heldTimers(LIMIT_MS + GRACE_MS);
  let answer: (() => void) | undefined;
  using it = client((question, say) => {
    if (question.type === "read") {
      say({ type: "request", id: 1, request: { url: "x", headers: {} } });
    }
  }, {
    requests: ({ id }, say) =>
      answer = () => {
        const response = { body: new Uint8Array(1) };
        say({ id, secrets: [], answer: response } as unknown as FromRequests);
      },
  });
  let ended = false;
  const reading = problem(Array.fromAsync(it.client.read("0"))).finally(() => ended = true);
  await waitFor(() => answer !== undefined);
  assert.equal(timers.started, 1);
  timers.end();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(ended, false, "the server has not answered yet");
  answer!();
  await waitFor(() => timers.started === 2);
  timers.end();
  assert.match((await reading).message, /nothing within 50 ms/);
});

Deno.test("a request that failed fails the run as it failed, and secrets on the way are told to nobody", async () => {
  const secret = "s3cret-of-the-way-4711";
  const refused = new Problem("source-unreadable", { transient: true, detail: verbatim("away") });
  for (const request of [1, 2]) {
    using it = client((question, say) => {
      if (question.type === "read") {
        return say({ type: "request", id: 1, request: { url: "x", headers: {} } });
      }
      say({
        type: "failed",
        why: "error",
        message: `it quotes ${secret}`,
        request,
        lines: { lines: [{ level: "info", text: `prints ${secret}` }], dropped: 0 },
      });
    }, {
      requests: ({ id }, say) =>
        say({ id, secrets: [secret], problem: refused.toJSON(), transient: true }),
    });
    const failed = await problem(Array.fromAsync(it.client.read("0")));
    assert.equal(
      failed.transient,
      request === 1,
      "of a request that is not its own nothing is known",
    );
    assert.ok(!failed.message.includes(secret));
    const [printed] = it.printed.flatMap(({ lines }) => lines);
    assert.match(printed!.text, /^prints /);
    assert.ok(!printed!.text.includes(secret));
  }
});

Deno.test("who has stopped waiting for a module gets no answer, and asks nothing", async () => {
  const controller = new AbortController();
  using it = client(() => controller.abort(new Error("cancelled")), { signal: controller.signal });
  await assert.rejects(it.client.plan(), /cancelled/);
  await assert.rejects(it.client.plan(), /cancelled/);
  assert.equal(it.questions.length, 1);
});
