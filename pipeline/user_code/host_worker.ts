/// <reference lib="deno.worker" />
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";
import threads from "node:worker_threads";
import { resultText } from "./consumer_calls.ts";
import type { PackedEvents } from "./crossing.ts";
import { Guard, TimeLimit } from "./guard.ts";
import { consumersOf, definitionOf, HostedConsumer, HostedTransform } from "./hosted_modules.ts";
import { HostedSource } from "./hosted_source.ts";
import { cut, type FromHost, type Line, messageOf, Printed, type ToHost } from "./messages.ts";
import { stepBack } from "../workers/step_back.ts";

/** Bytes of heap between two batches above which a module is ended: at 1 GiB V8 would end the server. */
const MAX_HEAP_BYTES = 512 * 1024 ** 2;

/*
 * The Web Worker of one module and run. It has no connection, no environment, no
 * network and no file but the module's. Everything that the protocol needs is
 * taken before the module is loaded, and the port is this function's own, so
 * that what a module does to its globals, or posts, changes no answer but its own.
 */
const post = MessagePort.prototype.postMessage;
const apply = Reflect.apply;
const heap = Deno.memoryUsage;
const require = createRequire(import.meta.url);
const guard = new Guard();

stepBack();

self.onmessage = ({ data }: MessageEvent<{ port: MessagePort }>) => {
  self.onmessage = null;
  serve(data.port);
};

function serve(port: MessagePort): void {
  const answer = (message: FromHost) => apply(post, port, [message]);
  let host: HostedTransform | null = null;
  let consumer: HostedConsumer | null = null;
  let source: HostedSource | null = null;
  const printed = new Printed(() => host?.position ?? null);
  lockDown(printed);
  let over = false;
  const fail = (
    why: (FromHost & { type: "failed" })["why"],
    message: string,
    request: number | null = null,
  ) => {
    if (over) return;
    over = true;
    const position = host?.position ?? null;
    answer({
      type: "failed",
      why,
      message: cut(message, 1000),
      position,
      request,
      lines: printed.take(),
    });
  };
  const background = (event: Event, error: unknown) => {
    event.preventDefault();
    fail("error", `it failed in the background: ${messageOf(error)}`);
  };
  self.addEventListener("error", (event) => background(event, event.error ?? event.message));
  self.addEventListener("unhandledrejection", (event) => background(event, event.reason));
  const failed = (error: unknown) => {
    if (error instanceof TimeLimit) return fail("time", "");
    const { request = null } = (error ?? {}) as { request?: number | null };
    fail("error", messageOf(error), request);
  };
  let limitMs = 0;

  /** Loads a module; `use` gets what it exports. */
  const load = (path: string, use: (module: Record<string, unknown>) => void) => {
    let module: Record<string, unknown> = {};
    const loaded = (error: unknown) => {
      if (over) return;
      if (error instanceof TimeLimit) return fail("time", "");
      if (error !== null) return fail("load", messageOf(error));
      use(module);
    };
    guard.call(() => module = require(path), limitMs, (error) => {
      if ((error as { code?: string } | null)?.code !== "ERR_REQUIRE_ASYNC_MODULE") {
        return loaded(error);
      }
      import(pathToFileURL(path).href).then((made) => {
        module = made;
        loaded(null);
      }, loaded);
    });
  };

  const loadTransform = (question: ToHost & { type: "load" }) =>
    load(question.path, (module) => {
      host = new HostedTransform(module, question);
      answer({ type: "loaded", exports: host.exports, lines: printed.take() });
    });

  const describe = ({ path }: ToHost & { type: "describe" }) =>
    load(path, (module) => {
      guard.call(
        () => answer({ type: "described", consumers: consumersOf(module).map(definitionOf) }),
        limitMs,
        (error) => error === null ? undefined : fail("load", messageOf(error)),
      );
    });

  const consume = (question: ToHost & { type: "consume" }) =>
    load(question.path, (module) => {
      const found = consumersOf(module).find(({ name }) => name === question.name);
      if (found === undefined) return fail("load", `it has no consumer ${question.name} any more`);
      consumer = new HostedConsumer(found, {
        guard,
        answer: (message) => over ? undefined : answer(message),
        printed,
        done: (result) => {
          if (over) return;
          const kept = resultText(result);
          over = true;
          answer({ type: "consumed", result: kept, lines: printed.take() });
        },
        failed,
        limitMs,
      });
      consumer.start(question);
    });

  const openSource = (question: ToHost & { type: "source" }) =>
    load(question.path, (module) => {
      const tools = { guard, answer: inTime, printed, failed, limitMs: question.batchMs };
      guard.call(() => source = new HostedSource(module, question, tools), limitMs, (error) => {
        if (error instanceof TimeLimit) fail("time", "");
        else if (error !== null) fail("load", messageOf(error));
        else source!.open();
      });
    });

  const inTime = (message: FromHost) => {
    if (over) return;
    if (message.type === "records" && heap().heapUsed > MAX_HEAP_BYTES) return fail("memory", "");
    answer(message);
  };

  const batch = ({ start, records }: ToHost & { type: "batch" }) => {
    let events: PackedEvents;
    guard.call(() => events = host!.batch(records, start), limitMs, (error) => {
      if (over) return;
      if (error !== null) return failed(error);
      if (heap().heapUsed > MAX_HEAP_BYTES) return fail("memory", "");
      answer({ type: "batch", events, lines: printed.take() });
    });
  };

  port.onmessage = ({ data }: MessageEvent<ToHost>) => {
    if (over) return;
    if ("limitMs" in data) limitMs = data.limitMs;
    switch (data.type) {
      case "load":
        return loadTransform(data);
      case "batch":
        return batch(data);
      case "describe":
        return describe(data);
      case "consume":
        return consume(data);
      case "source":
        return openSource(data);
      case "slice":
        return source!.plan();
      case "read":
        return source!.read(data.slice);
      case "next":
        return source!.next();
      case "stop":
        return source!.stop();
      case "answer":
      case "refusal":
        return source === null ? consumer?.receive(data) : source.receive(data);
      default:
        consumer?.receive(data);
    }
  };
}

const LEVELS: Record<string, Line["level"]> = {
  debug: "debug",
  trace: "debug",
  log: "info",
  info: "info",
  table: "info",
  dir: "info",
  warn: "warn",
  error: "error",
  assert: "error",
};

/** Takes away what ends or blocks this thread without an answer, and what writes to the server's own output. */
function lockDown(printed: Printed): void {
  for (const name of Object.keys(console)) {
    if (typeof console[name as keyof Console] !== "function") continue;
    const level = LEVELS[name];
    Object.defineProperty(console, name, {
      value: (...values: unknown[]) => {
        if (level === undefined || (name === "assert" && values[0])) return;
        printed.add(level, values);
      },
    });
  }
  // a function that can be called with `new`, too
  const refused = (what: string) =>
    function () {
      throw new Deno.errors.NotCapable(`${what} is not there for user code`);
    };
  const written = (bytes: unknown) => {
    const text = typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes as Uint8Array);
    printed.add("info", [text.trimEnd()]);
    return typeof bytes === "string" ? true : (bytes as Uint8Array).length;
  };
  const set = (holder: object, name: string, value: unknown) =>
    Object.defineProperty(holder, name, { value, configurable: true, writable: true });
  // Deno asks for no permission to end its own process, nor to move it to a directory that may be read
  set(Deno, "kill", refused("Deno.kill()"));
  set(Deno, "chdir", refused("Deno.chdir()"));
  set(Deno, "exit", refused("Deno.exit()"));
  set(process, "exit", refused("process.exit()"));
  set(process, "reallyExit", refused("process.reallyExit()"));
  set(process, "abort", refused("process.abort()"));
  set(process, "kill", refused("process.kill()"));
  // what `kill` of node:process calls, which modules can import past `process.kill`
  Object.defineProperty(process, "_kill", { value: refused("process.kill()") });
  set(process, "chdir", refused("process.chdir()"));
  set(self, "close", refused("self.close()"));
  for (const name of ["alert", "confirm", "prompt"]) set(self, name, undefined);
  set(self, "Worker", refused("a worker"));
  // nothing of this is taken away in a thread of Node's; its class calls what it extends, under whatever name it was imported
  Object.setPrototypeOf(threads.Worker, refused("a worker"));
  Object.preventExtensions(threads.Worker);
  // all threads of the server share these, so a run could leave something for the next one in them
  for (const name of ["caches", "BroadcastChannel"]) set(self, name, undefined);
  for (const stream of ["stdout", "stderr"] as const) {
    set(Deno, stream, {
      writeSync: written,
      write: (bytes: Uint8Array) => Promise.resolve(written(bytes)),
    });
    set(process, stream, { write: written, isTTY: false });
  }
  set(Deno, "stdin", { readSync: () => null, read: () => Promise.resolve(null) });
}
