import type { RunDetail } from "../vocabulary/run_schema.ts";
import type { TestServer } from "../tests/helpers/server.ts";
import { SOURCE_NAME, sourceOf } from "./finished_rows.ts";
import { cpuSecondsOf } from "./process_usage.ts";
import type { World } from "./world.ts";

/** Asks a server for a run; answers its id, or the ended run with `wait`. */
async function post(server: TestServer, conf: unknown, wait: boolean): Promise<unknown> {
  const response = await fetch(`${server.address}/api/etl/run${wait ? "?wait=true" : ""}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });
  if (!response.ok) {
    throw new Error(`POST /api/etl/run: ${response.status} ${await response.text()}`);
  }
  return await response.json();
}

/** Asks for a run; answers its id at once. */
export async function requestRun(server: TestServer, conf: unknown): Promise<string> {
  return (await post(server, conf, false) as { run_id: string }).run_id;
}

/** Asks for a run and waits for its end. Throws when it has not succeeded. */
export async function completeRun(server: TestServer, conf: unknown): Promise<RunDetail> {
  const run = await post(server, conf, true) as RunDetail;
  if (run.state !== "succeeded") {
    throw new Error(`The run ended as ${run.state}: ${run.error?.detail ?? "no reason given"}`);
  }
  return run;
}

/** A conf that loads a data set into a table. */
export function loadConf(file: string, table: string): Record<string, unknown> {
  return { source: sourceOf(file), table_name: table, run_label: `bench ${table}` };
}

export interface TimedRun {
  /** From the request to the answer that the run has ended, over HTTP. */
  seconds: number;
  /** CPU seconds of the server, its workers included. */
  serverCpuSeconds: number;
  postgresCpuSeconds: number;
  walBytes: number;
  run: RunDetail;
  /** What the server logged meanwhile, from warnings on: a retry explains a strange figure. */
  logged: string[];
}

/** Carries out a run and takes its time and what it used. */
export function timedRun(world: World, server: TestServer, conf: unknown): Promise<TimedRun> {
  return timed(world, server, () => completeRun(server, conf));
}

/** The same of a data set that is sent as the body of the request. */
export async function timedUpload(
  world: World,
  server: TestServer,
  { file, table }: { file: string; table: string },
): Promise<TimedRun> {
  const query = new URLSearchParams({
    ...{ wait: "true", table_name: table, run_label: `bench ${table}` },
    ...{ name: SOURCE_NAME, key: "id", event_type: '{"field": "type"}', occurred_at: "ts" },
  });
  // with its length, as curl sends a file; of a body in chunks, the server's runtime copies what waits to be read for each
  const body = await Deno.readFile(file);
  return await timed(world, server, async () => {
    const response = await fetch(`${server.address}/api/etl/run?${query}`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body,
    });
    const answer = await response.json();
    if (!response.ok || answer.state !== "succeeded") throw new Error(JSON.stringify(answer));
    return answer as RunDetail;
  });
}

async function timed(
  world: World,
  server: TestServer,
  carryOut: () => Promise<RunDetail>,
): Promise<TimedRun> {
  const logged = server.logs.length;
  const wal = await world.walBytes();
  const serverCpu = await cpuSecondsOf(server.pid);
  const postgresCpu = await world.postgresCpuSeconds();
  const started = performance.now();
  const run = await carryOut();
  return {
    seconds: (performance.now() - started) / 1000,
    serverCpuSeconds: await cpuSecondsOf(server.pid) - serverCpu,
    postgresCpuSeconds: await world.postgresCpuSeconds() - postgresCpu,
    walBytes: await world.walBytes() - wal,
    run,
    logged: server.logs.slice(logged),
  };
}

/** Wall-clock and busy seconds of a run's stages. */
export function stageSeconds(run: RunDetail): Record<string, { clock: number; busy: number }> {
  return Object.fromEntries(
    run.stages.map(({ stage, started_at, ended_at, busy_ms }) => [stage, {
      clock: started_at === null || ended_at === null
        ? 0
        : (Date.parse(ended_at) - Date.parse(started_at)) / 1000,
      busy: busy_ms / 1000,
    }]),
  );
}
