import { say, verbatim } from "../../vocabulary/messages.ts";
import type { z } from "zod";
import type { PayloadCheck, Rejection } from "../event.ts";
import type { MappingConf } from "../mapping.ts";
import { Unreadable } from "../sources/source.ts";
import { Transformer, type TransformFunction } from "../stages/transform.ts";
import { type PackedEvents, type PackedRecords, packEvents, unpackRecords } from "./crossing.ts";
import {
  type Consumer,
  type ConsumerContext,
  type ConsumerOptions,
  defineConsumer,
} from "../consumers/consumer.ts";
import { emissionOf, statementOf } from "./consumer_calls.ts";
import type { Guard } from "./guard.ts";
import type { ConsumerDefinition, FromHost, Line, Printed, ToHost } from "./messages.ts";
import { checked } from "./zod_words.ts";

/**
 * A transform module in its host. Its export `transform` (or default) maps
 * records; its export `schema`, a zod schema, says what a payload must be after that.
 */
export class HostedTransform {
  readonly #transformer: Transformer;
  readonly #check: PayloadCheck | undefined;
  /** Whether the module exports either. */
  readonly exports: boolean;

  constructor(
    module: Record<string, unknown>,
    { mapping, sourceName }: { mapping: MappingConf; sourceName: string },
  ) {
    const transform = module.transform ?? module.default;
    const { schema } = module;
    const isFunction = typeof transform === "function";
    const isSchema = typeof (schema as { safeParse?: unknown } | null)?.safeParse === "function";
    this.#check = isSchema ? zodPayloadCheck(schema as z.ZodType) : undefined;
    this.exports = isFunction || this.#check !== undefined;
    this.#transformer = new Transformer({
      mapping,
      sourceName,
      transform: isFunction ? transform as TransformFunction : undefined,
    });
  }

  get position(): number {
    return this.#transformer.position;
  }

  batch(packed: PackedRecords, start: number): PackedEvents {
    const records = unpackRecords(packed).map((record) => record ?? UNREADABLE);
    const batch = this.#transformer.batch(records, start);
    // whoever asked has them, too
    batch.rejected = batch.rejected.filter(({ rule }) => rule !== UNREADABLE.rule);
    const refused: [number, Rejection][] = [];
    if (this.#check !== undefined) {
      for (const [i, { payload, fingerprint }] of batch.events.entries()) {
        // a deletion is no row, and need not look like one
        if (fingerprint === "") continue;
        const rejection = this.#check(payload);
        if (rejection !== null) refused.push([i, rejection]);
      }
    }
    return packEvents(batch, refused);
  }
}

/** Stands where a record is not for the module. */
const UNREADABLE = new Unreadable("not for the module", verbatim(""), "");

/** A check of payloads by a zod schema. */
export function zodPayloadCheck(schema: z.ZodType): PayloadCheck {
  return (record) => {
    const { wrong } = checked(schema, record, (path) => path.join(".") || say("the-payload", {}));
    if (wrong === null) return null;
    const { path, code, message, own } = wrong[0]!;
    return {
      rule: `payload_schema:${code}`,
      message: own && path.length > 0 ? verbatim(`${path.join(".")}: ${message}`) : message,
    };
  };
}

/** The consumers among what a module exports: made by defineConsumer, or its options, alone or in lists. */
export function consumersOf(module: Record<string, unknown>): Consumer[] {
  const found = new Map<string, Consumer>();
  for (const value of Object.values(module).flat()) {
    if (typeof value !== "object" || value === null || !("run" in value) || !("name" in value)) {
      continue;
    }
    const consumer = "parseParams" in value
      ? value as Consumer
      : defineConsumer({ params: ANY, ...value as Omit<ConsumerOptions<never>, "params"> });
    found.set(consumer.name, consumer);
  }
  return [...found.values()];
}

/** Stands for the schema of parameters where a definition has none. */
const ANY = {
  safeParse: (data: unknown) => ({ success: true, data }),
  parse: (data: unknown) => data,
  strict: () => ANY,
} as never;

/** A definition as plain data. */
export function definitionOf(consumer: Consumer): ConsumerDefinition {
  const { name, datasets, emits, mode, pauseMs, skipUnchanged, timeoutMs, hosts } = consumer;
  return { name, datasets, emits, mode, pauseMs, skipUnchanged, timeoutMs, hosts };
}

interface Tools {
  guard: Guard;
  answer(message: FromHost): void;
  printed: Printed;
  done(result: unknown): void;
  failed(error: unknown): void;
  limitMs: number;
}

/** Calls of the server that may be under way at once; more would fill its memory. */
const MAX_CALLS = 100;

/** One execution of a consumer in its host: its database is a line to the thread that has the connection. */
export class HostedConsumer {
  readonly #consumer: Consumer;
  readonly #tools: Tools;
  readonly #abort = new AbortController();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #deadline: number;
  #nextCall = 1;

  constructor(consumer: Consumer, tools: Tools) {
    this.#consumer = consumer;
    this.#tools = tools;
    this.#deadline = performance.now() + tools.limitMs;
  }

  start({ events, params }: ToHost & { type: "consume" }): void {
    const { done, failed, printed } = this.#tools;
    const say = (level: Line["level"]) => (message: unknown, fields?: unknown) =>
      printed.add(level, Object.keys(fields ?? {}).length === 0 ? [message] : [message, fields]);
    const log = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
    const context = {
      events,
      db: { query: (...args: unknown[]) => this.#query(args) },
      emit: async (dataset: unknown, counts: unknown) => {
        const emission = emissionOf(dataset, counts);
        await this.#call((id) => ({ type: "emit", id, ...emission }));
      },
      log: { ...log, with: () => log },
      signal: this.#abort.signal,
    };
    this.#guarded(() => {
      const given = { ...context, params: this.#consumer.parseParams(params) };
      Promise.resolve(this.#consumer.run(given as unknown as ConsumerContext<never>))
        .then(done).catch(failed);
    });
  }

  receive(message: ToHost): void {
    if (message.type === "abort") {
      this.#guarded(() => this.#abort.abort(new Error("the server stops")));
    } else if (message.type === "answer" || message.type === "refusal") {
      const call = this.#calls.get(message.id);
      this.#calls.delete(message.id);
      this.#guarded(() => {
        if (message.type === "answer") call?.resolve(message.result);
        else call?.reject(Object.assign(new Error(message.error.message), message.error));
      });
    }
  }

  /** What goes on in the consumer from here to its next await is ended at its limit. */
  #guarded(work: () => void): void {
    const { guard, failed } = this.#tools;
    guard.call(work, this.#deadline - performance.now(), (error) => {
      if (error !== null) failed(error);
    });
  }

  async #query(args: unknown[]): Promise<unknown> {
    const statement = statementOf(args);
    return await this.#call((id) => ({ type: "query", id, ...statement }));
  }

  #call(message: (id: number) => FromHost): Promise<unknown> {
    if (this.#calls.size >= MAX_CALLS) {
      return Promise.reject(
        new Error(`more than ${MAX_CALLS} calls of db.query and emit at once: await each`),
      );
    }
    const id = this.#nextCall++;
    const call = Promise.withResolvers<unknown>();
    this.#tools.answer(message(id));
    this.#calls.set(id, call);
    return call.promise;
  }
}
