/// <reference lib="deno.worker" />
import { createRequire } from "node:module";
import process from "node:process";
import type { PackedEvents } from "./crossing.ts";
import { Guard, TimeLimit } from "./guard.ts";
import { HostedTransform } from "./hosted_transform.ts";
import {
  type FromHost,
  type Line,
  type Lines,
  MAX_LINE_LENGTH,
  MAX_LINES_A_BATCH,
  type ToHost,
} from "./messages.ts";

/** Lines that are kept of a host in all. */
const MAX_LINES = 500;
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
const inspect = Deno.inspect;
const heap = Deno.memoryUsage;
const require = createRequire(import.meta.url);
const guard = new Guard();

self.onmessage = ({ data }: MessageEvent<{ port: MessagePort }>) => {
  self.onmessage = null;
  serve(data.port);
};

function serve(port: MessagePort): void {
  const answer = (message: FromHost) => apply(post, port, [message]);
  let host: HostedTransform | null = null;
  const printed = new Printed(() => host?.position ?? null);
  lockDown(printed);
  let over = false;
  const fail = (why: (FromHost & { type: "failed" })["why"], message: string) => {
    if (over) return;
    over = true;
    const position = host?.position ?? null;
    answer({
      type: "failed",
      why,
      message: message.slice(0, 1000),
      position,
      lines: printed.take(),
    });
  };
  const background = (event: Event, error: unknown) => {
    event.preventDefault();
    fail("error", `it failed in the background: ${messageOf(error)}`);
  };
  self.addEventListener("error", (event) => background(event, event.error ?? event.message));
  self.addEventListener("unhandledrejection", (event) => background(event, event.reason));
  const failed = (error: unknown) =>
    error instanceof TimeLimit ? fail("time", "") : fail("error", messageOf(error));
  let limitMs = 0;

  const load = (question: ToHost & { type: "load" }) => {
    limitMs = question.limitMs;
    let module: unknown;
    const loaded = (error: unknown) => {
      if (over) return;
      if (error instanceof TimeLimit) return fail("time", "");
      if (error !== null) return fail("load", messageOf(error));
      host = new HostedTransform(module as Record<string, unknown>, question);
      answer({ type: "loaded", exports: host.exports, lines: printed.take() });
    };
    guard.call(() => module = require(question.path), limitMs, (error) => {
      if ((error as { code?: string } | null)?.code !== "ERR_REQUIRE_ASYNC_MODULE") {
        return loaded(error);
      }
      import(`file://${encodeURI(question.path)}`).then((made) => {
        module = made;
        loaded(null);
      }, loaded);
    });
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
    if (data.type === "load") load(data);
    else batch(data);
  };
}

/** Collects what a module prints, for the run's log. */
class Printed {
  #lines: Line[] = [];
  #kept = 0;
  #dropped = 0;
  readonly #position: () => number | null;

  constructor(position: () => number | null) {
    this.#position = position;
  }

  add(level: Line["level"], values: unknown[]): void {
    if (this.#lines.length >= MAX_LINES_A_BATCH || this.#kept >= MAX_LINES) {
      this.#dropped++;
      return;
    }
    this.#kept++;
    const text = values.map((value) => typeof value === "string" ? value : shown(value)).join(" ");
    this.#lines.push({ level, text: text.slice(0, MAX_LINE_LENGTH), position: this.#position() });
  }

  take(): Lines {
    const taken = { lines: this.#lines, dropped: this.#dropped };
    this.#lines = [];
    this.#dropped = 0;
    return taken;
  }
}

function shown(value: unknown): string {
  try {
    return inspect(value, { depth: 3, iterableLimit: 20, strAbbreviateSize: 200 });
  } catch {
    return "(cannot be shown)";
  }
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
  set(Deno, "exit", refused("Deno.exit()"));
  set(process, "exit", refused("process.exit()"));
  set(process, "reallyExit", refused("process.reallyExit()"));
  set(process, "abort", refused("process.abort()"));
  set(process, "kill", refused("process.kill()"));
  set(self, "close", refused("self.close()"));
  for (const name of ["alert", "confirm", "prompt"]) set(self, name, undefined);
  set(self, "Worker", refused("a worker"));
  for (const stream of ["stdout", "stderr"] as const) {
    set(Deno, stream, {
      writeSync: written,
      write: (bytes: Uint8Array) => Promise.resolve(written(bytes)),
    });
    set(process, stream, { write: written, isTTY: false });
  }
  set(Deno, "stdin", { readSync: () => null, read: () => Promise.resolve(null) });
}

function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return "it threw what cannot be shown";
  }
}
