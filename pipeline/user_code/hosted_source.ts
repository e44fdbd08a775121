import { digitsOf } from "../numbers.ts";
import { parseJson } from "../sources/json_text.ts";
import type {
  FetchOptions,
  Json,
  SourceContext,
  SourceDefinition,
} from "../sources/modules/define.ts";
import type { Guard } from "./guard.ts";
import {
  cut,
  type FromHost,
  MAX_RECORDS_A_BATCH,
  type Printed,
  type SourceRequest,
  type ToHost,
} from "./messages.ts";
import { checked } from "./zod_words.ts";

interface Tools {
  guard: Guard;
  answer(message: FromHost): void;
  printed: Printed;
  failed(error: unknown): void;
  limitMs: number;
}

/** Characters of a batch, which is ended sooner than after 1,000 records. */
const MAX_BATCH_LENGTH = 4 * 1024 ** 2;
/** Requests that may be under way at once; more would fill the server's memory. */
const MAX_REQUESTS = 20;
/** Characters of a server's answer that an error shows. */
const SHOWN = 200;

// taken before the module is loaded, which may change them
const stringify = JSON.stringify;
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;
const isView = ArrayBuffer.isView;
const isArray = Array.isArray;
const Answer = Response;

type Refusal = Error & { request?: number };

/**
 * A source module in its host: its requests are a line to a thread that may use the network, and its
 * records go out a batch at a time, when they are asked for.
 */
export class HostedSource {
  readonly #definition: SourceDefinition<unknown>;
  readonly #tools: Tools;
  readonly #given: ToHost & { type: "source" };
  readonly #requests = new Map<number, PromiseWithResolvers<Response>>();
  #context!: SourceContext<unknown>;
  #reading: AsyncIterator<unknown> | Iterator<unknown> | null = null;
  /** What the module yielded at once and has no place in a batch yet. */
  #rest: unknown[] = [];
  #nextRequest = 1;

  constructor(module: Record<string, unknown>, given: ToHost & { type: "source" }, tools: Tools) {
    const definition = (module.default ?? module.source) as SourceDefinition<unknown> | undefined;
    if (typeof definition?.read !== "function") {
      throw new Error("it exports no default defineSource({ … }) with a function read");
    }
    this.#definition = definition;
    this.#given = given;
    this.#tools = tools;
  }

  /** Checks the conf's config; what the definition says is answered. */
  open(): void {
    const { answer, printed } = this.#tools;
    this.#guarded(() => {
      const { config: schema, hosts, cursor, repeatable, steady } = this.#definition;
      const config = checkedConfig(schema, this.#given.config);
      if (config.issues !== null) {
        return answer({ type: "misconfigured", issues: config.issues, lines: printed.take() });
      }
      const named = typeof hosts === "function" ? hosts(config.value) : hosts ?? [];
      const field = typeof cursor === "function" ? cursor(config.value) : cursor;
      this.#context = this.#contextOf(config.value);
      answer({
        type: "opened",
        hosts: [...named].map(String),
        cursor: field === undefined ? null : String(field),
        repeatable: repeatable !== false,
        steady: (typeof steady === "function" ? steady(config.value) : steady) === true,
        lines: printed.take(),
      });
    });
  }

  plan(): void {
    const { answer, printed } = this.#tools;
    this.#async(async () => {
      const planned = await (this.#definition.plan?.(this.#context) ?? [null]);
      const { slices, position } = isArray(planned) ? { slices: planned } : planned;
      if (!isArray(slices)) throw new Error("plan gave no list of slices");
      const texts = slices.map((slice) => textOf({ slice }));
      if (position !== undefined && position !== null && typeof position !== "string") {
        throw new Error("the position that plan gives must be text");
      }
      answer({
        type: "sliced",
        slices: texts,
        position: position ?? null,
        lines: printed.take(),
      });
    });
  }

  read(slice: string): void {
    this.#async(async () => {
      const { slice: value } = parseJson(slice) as { slice: Json };
      const made = await this.#definition.read(value, this.#context) as
        & AsyncIterable<unknown>
        & Iterable<unknown>;
      const iterator = made?.[Symbol.asyncIterator]?.() ?? made?.[Symbol.iterator]?.();
      if (typeof iterator?.next !== "function") {
        throw new Error("read yields nothing: it must be a generator, async function* read(…)");
      }
      this.#rest = [];
      this.#reading = iterator;
      await this.#batch();
    });
  }

  next(): void {
    this.#async(() => this.#batch());
  }

  /** Ends a reading of which no more is wanted. */
  stop(): void {
    const reading = this.#reading;
    this.#reading = null;
    this.#async(async () => {
      await reading?.return?.();
      this.#tools.answer({ type: "stopped", lines: this.#tools.printed.take() });
    });
  }

  receive(message: ToHost & { type: "answer" | "refusal" }): void {
    const request = this.#requests.get(message.id);
    this.#requests.delete(message.id);
    this.#guarded(() => {
      if (message.type === "refusal") {
        const error: Refusal = new Error(message.error.message);
        error.request = message.id;
        return request?.reject(error);
      }
      const { status, headers, body, url } = message.result as {
        status: number;
        headers: [string, string][];
        body: Uint8Array<ArrayBuffer>;
        url: string;
      };
      const empty = [101, 204, 205, 304].includes(status);
      const response = new Answer(empty ? null : body, { status, headers });
      Object.defineProperty(response, "url", { value: url });
      request?.resolve(response);
    });
  }

  async #batch(): Promise<void> {
    const { maxRecordBytes } = this.#given;
    const records: string[] = [];
    const bad: [number, string, string][] = [];
    let length = 0;
    let done = false;
    while (records.length < MAX_RECORDS_A_BATCH && length < MAX_BATCH_LENGTH) {
      if (this.#rest.length === 0) {
        const { value, done: over } = await this.#reading!.next();
        if (over) {
          done = true;
          break;
        }
        this.#rest = isArray(value) ? [...value].reverse() : [value];
        continue;
      }
      let text = "null";
      try {
        text = recordText(this.#rest.pop());
        if (text.length > maxRecordBytes) {
          bad.push([records.length, "too_large", `the record has ${text.length} characters`]);
          text = "null";
        }
      } catch (error) {
        const { message, rule = "not_storable" } = error as Error & { rule?: string };
        bad.push([records.length, rule, cut(String(message), 500)]);
      }
      records.push(text);
      length += text.length;
    }
    const text = `[${records.join()}]`;
    this.#tools.answer({ type: "records", text, bad, done, lines: this.#tools.printed.take() });
  }

  #contextOf(config: unknown): SourceContext<unknown> {
    const { since, connections, pageSize } = this.#given;
    return {
      config,
      since,
      connections,
      pageSize,
      fetch: (url, options) => this.#fetch(url, options),
      fetchJson: async (url, options) => {
        const response = await this.#fetch(url, options);
        return { data: await readJson(response), response };
      },
      readJson,
      log: (message) => this.#tools.printed.add("info", [message]),
    };
  }

  #fetch(url: string | URL, options: FetchOptions = {}): Promise<Response> {
    if (this.#requests.size >= MAX_REQUESTS) {
      return Promise.reject(
        new Error(`more than ${MAX_REQUESTS} requests at once: await each`),
      );
    }
    const { method = "GET", headers = {}, body, connection = null } = options;
    const isForm = body instanceof URLSearchParams;
    const isText = typeof body === "string";
    const kind = isForm
      ? "application/x-www-form-urlencoded"
      : body === undefined || isText
      ? null
      : "application/json";
    const request: SourceRequest = {
      url: String(url),
      method: String(method),
      headers: {
        ...(kind === null ? {} : { "content-type": kind }),
        ...Object.fromEntries(
          Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
        ),
      },
      body: body === undefined ? null : isForm || isText ? String(body) : textOf(body),
      connection: connection === null ? null : String(connection),
    };
    const id = this.#nextRequest++;
    const waiting = Promise.withResolvers<Response>();
    this.#requests.set(id, waiting);
    this.#tools.answer({ type: "request", id, request });
    return waiting.promise;
  }

  #async(work: () => Promise<void>): void {
    this.#guarded(() => void work().catch(this.#tools.failed));
  }

  /** What goes on in the module from here to its next request is ended at its limit. */
  #guarded(work: () => void): void {
    const { guard, failed, limitMs } = this.#tools;
    guard.call(work, limitMs, (error) => {
      if (error !== null) failed(error);
    });
  }
}

async function readJson(response: Response): Promise<Json> {
  const text = await response.text();
  const { url, status, ok } = response;
  if (!ok) throw new Error(`${url} answers ${status}: ${cut(text, SHOWN) || "nothing"}`);
  try {
    return parseJson(text);
  } catch (error) {
    const why = (error as Error).message;
    throw new Error(`${url} answers no JSON (${why}): ${cut(text, SHOWN)}`);
  }
}

/** A config by a module's schema, or what is wrong with it. */
export function checkedConfig(
  schema: SourceDefinition<unknown>["config"],
  given: unknown,
): { value: unknown; issues: { path: string; message: string }[] | null } {
  if (schema === undefined) return { value: given, issues: null };
  const { value, wrong } = checked(schema, given, (path) => path.at(-1) ?? "source.config");
  const issues = wrong?.slice(0, 20).map(({ path, message }) => ({
    path: path.join("."),
    message,
  }));
  return { value, issues: issues ?? null };
}

/** JSON of a record as a module yields it; throws where something would get lost. */
function recordText(record: unknown): string {
  if (typeof record !== "object" || record === null || isArray(record)) {
    const what = record === null ? "null" : isArray(record) ? "a list" : `a ${typeof record}`;
    throw Object.assign(new Error(`a record must be an object, and this is ${what}`), {
      rule: "not_an_object",
    });
  }
  return textOf(record);
}

function textOf(value: unknown): string {
  return stringify(value, function (this: object, name: string, member: unknown) {
    switch (typeof member) {
      case "bigint":
        return rawJson(`${member}`);
      case "number": {
        const digits = digitsOf(this)?.[name];
        if (digits !== undefined) return rawJson(digits);
        if (!Number.isFinite(member)) throw new Error(`${name} is ${member}, which JSON lacks`);
        return member;
      }
      case "function":
      case "symbol":
        throw new Error(`${name} is a ${typeof member}`);
      case "object":
        if (isView(member) || member instanceof ArrayBuffer) {
          throw new Error(`${name} has bytes: give them as text, in hex or base64`);
        }
        if (member instanceof Map || member instanceof Set || member instanceof Promise) {
          throw new Error(`${name} is a ${member.constructor.name}: give plain objects and lists`);
        }
    }
    return member;
  });
}
