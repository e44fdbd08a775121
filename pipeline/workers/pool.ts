import type { Log } from "../../telemetry/log.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { atStage } from "../stage_tracker.ts";
import type { HttpConnection } from "../sources/http/connection.ts";
import { type Host, startHost, startSourceHost } from "../user_code/host.ts";
import type {
  FromWorker,
  ModuleLines,
  Retry,
  RunContext,
  TaskKind,
  Tasks,
  ToWorker,
  WireError,
  WorkerConfig,
} from "./task.ts";

/** An error that a worker reported and that is no Problem. */
class WorkerError extends Error {
  readonly code: string | null;
  readonly transient: boolean;
  constructor(wire: Exclude<WireError, { problem: unknown }>) {
    super(wire.message);
    this.stack = wire.stack;
    this.code = wire.code;
    this.transient = wire.transient;
  }
}

interface Pending {
  runId: string;
  kind: TaskKind;
  input: unknown;
  resolve: (output: unknown) => void;
  reject: (error: unknown) => void;
}

/** What carries out tasks: a Web Worker that runs `worker.ts`. */
export type WorkerThread = Pick<Worker, "onmessage" | "onerror" | "postMessage" | "terminate">;

interface Slot {
  name: string;
  worker: WorkerThread;
  /** Runs whose context the worker has. */
  runs: Set<string>;
  /** Hosts of the runs' transform modules, which only this worker feeds. */
  hosts: Map<string, Host>;
  /** Hosts of the runs' source modules, the same. */
  sources: Map<string, { end(): void }>;
  task: { id: number; pending: Pending } | null;
}

export interface PoolOptions {
  size: number;
  /** Whether a worker is started when there is work for it, and not at once; default false. */
  lazy?: boolean;
  dsn: string;
  /** Prefix of the workers' names. */
  name: string;
  /** Milliseconds between two looks whether a worker's silent connection is still there. */
  probeMs?: number | undefined;
  /** Whether their connections may keep plans of statements; default false. */
  keepPlans?: boolean | undefined;
  /** Deno permissions of a worker. */
  permissions: Deno.PermissionOptionsObject;
  /** What gives the pool a worker; default `startWorker`. */
  worker?: typeof startWorker;
  /** What source modules may name; default none. */
  httpConnections?: Record<string, HttpConnection>;
  /** A database operation failed transiently and is tried again. */
  onRetry?: ((runId: string, retry: Retry) => void) | undefined;
  /** A run's transform module printed something. */
  onLines?: ((runId: string, lines: ModuleLines) => void) | undefined;
}

/** Starts a Web Worker with no rights but these. */
export function startWorker(
  name: string,
  permissions: Deno.PermissionOptionsObject,
): WorkerThread {
  const url = new URL("./worker.ts", import.meta.url);
  return new Worker(url, { type: "module", name, deno: { permissions } });
}

/**
 * A fixed set of Web Workers that all runs of a server share. A worker has one
 * task at a time; tasks wait in the order of arrival, one run's never behind
 * all of another's. A worker that dies fails its task transiently and is replaced.
 */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #slots: Slot[] = [];
  readonly #contexts = new Map<string, RunContext>();
  readonly #queues = new Map<string, Pending[]>();
  /** Runs of other servers: their tasks come after those of this server's. */
  readonly #helped = new Set<string>();
  #nextId = 1;
  #stopping = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    for (let i = 0; i < (options.lazy ? 0 : options.size); i++) this.#slots.push(this.#spawn(i));
  }

  get size(): number {
    return this.#options.size;
  }

  get busy(): number {
    return this.#slots.filter((slot) => slot.task !== null).length;
  }

  #spawn(index: number): Slot {
    const name = `${this.#options.name}-${index + 1}`;
    const { worker: give = startWorker, permissions } = this.#options;
    const worker = give(name, permissions);
    const slot: Slot = {
      name,
      worker,
      runs: new Set(),
      hosts: new Map(),
      sources: new Map(),
      task: null,
    };
    const { dsn, probeMs, keepPlans } = this.#options;
    const config: WorkerConfig = { dsn, name, probeMs, keepPlans };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(slot, data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#replace(slot, event.message);
    };
    worker.postMessage({ type: "start", config } satisfies ToWorker);
    return slot;
  }

  /** Workers without a task; none waits while there is one. */
  get idle(): number {
    return this.size - this.busy;
  }

  /** Makes a run known: its tasks can be submitted from now on. `helps`: it is another server's. */
  open(context: RunContext, { helps = false } = {}): void {
    this.#contexts.set(context.runId, context);
    this.#queues.set(context.runId, []);
    if (helps) this.#helped.add(context.runId);
  }

  /** Forgets a run; its waiting tasks are dropped. */
  close(runId: string): void {
    this.#contexts.delete(runId);
    this.#helped.delete(runId);
    for (const pending of this.#queues.get(runId) ?? []) pending.reject(stopped());
    this.#queues.delete(runId);
    for (const slot of this.#slots) {
      if (slot.runs.delete(runId)) {
        slot.worker.postMessage({ type: "close", runId } satisfies ToWorker);
      }
      slot.hosts.get(runId)?.end();
      slot.hosts.delete(runId);
      slot.sources.get(runId)?.end();
      slot.sources.delete(runId);
    }
  }

  submit<K extends TaskKind>(
    runId: string,
    kind: K,
    input: Tasks[K]["input"],
  ): Promise<Tasks[K]["output"]> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const queue = this.#queues.get(runId);
    if (queue === undefined || this.#stopping) {
      reject(stopped());
    } else {
      queue.push({ runId, kind, input, resolve, reject });
      this.#dispatch();
    }
    return promise as Promise<Tasks[K]["output"]>;
  }

  /** Ends a run's tasks: waiting ones at once, those in hand as soon as they can. */
  abort(runId: string): void {
    for (const pending of this.#queues.get(runId)?.splice(0) ?? []) pending.reject(stopped());
    for (const slot of this.#slots) {
      if (slot.runs.has(runId)) {
        slot.worker.postMessage({ type: "abort", runId } satisfies ToWorker);
      }
    }
  }

  /**
   * Replaces the workers that still have a task of a run: for one that does not
   * end in time. Answers how many.
   */
  kill(runId: string): number {
    const stuck = this.#slots.filter((slot) => slot.task?.pending.runId === runId);
    for (const slot of stuck) this.#replace(slot, "the worker was stopped");
    return stuck.length;
  }

  #dispatch(): void {
    for (;;) {
      const idle = this.#slots.find(({ task }) => task === null);
      if (idle === undefined && this.#slots.length === this.size) return;
      const pending = this.#next();
      if (pending === undefined) return;
      const slot = idle ?? this.#spawn(this.#slots.length);
      if (idle === undefined) this.#slots.push(slot);
      const id = this.#nextId++;
      slot.task = { id, pending };
      if (!slot.runs.has(pending.runId)) {
        slot.runs.add(pending.runId);
        const context = this.#contexts.get(pending.runId)!;
        slot.worker.postMessage({ type: "open", context } satisfies ToWorker);
      }
      const { runId, kind, input } = pending;
      // a typed table may refuse records, which are read again then
      const reads = ["prepare", "types"].includes(kind) ||
        ["publish", "publishAtOnce"].includes(kind) && this.#contexts.get(runId)!.table !== null;
      if (reads) this.#giveHost(slot, runId);
      if (reads || kind === "plan") this.#giveSource(slot, runId);
      slot.worker.postMessage({ type: "task", id, runId, kind, input } satisfies ToWorker);
    }
  }

  /** A worker that reads records of a run with a transform module needs a host for it. */
  #giveHost(slot: Slot, runId: string): void {
    const { params, transformsDir } = this.#contexts.get(runId)!;
    if (params.transform === null || slot.hosts.has(runId)) return;
    const host = startHost(transformsDir);
    slot.hosts.set(runId, host);
    const { port } = host;
    slot.worker.postMessage({ type: "host", runId, port } satisfies ToWorker, [port]);
  }

  /** A worker that plans or reads a source with a module needs a host for that. */
  #giveSource(slot: Slot, runId: string): void {
    const { params, sourcesDir, limits } = this.#contexts.get(runId)!;
    if (slot.sources.has(runId)) return;
    const { httpConnections = {} } = this.#options;
    const source = startSourceHost(params.source, { sourcesDir, httpConnections, limits });
    if (source === null) return;
    slot.sources.set(runId, source);
    const { line } = source;
    slot.worker.postMessage(
      { type: "source", runId, line } satisfies ToWorker,
      [line.port, line.requests],
    );
  }

  /** The next task, from the run that has waited longest since its last turn; this server's own come first. */
  #next(): Pending | undefined {
    const runs = [...this.#queues];
    const own = runs.filter(([runId]) => !this.#helped.has(runId));
    for (const [runId, queue] of [...own, ...runs]) {
      const pending = queue.shift();
      if (pending === undefined) continue;
      this.#queues.delete(runId);
      this.#queues.set(runId, queue);
      return pending;
    }
  }

  #receive(slot: Slot, message: FromWorker): void {
    if (message.type === "retry") {
      this.#options.onRetry?.(message.runId, message.retry);
      return;
    }
    if (message.type === "lines") {
      this.#options.onLines?.(message.runId, message.lines);
      return;
    }
    if (message.type === "ready" || message.type === "stopped" || slot.task?.id !== message.id) {
      return;
    }
    const { pending } = slot.task;
    slot.task = null;
    if (message.type === "done") pending.resolve(message.output);
    else pending.reject(fromWire(message.error));
    this.#dispatch();
  }

  #replace(slot: Slot, reason: string): void {
    const index = this.#slots.indexOf(slot);
    if (index < 0 || this.#stopping) return;
    endSlot(slot);
    this.#slots[index] = this.#spawn(index);
    slot.task?.pending.reject(
      new WorkerError({
        message: `worker ${slot.name} died: ${reason}`,
        stack: "",
        code: "worker_died",
        stage: null,
        transient: true,
      }),
    );
    this.#dispatch();
  }

  /** Ends all workers. Tasks in hand are lost; callers wait for them first. */
  stop(): void {
    this.#stopping = true;
    for (const runId of this.#queues.keys()) this.abort(runId);
    for (const slot of this.#slots) endSlot(slot);
  }
}

/** Writes what a transform module printed to the run's log. */
export function logModuleLines(
  log: Log,
  runId: string,
  { module, chunkNo, lines, dropped }: ModuleLines,
): void {
  const about = { run_id: runId, transform: module, chunk_no: chunkNo };
  for (const { level, text, position } of lines) log[level](text, { ...about, position });
  if (dropped > 0) log.warn(`the transform module printed ${dropped} lines more`, about);
}

function endSlot(slot: Slot): void {
  for (const host of [...slot.hosts.values(), ...slot.sources.values()]) host.end();
  slot.worker.terminate();
}

function stopped(): Problem {
  return new Problem("cancelled", { detail: say("run-stopped", {}) });
}

function fromWire(error: WireError): Error {
  const thrown = "problem" in error
    ? Problem.fromJSON(error.problem, error.transient)
    : new WorkerError(error);
  if (error.stage !== null) atStage(thrown, error.stage);
  return thrown;
}
