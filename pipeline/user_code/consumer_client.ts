import { dirname, join } from "node:path";
import { type Consumer, type ConsumerContext, defineConsumer } from "../consumers/consumer.ts";
import { sqlConsumer } from "../consumers/sql_consumer.ts";
import { TerminalProblem } from "../../vocabulary/problem.ts";
import { MAX_RESULT_LENGTH } from "./consumer_calls.ts";
import { type Host, startHost } from "./host.ts";
import {
  type ConsumerDefinition,
  type FromHost,
  readLines,
  textOf,
  type ToHost,
} from "./messages.ts";

/** A host that does not keep to its limit by itself is ended so much later. */
const GRACE_MS = 3_000;
/** A consumer that was told to end has so long. */
const ABORT_MS = 5_000;
/** Loading a file to see what consumers it has may take so long. */
const DESCRIBE_MS = 20_000;

/** The same consumer, run in a host of its own: `path` is the file that it is in. */
export function hostedConsumer(consumer: Consumer, path: string): Consumer {
  return { ...consumer, run: (context) => runInHost(consumer, path, context) };
}

/** A consumer of the program's own, which needs no host: it has the same time as one of the user's. */
export function consumerWithinTime(consumer: Consumer): Consumer {
  const { timeoutMs } = consumer;
  return {
    ...consumer,
    run: async (context) => {
      const { promise, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => reject(tookTooLong(timeoutMs)), timeoutMs);
      try {
        return await Promise.race([consumer.run(context), promise]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

const tookTooLong = (timeoutMs: number) =>
  new Error(`it did not end within ${timeoutMs} ms (timeoutMs) and was stopped`);

/** The consumers in the files of a directory: modules, which run in hosts, and SQL. */
export async function consumersIn(dir: string): Promise<Consumer[]> {
  const consumers: Consumer[] = [];
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (isFile && /^([a-z][a-z0-9_]*\.ts|[^.].*\.sql)$/.test(name)) names.push(name);
  }
  for (const name of names.sort()) {
    const path = join(dir, name);
    if (name.endsWith(".sql")) {
      consumers.push(await sqlConsumer(path));
      continue;
    }
    for (const definition of await describe(path)) {
      const consumer = defineConsumer({
        ...definition,
        datasets: [...definition.datasets],
        emits: [...definition.emits],
        hosts: [...definition.hosts],
        params: UNREAD,
        run: () => Promise.reject(new Error("it runs in a host")),
      });
      consumers.push(hostedConsumer({ ...consumer, parseParams: (given) => given as never }, path));
    }
  }
  return consumers;
}

/** Parameters are read in the host, where their schema is. */
const UNREAD = {
  safeParse: (data: unknown) => ({ success: true, data }),
  strict: () => UNREAD,
} as never;

async function describe(path: string): Promise<ConsumerDefinition[]> {
  const host = startHost(dirname(path));
  const { promise, resolve } = Promise.withResolvers<FromHost | null>();
  const timer = setTimeout(() => resolve(null), DESCRIBE_MS + GRACE_MS);
  host.port.onmessage = ({ data }) => resolve(data);
  try {
    host.port.postMessage({ type: "describe", path, limitMs: DESCRIBE_MS } satisfies ToHost);
    const answer = await promise;
    if (answer?.type === "described") return answer.consumers;
    const why = answer?.type === "failed" && answer.message !== ""
      ? answer.message
      : "it does not end";
    throw new TerminalProblem("invalid-conf", {
      detail:
        `The consumers in ${path} cannot be loaded: ${why}. Correct the file, or take it away.`,
    });
  } finally {
    clearTimeout(timer);
    host.port.close();
    host.end();
  }
}

/** One execution: answers what the consumer's `run` does, with its calls carried out here. */
async function runInHost(
  { name, timeoutMs, hosts }: Consumer,
  path: string,
  { events, params, db, emit, log, signal }: ConsumerContext<Record<string, unknown>>,
): Promise<unknown> {
  signal.throwIfAborted();
  const host = reaching(path, hosts);
  const { port } = host;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const tooLong = () => reject(tookTooLong(timeoutMs));
  const timers = [setTimeout(tooLong, timeoutMs + GRACE_MS)];
  const onAbort = () => {
    port.postMessage({ type: "abort" } satisfies ToHost);
    timers.push(setTimeout(() => reject(signal.reason), ABORT_MS));
  };
  signal.addEventListener("abort", onAbort);
  let over = false;
  let turn: Promise<unknown> = Promise.resolve();
  /** One call after the other, so that no statement waits in the connection when the host is ended. */
  const carryOut = (id: number, work: () => Promise<unknown>) => {
    turn = turn.then(() => over ? undefined : carryOutNow(id, work));
  };
  const carryOutNow = async (id: number, work: () => Promise<unknown>) => {
    try {
      const result = await work();
      port.postMessage({ type: "answer", id, result } satisfies ToHost);
    } catch (error) {
      port.postMessage({ type: "refusal", id, error: plainError(error) } satisfies ToHost);
    }
  };
  port.onmessage = ({ data }: MessageEvent<FromHost>) => {
    switch (data?.type) {
      case "query":
        if (typeof data.text !== "string" || !Array.isArray(data.values)) break;
        return carryOut(data.id, async () => {
          const { rows, rowCount, command } = await db.query(data.text, data.values);
          return { rows, rowCount, command };
        });
      case "emit":
        return carryOut(data.id, () => emit(data.dataset, data.counts));
      case "consumed":
        if (!isResult(data.result)) break;
        say(data.lines);
        return resolve(data.result === null ? undefined : JSON.parse(data.result));
      case "failed":
        say(data.lines);
        return data.why === "time" ? tooLong() : reject(new Error(textOf(data.message)));
    }
    reject(new Error(`it disturbs its host`));
  };
  // an error here would be the server's end
  const say = (printed: unknown) => {
    const { lines, dropped } = readLines(printed);
    for (const { level, text } of lines) log[level](text);
    if (dropped > 0) log.warn(`the consumer printed ${dropped} lines more`);
  };
  try {
    const question = { type: "consume", path, name, events, params, limitMs: timeoutMs } as const;
    port.postMessage(question satisfies ToHost);
    return await promise;
  } finally {
    over = true;
    for (const timer of timers) clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    port.close();
    host.end();
  }
}

/** A host that may reach what the consumer lists, as far as this server may. */
function reaching(path: string, hosts: readonly string[]): Host {
  try {
    return startHost(dirname(path), hosts);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new Error(`it wants to reach ${hosts.join(", ")}, which ETL_CONSUMER_HOSTS must list`);
  }
}

/** Code of the user's can have changed what its host checks with. */
const isResult = (text: unknown) =>
  text === null || typeof text === "string" && text.length <= MAX_RESULT_LENGTH;

/** What an error of the database says, as it crosses: message, code, and what PostgreSQL tells besides. */
function plainError(error: unknown): { message: string } & Record<string, unknown> {
  const { message } = error instanceof Error ? error : new Error(String(error));
  const told = Object.entries(error as object ?? {}).filter(([, value]) =>
    typeof value === "string" || typeof value === "number"
  );
  return { ...Object.fromEntries(told), message };
}
