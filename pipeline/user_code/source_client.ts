import { type Message, say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { parseJson } from "../sources/json_text.ts";
import type { Json, RecordBatch, SourceRecord } from "../sources/source.ts";
import { RAW_LIMIT, Unreadable } from "../sources/source.ts";
import { cut, type FromHost, type Lines, readLines, textOf, type ToHost } from "./messages.ts";
import { ObtainedSecrets } from "./obtained_secrets.ts";
import type { FromRequests, ToRequests } from "./requests_worker.ts";

/** The lines to a source module in its host and to the thread of its requests, as they cross to who reads it. */
export interface SourceLine {
  port: MessagePort;
  requests: MessagePort;
  /** Name of the module. */
  module: string;
  /** Its file. */
  path: string;
  /** Milliseconds that the module may take for itself until it answers. */
  limitMs: number;
}

export interface SourceClientOptions {
  /** Aborted when nobody waits for it any more. */
  signal?: AbortSignal;
  /** Told what the module printed. */
  onLines?: ((lines: Lines) => void) | undefined;
}

/** What a module is opened with. */
export interface SourceOpening {
  config: unknown;
  since: string | null;
  connections: string[];
  pageSize: number;
  maxRecordBytes: number;
}

export interface OpenedSource {
  hosts: string[];
  /** Field of the records whose highest value is the next position. */
  cursor: string | null;
  repeatable: boolean;
  steady: boolean;
}

/** Loading a module, with what it imports, may take so long at least. */
const LOAD_MS = 20_000;
/** A host that does not keep to its limit by itself is given up so much later. */
const GRACE_MS = 3_000;
/** Slices that a module may plan, and characters of all of them: they are kept with the run. */
const MAX_SLICES = 100_000;
const MAX_SLICES_LENGTH = 16 * 1024 ** 2;
const MAX_POSITION_LENGTH = 10_000;

type Answer<T extends FromHost["type"]> = FromHost & { type: T };
type Plain<T extends FromHost["type"]> = Omit<Answer<T>, "lines" | "type">;

/**
 * A source module in its host, as who reads it sees it: it asks for one batch at a time, and passes the
 * module's requests on to the thread that may use the network. What comes from the host is checked
 * before it is used.
 */
export class SourceClient {
  readonly #line: SourceLine;
  readonly #options: SourceClientOptions;
  #waiting: PromiseWithResolvers<FromHost> | null = null;
  #failure: Problem | null = null;
  #opened: Promise<OpenedSource> | null = null;
  #hosts: string[] = [];
  /** Requests under way, and what came of those that failed. */
  readonly #underWay = new Set<number>();
  readonly #refused = new Map<number, Problem>();
  readonly #secrets = new ObtainedSecrets();
  #restart: () => void = () => {};

  constructor(line: SourceLine, options: SourceClientOptions = {}) {
    this.#line = line;
    this.#options = options;
    line.port.onmessage = ({ data }) => this.#receive(data);
    line.requests.onmessage = ({ data }: MessageEvent<FromRequests>) => this.#answered(data);
  }

  /** Loads the module and has it check its config; once. */
  open(opening: SourceOpening): Promise<OpenedSource> {
    this.#opened ??= this.#open(opening);
    return this.#opened;
  }

  async #open(opening: SourceOpening): Promise<OpenedSource> {
    const { path, limitMs, module } = this.#line;
    await requireFile(module, path);
    const loadMs = Math.max(limitMs, LOAD_MS);
    const answer = await this.#ask<"opened" | "misconfigured">(
      ["opened", "misconfigured"],
      { type: "source", path, limitMs: loadMs, batchMs: limitMs, ...opening },
      { where: say("while-loaded", {}), limitMs: loadMs },
    );
    if (answer.type === "misconfigured") {
      const { issues } = answer as Plain<"misconfigured">;
      throw misconfigured(module, list(issues).map(asIssue));
    }
    const { hosts, cursor, repeatable, steady } = answer as Plain<"opened">;
    this.#hosts = list(hosts).map((host) => textOf(host).toLowerCase());
    return {
      hosts: this.#hosts,
      cursor: cursor === null ? null : textOf(cursor),
      repeatable: repeatable === true,
      steady: steady === true,
    };
  }

  /** The parts of the input, as texts for `read`, and the position up to which they go, where it is known. */
  async plan(): Promise<{ slices: string[]; position: string | null }> {
    const { slices, position } = await this.#ask(["sliced"], { type: "slice" }, say("in-plan", {}));
    const texts = list(slices).map(textOf);
    const { module } = this.#line;
    const length = texts.reduce((sum, text) => sum + text.length, 0);
    if (texts.length > MAX_SLICES || length > MAX_SLICES_LENGTH) {
      throw this.#broken(
        say("module-many-slices", {
          count: texts.length,
          length,
          most: MAX_SLICES,
          longest: MAX_SLICES_LENGTH,
          module,
        }),
      );
    }
    const at = position === null ? null : textOf(position);
    if (at !== null && at.length > MAX_POSITION_LENGTH) {
      throw this.#broken(
        say("module-long-position", { length: at.length, most: MAX_POSITION_LENGTH }),
      );
    }
    return { slices: texts, position: at };
  }

  async *read(slice: string): AsyncGenerator<RecordBatch> {
    let more = await this.#ask(["records"], { type: "read", slice }, say("in-read", {}));
    let open = true;
    try {
      while (true) {
        open = more.done !== true;
        const batch = this.#batchOf(more);
        if (batch.length > 0) yield batch;
        if (!open) return;
        more = await this.#ask(["records"], { type: "next" }, say("in-read", {}));
      }
    } finally {
      if (open && this.#failure === null) {
        await this.#ask(["stopped"], { type: "stop" }, say("at-end-of-read", {})).catch(() => {});
      }
    }
  }

  #batchOf({ text, bad }: Plain<"records">): RecordBatch {
    let values: Json;
    try {
      values = parseJson(textOf(text));
    } catch (error) {
      throw this.#broken(
        say("module-no-json", { said: this.hide((error as Error).message) }),
      );
    }
    if (!Array.isArray(values)) throw this.#broken(say("module-no-list", {}));
    const wrong = new Map(
      list(bad).map((each) => {
        const [index, rule, message] = list(each);
        return [index as number, [textOf(rule), textOf(message)] as const];
      }),
    );
    return values.map((value, i): SourceRecord | Unreadable => {
      const [rule, message] = wrong.get(i) ?? [];
      if (rule !== undefined) {
        return new Unreadable(
          rule.slice(0, 100),
          say("module-rejects", { module: this.#line.module, what: message! }),
          "",
        );
      }
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
      const raw = JSON.stringify(value)?.slice(0, RAW_LIMIT) ?? "";
      return new Unreadable("not_an_object", say("not-an-object", {}), raw);
    });
  }

  /** A text without the secrets that the module was given on the way. */
  hide(text: string): string {
    return this.#secrets.hide(text);
  }

  close(): void {
    this.#line.port.close();
    this.#line.requests.close();
  }

  #receive(data: unknown): void {
    const message = (typeof data === "object" && data !== null ? data : {}) as FromHost;
    if (message.type === "request") {
      const id = Number(message.id);
      const { request } = message;
      this.#underWay.add(id);
      this.#restart();
      const asked = {
        url: textOf(request?.url),
        method: textOf(request?.method),
        headers: Object.fromEntries(
          Object.entries(request?.headers ?? {}).map(([name, text]) => [name, textOf(text)]),
        ),
        body: request?.body === null ? null : textOf(request?.body),
        connection: request?.connection === null ? null : textOf(request?.connection),
      };
      this.#line.requests.postMessage(
        { id, request: asked, hosts: this.#hosts } satisfies ToRequests,
      );
      return;
    }
    this.#waiting?.resolve(message);
  }

  #answered(message: FromRequests): void {
    const { id, secrets } = message;
    this.#secrets.add(secrets);
    this.#underWay.delete(id);
    this.#restart();
    if ("answer" in message) {
      const { answer } = message;
      this.#line.port.postMessage(
        { type: "answer", id, result: answer } satisfies ToHost,
        [answer.body.buffer],
      );
      return;
    }
    const problem = Problem.fromJSON(message.problem, message.transient);
    this.#refused.set(id, problem);
    const error = { message: problem.message };
    this.#line.port.postMessage({ type: "refusal", id, error } satisfies ToHost);
  }

  /** Asks and waits; `where` says in which part of the module. */
  async #ask<T extends FromHost["type"]>(
    types: T[],
    question: ToHost,
    place: Message | { where: Message; limitMs: number },
  ): Promise<Answer<T>> {
    const { where, limitMs } = typeof place === "string"
      ? { where: place, limitMs: this.#line.limitMs }
      : place;
    const { signal } = this.#options;
    signal?.throwIfAborted();
    if (this.#failure !== null) throw this.#failure;
    const waiting = Promise.withResolvers<FromHost>();
    this.#waiting = waiting;
    const gone = () => waiting.reject(signal!.reason);
    signal?.addEventListener("abort", gone);
    let timer: ReturnType<typeof setTimeout> | undefined;
    // what a server takes is not the module's time
    this.#restart = () => {
      clearTimeout(timer);
      if (this.#underWay.size > 0) return;
      timer = setTimeout(() => waiting.reject(this.#tooLong(where, limitMs)), limitMs + GRACE_MS);
    };
    this.#restart();
    try {
      this.#line.port.postMessage(question);
      const answer = await waiting.promise;
      if ("lines" in answer) this.#told(readLines(answer.lines));
      if (types.includes(answer.type as T)) return answer as Answer<T>;
      if (answer.type !== "failed") throw this.#broken(say("module-disturbs", {}));
      throw this.#failed(answer, { where, limitMs });
    } catch (error) {
      if (error instanceof Problem) this.#failure ??= error;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#restart = () => {};
      signal?.removeEventListener("abort", gone);
      this.#waiting = null;
    }
  }

  #told({ lines, dropped }: Lines): void {
    this.#options.onLines?.({
      dropped,
      lines: lines.map((line) => ({ ...line, text: this.hide(line.text) })),
    });
  }

  #failed(
    { why, message, request }: Answer<"failed">,
    { where, limitMs }: { where: Message; limitMs: number },
  ): Problem {
    if (why === "time") return this.#tooLong(where, limitMs);
    if (why === "memory") {
      return this.#broken(
        say("module-memory", { where }),
      );
    }
    if (typeof request === "number" && this.#refused.has(request)) {
      return this.#refused.get(request)!;
    }
    const said = this.hide(cut(textOf(message), 1000)).replace(/\.$/, "");
    return this.#broken(
      why === "load" ? say("module-not-loaded", { said }) : say("module-failed", { where, said }),
    );
  }

  #tooLong(where: Message, limitMs: number): Problem {
    return this.#broken(
      say("module-slow", { ms: limitMs, where }),
    );
  }

  #broken(what: Message): Problem {
    return moduleProblem(this.#line.module, what);
  }
}

/** What is wrong with a module, in words that end without a full stop. */
function moduleProblem(module: string, what: Message): Problem {
  return new Problem("source-unreadable", {
    detail: say("module-broken", { module, name: module, what }),
    errors: [{ field: "source.module", value: module, message: "does not work" }],
  });
}

/** A config that a module's schema refuses. */
export function misconfigured(
  module: string,
  issues: { path: string; message: string }[],
): Problem {
  const field = (path: string) => path === "" ? "source.config" : `source.config.${path}`;
  return new Problem("invalid-conf", {
    detail: say("module-config", {
      module,
      issues: issues.map(({ path, message }) => `${field(path)}: ${message}`).join("; "),
    }),
    errors: issues.map(({ path, message }) => ({ field: field(path), message })),
  });
}

async function requireFile(module: string, path: string): Promise<void> {
  try {
    if ((await Deno.stat(path)).isFile) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const expected = say("source-file-or-built-in", {});
  throw new Problem("invalid-conf", {
    detail: say("module-missing", { module, path, expected }),
    errors: [{ field: "source.module", value: module, message: "does not exist", expected }],
  });
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function asIssue(value: unknown): { path: string; message: string } {
  const { path, message } = (value ?? {}) as { path?: unknown; message?: unknown };
  return { path: textOf(path).slice(0, 200), message: textOf(message).slice(0, 500) };
}
