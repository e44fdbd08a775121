/// <reference lib="deno.worker" />
import { errorCode, isTransient } from "../../store/errors.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { asRaised } from "../run_problem.ts";
import { stageOf } from "../stage_tracker.ts";
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
import { Connection } from "../../store/connection.ts";
import { readUpload } from "../../store/uploads.ts";
import { judgeBatch } from "../stages/ge_validate.ts";
import { planRun } from "../stages/extract.ts";
import { seeTypes } from "../stages/types.ts";
import { prepareChunk } from "../stages/prepare.ts";
import { publishChunk } from "../stages/publish.ts";
import { compareRows } from "../stages/compare.ts";
import { publishAtOnce } from "../stages/publish_at_once.ts";
import { lookUpChunk, resolveRun } from "../stages/resolve.ts";
import { traced } from "../../telemetry/integrations/opentelemetry.ts";
import { SourceClient, type SourceLine } from "../user_code/source_client.ts";
import { TransformClient } from "../user_code/transform_client.ts";
import { mappingOfRun } from "../sources/adapters.ts";
import { forgetRanges } from "../sources/http/remote_file.ts";
import type { TaskEnvironment } from "./environment.ts";
import { stepBack } from "./step_back.ts";

/**
 * The Web Worker's entry: takes one task at a time from the pool and answers
 * with its output or its error. Records never pass through here, only slices,
 * counters and decisions.
 */
let runner: TaskRunner | null = null;

const send = (message: FromWorker) => self.postMessage(message);

stepBack();

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "start":
      runner = new TaskRunner(data.config, {
        onRetry: (runId, retry) => send({ type: "retry", runId, retry }),
        onLines: (runId, lines) => send({ type: "lines", runId, lines }),
      });
      send({ type: "ready" });
      return;
    case "open":
      runner!.open(data.context);
      return;
    case "host":
      runner!.host(data.runId, data.port);
      return;
    case "source":
      runner!.source(data.runId, data.line);
      return;
    case "close":
      runner!.close(data.runId);
      return;
    case "abort":
      runner!.abort(data.runId);
      return;
    case "task":
      try {
        const output = await runner!.run(data.runId, data.kind, data.input as never);
        send({ type: "done", id: data.id, output });
      } catch (error) {
        send({ type: "failed", id: data.id, error: toWire(error) });
      }
      return;
    case "stop":
      await runner!.stop();
      send({ type: "stopped" });
      return;
  }
};

function toWire(thrown: unknown): WireError {
  const stage = stageOf(thrown);
  const error = asRaised(thrown);
  if (error instanceof Problem) {
    return { problem: error.toJSON(), transient: error.transient, stage };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return {
    message,
    stack: stack ?? message,
    code: errorCode(error) ?? null,
    transient: isTransient(error),
    stage,
  };
}

interface OpenRun {
  context: RunContext;
  abort: AbortController;
  module: TransformClient | null;
  source: SourceClient | null;
}

/** What a task tells besides its output. */
export interface RunnerEvents {
  /** A database operation failed transiently and is tried again. */
  onRetry(runId: string, retry: Retry): void;
  /** A run's module printed something. */
  onLines(runId: string, lines: ModuleLines): void;
}

/**
 * Carries out tasks one after the other, with one database connection. The same
 * class serves inside a Web Worker and, in tests, without one.
 */
class TaskRunner {
  readonly #config: WorkerConfig;
  readonly #connection: Connection;
  readonly #runs = new Map<string, OpenRun>();
  readonly #events: RunnerEvents;
  #current: string | null = null;

  constructor(config: WorkerConfig, events: RunnerEvents) {
    this.#config = config;
    const { dsn, name, probeMs, keepPlans } = config;
    this.#connection = new Connection(dsn, name, { probeMs, keepPlans });
    this.#events = events;
  }

  open(context: RunContext): void {
    this.#runs.set(context.runId, {
      context,
      abort: new AbortController(),
      module: null,
      source: null,
    });
  }

  /** Gives an open run the host of its transform module. */
  host(runId: string, port: MessagePort): void {
    const open = this.#runs.get(runId)!;
    const { params, transformsDir, sourceName } = open.context;
    const name = params.transform!;
    open.module = new TransformClient(port, {
      module: name,
      dir: transformsDir,
      mapping: mappingOfRun(params),
      sourceName,
      limitMs: params.transform_timeout_ms,
      signal: open.abort.signal,
      onLines: (lines, chunkNo) => this.#events.onLines(runId, { ...lines, module: name, chunkNo }),
    });
    // reported by the task that needs it
    open.module.load().catch(() => {});
  }

  /** Gives an open run the host of its source module. */
  source(runId: string, line: SourceLine): void {
    const open = this.#runs.get(runId)!;
    open.source = new SourceClient(line, {
      signal: open.abort.signal,
      onLines: (lines) =>
        this.#events.onLines(runId, { ...lines, module: line.module, chunkNo: null }),
    });
  }

  close(runId: string): void {
    this.#runs.get(runId)?.module?.close();
    this.#runs.get(runId)?.source?.close();
    this.#runs.delete(runId);
    forgetRanges();
  }

  /** Ends the run's task in hand as soon as it can, statements that are running included. */
  abort(runId: string): void {
    this.#runs.get(runId)?.abort.abort(
      new Problem("cancelled", { detail: say("run-stopped", {}) }),
    );
    if (this.#current === runId) this.#connection.cancel().catch(() => {});
  }

  async run<K extends TaskKind>(
    runId: string,
    kind: K,
    input: Tasks[K]["input"],
  ): Promise<Tasks[K]["output"]> {
    const open = this.#runs.get(runId);
    if (open === undefined) throw new Error(`run ${runId} is not open in ${this.#config.name}`);
    const { context, abort } = open;
    this.#current = runId;
    try {
      abort.signal.throwIfAborted();
      const env: TaskEnvironment = {
        context,
        connection: this.#connection,
        signal: abort.signal,
        module: open.module,
        source: open.source,
        workerName: this.#config.name,
        retry: {
          attempts: context.params.db_max_retries,
          initialMs: context.params.db_retry_initial_ms,
          signal: abort.signal,
          onRetry: (error, attempt) =>
            this.#events.onRetry(runId, {
              kind,
              attempt,
              message: error instanceof Error ? error.message : `${error}`,
            }),
        },
        readUpload: (uploadId) => readUpload(this.#connection, uploadId),
      };
      const attributes = { "etl.run_id": runId, ...chunkOf(input) };
      return await traced(
        `etl.${kind}`,
        { traceparent: context.traceparent, attributes },
        () => carryOut(env, kind, input),
      );
    } catch (error) {
      // a statement that was cancelled says only that it was; the reason is the signal's
      abort.signal.throwIfAborted();
      if (error instanceof Deno.errors.NotFound && kind !== "plan") throw spillLost(context, error);
      throw error;
    } finally {
      this.#current = null;
    }
  }

  async stop(): Promise<void> {
    for (const runId of this.#runs.keys()) this.abort(runId);
    await this.#connection.close();
  }
}

function carryOut<K extends TaskKind>(
  env: TaskEnvironment,
  kind: K,
  input: Tasks[K]["input"],
): Promise<Tasks[K]["output"]> {
  const handlers: {
    [T in TaskKind]: (
      env: TaskEnvironment,
      input: Tasks[T]["input"],
    ) => Promise<Tasks[T]["output"]>;
  } = {
    plan: planRun,
    types: seeTypes,
    prepare: prepareChunk,
    judge: judgeBatch,
    resolve: resolveRun,
    lookup: lookUpChunk,
    publish: publishChunk,
    publishAtOnce,
    compare: compareRows,
  };
  return handlers[kind](env, input);
}

/** The chunk that a task is about, for its span. */
function chunkOf(input: Tasks[TaskKind]["input"]): Record<string, number> {
  const chunkNo = "chunkNo" in input
    ? input.chunkNo
    : "decision" in input
    ? input.decision.chunkNo
    : "alone" in input
    ? input.alone.chunk.chunkNo
    : undefined;
  return chunkNo === undefined ? {} : { "etl.chunk_no": chunkNo };
}

/** Another attempt prepares again what somebody has removed, a cleaner of temporary files for example. */
function spillLost({ spillDir }: RunContext, cause: Error): Problem {
  return new Problem("unavailable", {
    transient: true,
    detail: say("spill-gone", { dir: spillDir }),
    cause,
  });
}
