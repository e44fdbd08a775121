import type { RunDetail, Submitted } from "../../vocabulary/run_schema.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { isOver } from "../../vocabulary/words.ts";
import { lines } from "../server_process.ts";
import { type Api, post, problemOf, request } from "./api.ts";
import type { Call } from "./command.ts";
import { EXIT, type ExitCode, exitCodeOf, UsageError } from "./exit_codes.ts";
import { RunScreen, runSummary, summaryLines } from "./run_screen.ts";

/** A server that was lost may take so long to come back. */
const LOST_MS = 60_000;

interface FollowOptions {
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
  return new TerminalProblem("unavailable", {
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

/**
 * Shows a run until it has ended and prints what it came to. Ctrl-C cancels a
 * run of this process (anything else that ends the process gives it back to
 * the queue) and only ends watching one of a server.
 */
export async function watchToEnd(call: Call, api: Api, runId: string): Promise<ExitCode> {
  const screen = new RunScreen(call.err);
  const { signals, err } = call;
  if (api.inProcess) {
    signals.takeNext((signal) => {
      if (signal !== "SIGINT") {
        err.line(
          `${signal}: run ${runId} goes back to the queue; a server or the next run goes on with it.`,
        );
        signals.end(signal);
        return;
      }
      err.line("Cancelling the run. Ctrl-C once more leaves it to the queue instead.");
      cancelRun(api, runId).catch((error) => err.line(`The run could not be cancelled: ${error}`));
    });
  }
  let run: RunDetail;
  try {
    run = await followRun(api, runId, {
      onChange: (now) => screen.show(now),
      signal: signals.signal,
    });
  } catch (error) {
    if (signals.signal.aborted && !api.inProcess) {
      err.line(`Run ${runId} goes on.`);
      err.line(`Watch it: etl show ${runId} --follow`);
      err.line(`Stop it:  etl cancel ${runId}`);
    }
    throw error;
  }
  screen.end(run);
  printEnded(call, run);
  return exitCodeOf(run.state);
}

async function cancelRun(api: Api, runId: string): Promise<void> {
  await post(api, `/api/etl/runs/${runId}/cancel`, {});
}

function printEnded(call: Call, run: RunDetail): void {
  if (call.flags.json) call.out.line(JSON.stringify(runSummary(run)));
  else for (const line of ["", ...summaryLines(call.out, run), ""]) call.out.line(line);
}

/** A run as it is. `latest` is the one that was asked for last. */
export async function findRun(api: Api, id: string): Promise<RunDetail> {
  return await request(api, `/api/etl/runs/${encodeURIComponent(await runIdOf(api, id))}`);
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The id of a run, also of the `latest`. */
export async function runIdOf(api: Api, id: string): Promise<string> {
  if (UUID.test(id)) return id;
  if (id !== "latest") {
    throw new UsageError(`'${id}' is no run id; \`etl runs\` lists them, and latest is the newest`);
  }
  const { items } = await request<{ items: { run_id: string }[] }>(api, "/api/etl/runs?limit=1");
  if (items[0] === undefined) throw new UsageError("there are no runs yet; `etl run` makes one");
  return items[0].run_id;
}

/** Says what became of a request, and follows its run to the end in this process or with --wait. */
export async function followed(call: Call, api: Api, submitted: Submitted): Promise<ExitCode> {
  const { run_id, state, created, skipped } = submitted;
  if (skipped) {
    call.err.line(`No run was made: run ${run_id} of the same label is going on (overlap: skip).`);
  } else if (!created) {
    call.err.line(`Run ${run_id} was asked for with this key before.`);
  }
  if (!skipped && (api.inProcess || call.flags.wait)) return await watchToEnd(call, api, run_id);
  if (call.flags.json) {
    call.out.line(JSON.stringify({ run_id, status: state, created, skipped }));
  } else if (!skipped) {
    call.out.line(`Run ${run_id} is ${state}. See it with \`etl show ${run_id}\`.`);
  }
  return EXIT.succeeded;
}
