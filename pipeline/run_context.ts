import type { Sql } from "../store/database.ts";
import { orderOf, type RunOrder, type RunRow } from "../store/runs.ts";
import { parseJson } from "./sources/json_text.ts";
import { findSuite } from "../store/suites.ts";
import { type Params, paramsSchema } from "./params.ts";
import { Problem } from "../vocabulary/problem.ts";
import { sourceNameOf } from "./sources/defaults.ts";
import type { HttpConnection } from "./sources/http/connection.ts";
import type { Plain, SourceLimits } from "./sources/source.ts";
import { runDir } from "./spill/layout.ts";
import type { RunContext } from "./workers/task.ts";
import { cursorPosition } from "../store/cursors.ts";

export interface RunSettings {
  /** ETL_RUN_MAX_ATTEMPTS */
  maxAttempts: number;
  /** Minutes that a run waits for what is away; default 30. */
  outageMinutes?: number;
  spoolDir: string;
  dataDir: string;
  transformsDir: string;
  connections: Record<string, string>;
  httpConnections: Record<string, HttpConnection>;
  limits: SourceLimits;
}

/** What the workers need to know of a run, from its row and the server's settings. */
export async function runContext(
  sql: Sql,
  run: RunRow,
  settings: RunSettings,
): Promise<RunContext> {
  const params = checkedParams(run);
  const { source } = params;
  const sourceName = sourceNameOf(source, run.run_label);
  const dataset = `${run.schema_name}.${run.table_name}`;
  const given = (name: string) => ["request", "configuration"].includes(run.origins[name] ?? "");
  const incremental = source.type === "postgres" && source.cursor !== undefined;
  const generated = source.type === "synthetic" || source.type === "inline";
  return {
    runId: run.run_id,
    attempt: run.attempt,
    isReplay: run.replay_of !== null,
    ...await placeOf(sql, run),
    params,
    sourceName,
    chunkSize: generated || run.origins.chunk_size !== "default" ? params.chunk_size : null,
    maxRecords: source.type === "synthetic" || given("batch_size") ? params.batch_size : null,
    pin: run.pin,
    cursorPosition: incremental && !params.full_refresh
      ? await cursorPosition(sql, sourceName, dataset)
      : null,
    spillDir: runDir(settings.spoolDir, run.run_id),
    dataDir: settings.dataDir,
    transformsDir: settings.transformsDir,
    connections: settings.connections,
    limits: settings.limits,
    suite: parseJson(await findSuite(sql, params.suite, dataset) ?? "null") as Plain | null,
    traceparent: run.traceparent,
  };
}

/** Only a run that comes back can be late: a replay, or a run that has ended before. */
async function placeOf(sql: Sql, run: RunRow): Promise<RunOrder> {
  return run.replay_of === null && run.attempt_base === 0
    ? { orderRunId: run.run_id, late: false }
    : await orderOf(sql, run.run_id);
}

/** The parameters as SQL resolved them; what only this schema can check fails the run here. */
function checkedParams(run: RunRow): Params {
  const parsed = paramsSchema.safeParse(run.params);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({
    field: issue.path.join("."),
    message: issue.message,
  }));
  throw new Problem("invalid-conf", {
    detail: `The parameters of the run are not valid: ${
      errors.map(({ field, message }) => `${field}: ${message}`).join("; ")
    }`,
    errors,
  });
}
