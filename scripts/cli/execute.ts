import type { RunDetail } from "../../store/run_views.ts";
import { type Api, post, request } from "./api.ts";
import type { Call } from "./command.ts";
import { type ExitCode, exitCodeOf, UsageError } from "./exit_codes.ts";
import { followRun } from "./run_follow.ts";
import { RunScreen } from "./run_screen.ts";
import { runSummary, summaryLines } from "./run_summary.ts";

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
      cancel(api, runId).catch((error) => err.line(`The run could not be cancelled: ${error}`));
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

async function cancel(api: Api, runId: string): Promise<void> {
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
