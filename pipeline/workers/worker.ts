/// <reference lib="deno.worker" />
import { errorCode, isTransient } from "../../store/errors.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { TaskRunner } from "./runner.ts";
import { stageOf } from "../stage_tracker.ts";
import type { FromWorker, ToWorker, WireError } from "./task.ts";

/**
 * The Web Worker's entry: takes one task at a time from the pool and answers
 * with its output or its error. Records never pass through here, only slices,
 * counters and decisions.
 */
let runner: TaskRunner | null = null;

const send = (message: FromWorker) => self.postMessage(message);

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "start":
      runner = new TaskRunner(data.config, {
        onRetry: (runId, error) =>
          send({
            type: "retry",
            runId,
            message: error instanceof Error ? error.message : `${error}`,
          }),
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
  }
};

function toWire(error: unknown): WireError {
  const stage = stageOf(error);
  if (error instanceof Problem) {
    return { problem: error.toJSON(), transient: error.transient, stage };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return {
    message,
    stack: stack ?? message,
    code: errorCode(error) ?? (error instanceof Error ? error.constructor.name : null),
    transient: isTransient(error),
    stage,
  };
}
