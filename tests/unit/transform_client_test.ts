import assert from "node:assert/strict";
import { z } from "zod";
import { HostedTransform } from "../../pipeline/user_code/hosted_modules.ts";
import type { Lines, ToHost } from "../../pipeline/user_code/messages.ts";
import { TransformClient } from "../../pipeline/user_code/transform_client.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { heldTimers } from "../helpers/clock.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LIMIT_MS = 50;
/** What a client waits for a host that does not keep to its limit. */
const GRACE_MS = 3_000;

const printed = (text: string): Lines => ({
  lines: [{ level: "info", text, position: null }],
  dropped: 0,
});

type Answer = (question: ToHost) => object | null;

/** A host that executes a module in this thread; `answer` may say something else in its place. */
async function client(
  module: Record<string, unknown>,
  { mapping = {}, answer = () => null, signal, name = "there" }: {
    mapping?: object;
    answer?: (question: ToHost) => object | null | undefined;
    signal?: AbortSignal;
    name?: string;
  } = {},
) {
  const dir = await Deno.makeTempDir();
  for (const file of ["there.ts", "other.ts", "Not_one.ts", "data.json"]) {
    await Deno.writeTextFile(`${dir}/${file}`, "");
  }
  const { port1, port2 } = new MessageChannel();
  const asked: string[] = [];
  let hosted: HostedTransform | undefined;
  const own: Answer = (question) => {
    if (question.type === "load") {
      hosted = new HostedTransform(module, question);
      return { type: "loaded", exports: hosted.exports, lines: printed("loads") };
    }
    if (question.type !== "batch") return null;
    const events = hosted!.batch(question.records, question.start);
    return { type: "batch", events, lines: printed("works") };
  };
  port2.onmessage = ({ data }: MessageEvent<ToHost>) => {
    asked.push(data.type);
    const said = answer(data);
    if (said !== undefined) port2.postMessage(said ?? own(data));
  };
  const lines: [string, number | null][] = [];
  const made = new TransformClient(port1, {
    module: name,
    dir,
    mapping: { key: "id", ...mapping } as never,
    sourceName: "s",
    limitMs: LIMIT_MS,
    onLines: (told, chunkNo) =>
      lines.push(...told.lines.map(({ text }) => [text, chunkNo] as [string, number | null])),
    ...(signal === undefined ? {} : { signal }),
  });
  return {
    client: made,
    batch: (records: SourceRecord[]) => made.batch(records, { start: 10, chunkNo: 2 }),
    asked,
    lines,
    dir,
    async [Symbol.asyncDispose]() {
      made.close();
      port2.close();
      await Deno.remove(dir, { recursive: true }).catch(() => {});
    },
  };
}

async function problem(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("no problem"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

Deno.test("a transform module may be the default export, is loaded once, and what it prints is told with its chunk", async () => {
  await using it = await client({ default: (record: SourceRecord) => ({ ...record, more: 1 }) });
  for (const id of ["a", "b"]) {
    const { events } = await it.batch([{ id }]);
    assert.deepEqual(events.map(({ payload, position }) => [payload, position]), [
      [{ id, more: 1 }, 10],
    ]);
  }
  assert.deepEqual(it.asked, ["load", "batch", "batch"]);
  assert.deepEqual(it.lines, [["loads", null], ["works", 2], ["works", 2]]);
});

Deno.test("a module that is missing is told with those that there are, and one that exports nothing with what it should", async () => {
  await using missing = await client({}, { name: "missing" });
  assert.match((await problem(missing.client.load())).message, /Known: other, there\./);
  await Deno.remove(missing.dir, { recursive: true });
  await using none = await client({}, { name: "missing" });
  await Deno.remove(none.dir, { recursive: true });
  assert.doesNotMatch((await problem(none.client.load())).message, /Known/);
  await using empty = await client({ other: 1 });
  assert.match((await problem(empty.client.load())).message, /exports neither a function/);
  assert.deepEqual(empty.lines, [["loads", null]], "what it printed may say why");
});

Deno.test("the last failure of a host is the answer to everything, in bounded length, with what was printed", async () => {
  await using it = await client({}, {
    answer: ({ type }) =>
      type === "load" ? { type: "loaded", exports: true, lines: printed("loads") } : {
        type: "failed",
        why: "error",
        message: "x".repeat(5_000),
        position: 12,
        lines: printed("dies"),
      },
  });
  const first = await problem(it.batch([{ id: "a" }, { id: "b" }, { id: "c" }]));
  assert.equal(first.type, "transform-failed");
  assert.ok(first.message.length < 1_300);
  assert.match(first.message, /broke down/);
  assert.deepEqual(it.lines.at(-1), ["dies", null]);
  assert.equal(await problem(it.batch([{ id: "d" }])), first);
  assert.deepEqual(it.asked, ["load", "batch"]);
  for (
    const [why, said] of [["memory", /512 MiB/], ["time", /did not end within 50 ms/]] as const
  ) {
    await using other = await client({}, {
      answer: ({ type }) =>
        type === "load"
          ? { type: "loaded", exports: true, lines: printed("") }
          : { type: "failed", why, message: "", position: null, lines: printed("") },
    });
    assert.match((await problem(other.batch([{ id: "a" }]))).message, said);
  }
});

Deno.test("a host that says nothing is given up after its limit, and nobody waits who has gone", async () => {
  using timers = heldTimers(LIMIT_MS + GRACE_MS);
  await using silent = await client({}, { answer: () => undefined });
  const loading = problem(silent.client.load());
  await waitFor(() => timers.started === 1);
  timers.end();
  assert.match((await loading).message, /was not loaded within 50 ms/);
  const controller = new AbortController();
  await using left = await client({}, {
    signal: controller.signal,
    answer: () => void controller.abort(new Error("cancelled")),
  });
  await assert.rejects(left.client.load(), /cancelled/);
});

Deno.test("a deletion passes the schema of its module, a row does not, in the words of the schema with its field", async () => {
  const schema = z.object({
    id: z.string(),
    amount: z.number({ error: "is to be a number" }),
    note: z.string().optional(),
  }).refine(({ note }) => note !== "bad", "is bad as a whole");
  await using it = await client({ schema }, {
    mapping: { deleted: { field: "op", equals: "D" } },
  });
  const { events, rejected } = await it.batch([
    { id: "a", amount: 1 },
    { id: "b", op: "D" },
    { id: "c", amount: "1" },
    { id: "d", amount: 1, note: "bad" },
  ]);
  assert.deepEqual(events.map(({ eventId, deletes }) => [eventId, deletes === true]), [
    ["a", false],
    ["b", true],
    ["c", false],
    ["d", false],
  ]);
  assert.deepEqual(rejected, []);
  const refused = events.map((event) => event.refused?.message ?? null);
  assert.deepEqual(refused, [null, null, "amount: is to be a number", "is bad as a whole"]);
});
