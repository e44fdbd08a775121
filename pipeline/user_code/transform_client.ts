import type { MappingConf } from "../mapping.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import type { RecordBatch } from "../sources/source.ts";
import type { TransformedBatch } from "../stages/transform.ts";
import { BadAnswer, packRecords, unpackEvents } from "./crossing.ts";
import { type FromHost, type Lines, readLines, textOf, type ToHost } from "./messages.ts";

export interface TransformClientOptions {
  /** Name of the module. */
  module: string;
  /** Directory where it is. */
  dir: string;
  mapping: MappingConf;
  /** Owner of the rows, part of each event. */
  sourceName: string;
  /** Milliseconds that loading, and then each batch, may take (transform_timeout_ms). */
  limitMs: number;
  /** Aborted when nobody waits for it any more. */
  signal?: AbortSignal;
  /** Told what the module printed. */
  onLines?: (lines: Lines, chunkNo: number | null) => void;
}

/** A host that does not keep to its limit by itself is given up so much later. */
const GRACE_MS = 3_000;

type Answer<T extends FromHost["type"]> = FromHost & { type: T };

/**
 * The transform stage of a run whose conf names a module: the module runs in a
 * host, which this feeds with batches, one at a time. The host's last failure is
 * the answer to everything that comes later.
 */
export class TransformClient {
  readonly #options: TransformClientOptions;
  readonly #port: MessagePort;
  #waiting: PromiseWithResolvers<FromHost> | null = null;
  #failure: Problem | null = null;
  #loaded: Promise<void> | null = null;

  constructor(port: MessagePort, options: TransformClientOptions) {
    this.#port = port;
    this.#options = options;
    port.onmessage = ({ data }) => this.#waiting?.resolve(readAnswer(data));
  }

  /** Loads the module; whoever transforms waits for it. */
  load(): Promise<void> {
    this.#loaded ??= this.#load();
    return this.#loaded;
  }

  /**
   * Transforms a batch whose first record has index `start` in its chunk.
   *
   * @throws {Problem} transform-failed where the module cannot be used.
   */
  async batch(
    records: RecordBatch,
    { start, chunkNo }: { start: number; chunkNo: number | null },
  ): Promise<TransformedBatch> {
    await this.load();
    const { packed, rejected: excluded } = packRecords(records, start);
    const { limitMs, module } = this.#options;
    const range = { from: start, to: start + records.length - 1 };
    const where = chunkNo === null
      ? say("records-range", range)
      : say("records-of-chunk", { ...range, chunk: chunkNo });
    const answer = await this.#ask("batch", { type: "batch", start, records: packed }, (failed) => {
      const at = failed?.position ?? null;
      const place = at === null ? where : say("at-record", { where, at });
      if (failed?.why === "memory") {
        return say("transform-memory", { module, place });
      }
      if (failed?.why === "error") {
        return say("transform-broke", { module, place, error: failed.message });
      }
      return say("transform-endless", { module, n: limitMs, place });
    });
    this.#options.onLines?.(answer.lines, chunkNo);
    const deletes = (this.#options.mapping.deleted ?? null) !== null;
    return unpackEvents(answer.events, { records, start, excluded, deletes });
  }

  async #load(): Promise<void> {
    const { module, dir, mapping, sourceName, limitMs } = this.#options;
    const path = `${dir}/${module}.ts`;
    if (!await isFile(path)) {
      const known = await transformNames(dir);
      throw this.#refused(
        "does not exist",
        known.length === 0
          ? say("no-transform-yet", { module, path })
          : say("no-transform", { module, path, names: known.join(", ") }),
      );
    }
    const question = { type: "load", path, mapping, sourceName, limitMs } as const;
    const { exports, lines } = await this.#ask(
      "loaded",
      question,
      (failed) =>
        failed?.why === "load" || failed?.why === "error"
          ? say("transform-not-loaded", { path, error: failed.message })
          : say("transform-load-endless", { path, n: limitMs }),
    );
    this.#options.onLines?.(lines, null);
    if (!exports) {
      const message = "exports neither a function named transform nor a zod schema named schema";
      throw this.#refused(message, say("transform-exports", { path }));
    }
  }

  /** Asks and waits; `explain` says what it means where there is no answer, or a failure. */
  async #ask<T extends FromHost["type"]>(
    type: T,
    question: ToHost,
    explain: (failed: Answer<"failed"> | null) => Message,
  ): Promise<Answer<T>> {
    const { limitMs, signal } = this.#options;
    signal?.throwIfAborted();
    if (this.#failure !== null) throw this.#failure;
    const waiting = Promise.withResolvers<FromHost>();
    this.#waiting = waiting;
    const gone = () => waiting.reject(signal!.reason);
    signal?.addEventListener("abort", gone);
    const timer = setTimeout(
      () => waiting.reject(this.#refused("does not end", explain(null))),
      limitMs + GRACE_MS,
    );
    try {
      this.#port.postMessage(question);
      const answer = await waiting.promise;
      if (answer.type === type) return answer as Answer<T>;
      if (answer.type !== "failed") throw new BadAnswer(`it answers ${answer.type}`);
      this.#options.onLines?.(answer.lines, null);
      const short = answer.why === "load" ? "cannot be loaded" : "does not work";
      throw this.#refused(short, explain(answer));
    } catch (error) {
      if (error instanceof Problem) this.#failure ??= error;
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", gone);
      this.#waiting = null;
    }
  }

  #refused(message: string, detail: Message): Problem {
    const { module } = this.#options;
    const errors = [{ field: "transform", value: module, message }];
    return new Problem("transform-failed", { detail, errors });
  }

  close(): void {
    this.#port.close();
  }
}

/** What came from a host, where only the module's own code could say what is in it. */
function readAnswer(data: unknown): FromHost {
  const answer = (typeof data === "object" && data !== null ? data : {}) as Record<string, unknown>;
  const lines = readLines(answer.lines);
  switch (answer.type) {
    case "loaded":
      return { type: "loaded", exports: answer.exports === true, lines };
    case "batch":
      return { type: "batch", events: answer.events as never, lines };
    default:
      return {
        type: "failed",
        why: WHY.find((why) => why === answer.why) ?? "error",
        message: textOf(answer.message).slice(0, 1000),
        position: typeof answer.position === "number" ? answer.position : null,
        lines,
      };
  }
}

const WHY = ["time", "memory", "load", "error"] as const;
async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Names of the transform modules in a directory. */
async function transformNames(dir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      const match = /^([a-z][a-z0-9_]{0,63})\.ts$/.exec(entry.name);
      if (match !== null) names.push(match[1]!);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort();
}
