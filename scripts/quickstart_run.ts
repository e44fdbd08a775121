import { Problem } from "../pipeline/problem.ts";
import { lines } from "./server_process.ts";

export interface Stage {
  stage: string;
  state: string;
  busy_ms: number;
  records_in: number;
  records_out: number;
  started_at: string | null;
  ended_at: string | null;
}

/** What the quickstart shows of a run; GET /api/etl/runs/{id} has more. */
export interface Run {
  run_id: string;
  status: string;
  total_rows: number | null;
  expected_rows: number | null;
  ratio: number | null;
  num_chunks: number | null;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  duplicates: number;
  filtered: number;
  duration_ms: number | null;
  stages: Stage[];
  error?: { detail?: string } | null;
}

const TERMINAL_STATES = new Set(["succeeded", "failed", "cancelled"]);

/** Asks the server for a run; returns its id. A refusal is thrown with the server's reason. */
export async function requestRun(address: string, conf: unknown): Promise<string> {
  const response = await fetch(`${address}/api/etl/run`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });
  const answer = await response.json();
  if (response.ok) return answer.run_id;
  throw new Problem("unavailable", {
    detail: `The server refused the run: ${answer.detail ?? response.statusText}`,
  });
}

/**
 * Follows a run by its server-sent events until it has ended; `onChange` gets
 * it after each of them. An interrupted stream is taken up again.
 */
export async function watchRun(
  address: string,
  runId: string,
  onChange: (run: Run) => void,
): Promise<Run> {
  for (;;) {
    const response = await fetch(`${address}/api/etl/runs/${runId}/events`, {
      headers: { accept: "text/event-stream" },
    });
    if (!response.ok || !response.body) {
      await response.body?.cancel();
      throw new Problem("unavailable", {
        detail: `The progress of run ${runId} cannot be read: HTTP status ${response.status}`,
      });
    }
    for await (const line of lines(response.body)) {
      if (line !== "") continue; // a blank line ends an event
      const run = await getRun(address, runId);
      onChange(run);
      if (TERMINAL_STATES.has(run.status)) return run;
    }
    const run = await getRun(address, runId);
    if (TERMINAL_STATES.has(run.status)) return run;
  }
}

async function getRun(address: string, runId: string): Promise<Run> {
  const response = await fetch(`${address}/api/etl/runs/${runId}`);
  return await response.json();
}
