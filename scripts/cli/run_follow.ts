import { isOver } from "../../vocabulary/words.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { lines } from "../server_process.ts";
import { type Api, problemOf } from "./api.ts";

/** A server that was lost may take so long to come back. */
const LOST_MS = 60_000;

export interface FollowOptions {
  /** Told the run as it is, whenever it has changed. */
  onChange: (run: RunDetail) => void;
  /** Ends following; the run goes on. */
  signal?: AbortSignal;
}

/**
 * Follows a run by its server-sent events until it has ended. A stream that
 * breaks is taken up again, for a minute.
 */
export async function followRun(
  api: Api,
  runId: string,
  { onChange, signal }: FollowOptions,
): Promise<RunDetail> {
  let lastEventId: string | undefined;
  let lostAt: number | undefined;
  for (;;) {
    try {
      const response = await api.fetch(`/api/etl/runs/${runId}/events`, {
        headers: {
          accept: "text/event-stream",
          ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
        },
        ...(signal === undefined ? {} : { signal }),
      });
      if (!response.ok || response.body === null) {
        throw problemOf(response, await response.text());
      }
      // ends the stream at once, also one of this process, which knows nothing of the signal
      const body = response.body.pipeThrough(
        new TransformStream(),
        signal === undefined ? {} : { signal },
      );
      for await (const { id, run } of runEvents(body)) {
        lostAt = undefined;
        lastEventId = id;
        onChange(run);
        if (isOver(run.state)) return run;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof Problem && error.type !== "unavailable") throw error;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > LOST_MS) throw lost(runId, error);
    }
    await pause(250, signal);
  }
}

async function* runEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<{ id: string; run: RunDetail }> {
  let id = "";
  let data = "";
  for await (const line of lines(body)) {
    if (line.startsWith("id:")) id = line.slice(3).trim();
    else if (line.startsWith("data:")) data += line.slice(5);
    else if (line === "" && data !== "") {
      yield { id, run: JSON.parse(data) };
      data = "";
    }
  }
}

function lost(runId: string, cause: unknown): Problem {
  return new Problem("unavailable", {
    status: 503,
    detail:
      `The server has been out of reach for ${LOST_MS / 1000} s. The run goes on as soon as ` +
      `a server does: \`etl show ${runId}\` tells how it is.`,
    cause,
  });
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = () => resolve();
  signal?.addEventListener("abort", stop);
  await promise;
  clearTimeout(timer);
  signal?.removeEventListener("abort", stop);
  signal?.throwIfAborted();
}
