import type { ExportFacts } from "../../store/exports.ts";
import type { EndedRun } from "../../store/reactions.ts";
import { DeliveryError, request } from "../http_post.ts";
import type { Exporter } from "../integration.ts";
import type { TelemetrySettings } from "../settings_schema.ts";

/** Limits of a log-batch request. */
const MAX_METRICS = 1_000;
const MAX_PARAMS = 100;
const MAX_TAGS = 100;
const MAX_KEY = 250;
/** Values are cut to what the oldest servers take. */
const MAX_PARAM_VALUE = 500;
const MAX_TAG_VALUE = 5_000;
/** The tag by which a run is found again. */
const RUN_TAG = "etl.run_id";

const STATUS = { succeeded: "FINISHED", failed: "FAILED", cancelled: "KILLED" } as const;

/** A run in MLflow's words. */
export interface MlflowRun {
  name: string;
  status: "FINISHED" | "FAILED" | "KILLED";
  /** ms since 1970 */
  start: number;
  end: number;
  params: { key: string; value: string }[];
  metrics: { key: string; value: number; timestamp: number; step: number }[];
  tags: { key: string; value: string }[];
}

/** What MLflow is told of a run. */
export function mlflowRun({ run, stages, validation }: ExportFacts): MlflowRun {
  const end = Date.parse(run.ended_at);
  const start = Math.min(Date.parse(run.started_at ?? run.requested_at), end);
  const values: Record<string, number | null | undefined> = {
    total_rows: run.total_rows,
    expected_rows: run.expected_rows,
    ratio: run.ratio,
    num_chunks: run.num_chunks,
    duration_seconds: (end - Date.parse(run.requested_at)) / 1000,
    low_ratio: run.low_ratio === null ? null : Number(run.low_ratio),
    ...run.counts,
    expectations_evaluated: validation?.statistics.evaluated_expectations,
    expectations_successful: validation?.statistics.successful_expectations,
  };
  for (const stage of stages) {
    values[`stage.${stage.stage}.busy_seconds`] = stage.busy_ms / 1000;
    values[`stage.${stage.stage}.records_in`] = stage.records_in;
    values[`stage.${stage.stage}.records_out`] = stage.records_out;
    if (stage.started_at !== null && stage.ended_at !== null) {
      values[`stage.${stage.stage}.seconds`] =
        (Date.parse(stage.ended_at) - Date.parse(stage.started_at)) / 1000;
    }
  }
  return {
    name: run.run_label.slice(0, MAX_KEY),
    status: STATUS[run.state],
    start,
    end,
    params: paramsOf(run),
    metrics: Object.entries(values).flatMap(([key, value]) =>
      typeof value === "number" && Number.isFinite(value)
        ? [{ key, value, timestamp: end, step: run.attempt }]
        : []
    ).slice(0, MAX_METRICS),
    tags: tagsOf(run),
  };
}

/** Parameters as text, the original's first; the source by its kind only, as its address may hold secrets. */
function paramsOf(run: EndedRun): { key: string; value: string }[] {
  const { source, ...params } = run.params;
  const flat = {
    dag: "etl_improved",
    task: "finalize",
    dry_run: run.dry_run,
    num_chunks: run.num_chunks,
    ...params,
    "source.type": source?.type,
    "source.name": source?.name,
  };
  return Object.entries(flat)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => ({
      key: key.slice(0, MAX_KEY),
      value: (typeof value === "string" ? value : JSON.stringify(value)).slice(0, MAX_PARAM_VALUE),
    }))
    .slice(0, MAX_PARAMS);
}

function tagsOf(run: EndedRun): { key: string; value: string }[] {
  const tags: Record<string, string | null | undefined> = {
    [RUN_TAG]: run.run_id,
    "etl.run_label": run.run_label,
    "etl.state": run.state,
    "etl.trigger": run.trigger,
    "etl.requested_by": run.requested_by,
    "etl.dataset": `${run.schema_name}.${run.table_name}`,
    "etl.dry_run": String(run.dry_run),
    "etl.attempt": String(run.attempt),
    "etl.replay_of": run.replay_of,
    "etl.error": run.error?.detail,
    "mlflow.source.name": "etl-improved",
    "mlflow.source.type": "JOB",
  };
  return Object.entries(tags)
    .flatMap(([key, value]) =>
      value === null || value === undefined ? [] : [{ key, value: value.slice(0, MAX_TAG_VALUE) }]
    )
    .slice(0, MAX_TAGS);
}

/** The part of MLflow's REST API that runs are logged with. */
export class MlflowClient {
  readonly #settings: NonNullable<TelemetrySettings["mlflow"]>;
  readonly #timeoutMs: number;

  constructor(
    settings: NonNullable<TelemetrySettings["mlflow"]>,
    options: { timeoutMs?: number } = {},
  ) {
    this.#settings = settings;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /** The id of an experiment, which is created if there is none. */
  async experiment(name: string): Promise<string> {
    const found = await this.#findExperiment(name);
    if (found !== null) return found;
    try {
      const { experiment_id } = await this.#call("POST", "experiments/create", { name });
      return text(experiment_id, "experiment_id");
    } catch (error) {
      // another run has just created it
      const again = await this.#findExperiment(name);
      if (again !== null) return again;
      throw error;
    }
  }

  async #findExperiment(name: string): Promise<string | null> {
    const query = `experiment_name=${encodeURIComponent(name)}`;
    try {
      const answer = await this.#call("GET", `experiments/get-by-name?${query}`);
      const experiment = answer.experiment as Record<string, unknown> | undefined;
      if (experiment?.lifecycle_stage === "deleted") {
        throw new DeliveryError(
          `experiment ${name} is deleted in MLflow: restore it, or name another mlflow_experiment`,
          { retryable: false },
        );
      }
      return text(experiment?.experiment_id, "experiment_id");
    } catch (error) {
      if (error instanceof DeliveryError && error.message.includes("RESOURCE_DOES_NOT_EXIST")) {
        return null;
      }
      throw error;
    }
  }

  /** The id of a run that was created before, by somebody who died then. */
  async findRun(experimentId: string, runId: string): Promise<string | null> {
    const answer = await this.#call("POST", "runs/search", {
      experiment_ids: [experimentId],
      filter: `tags.\`${RUN_TAG}\` = '${runId}'`,
      max_results: 1,
    });
    const runs = answer.runs as { info?: { run_id?: unknown } }[] | undefined;
    return runs?.[0] === undefined ? null : text(runs[0].info?.run_id, "run_id");
  }

  async createRun(experimentId: string, run: MlflowRun): Promise<string> {
    const answer = await this.#call("POST", "runs/create", {
      experiment_id: experimentId,
      run_name: run.name,
      start_time: run.start,
      tags: run.tags,
    });
    const info = (answer.run as { info?: { run_id?: unknown } } | undefined)?.info;
    return text(info?.run_id, "run_id");
  }

  async logRun(mlflowRunId: string, run: MlflowRun): Promise<void> {
    const { metrics, params, tags } = run;
    await this.#call("POST", "runs/log-batch", { run_id: mlflowRunId, metrics, params, tags });
    await this.#call("POST", "runs/update", {
      run_id: mlflowRunId,
      status: run.status,
      end_time: run.end,
    });
  }

  async #call(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
  ): Promise<Record<string, unknown>> {
    const { url, authorization } = this.#settings;
    const answer = await request(`${url}/api/2.0/mlflow/${path}`, {
      method,
      timeoutMs: this.#timeoutMs,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(authorization === null ? {} : { authorization }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    try {
      const parsed: unknown = answer === "" ? {} : JSON.parse(answer);
      if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
    } catch {
      // told below
    }
    throw rubbish();
  }
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string") throw rubbish(what);
  return value;
}

function rubbish(what?: string): DeliveryError {
  return new DeliveryError(
    `answered something that is not MLflow's${what === undefined ? "" : ` (no ${what})`}`,
    { retryable: true },
  );
}

/** Logs ended runs to MLflow, one MLflow run for each run: a retry updates it. */
export function mlflowExporter(client: MlflowClient | null): Exporter {
  return async (pending, facts, progress) => {
    if (client === null) {
      return {
        state: "skipped",
        error: "mlflow_enable is set, but the server has no MLFLOW_TRACKING_URI",
      };
    }
    const run = mlflowRun(facts);
    if (progress.externalId === null) {
      const experiment = await client.experiment(String(facts.run.params.mlflow_experiment));
      progress.externalId = await client.findRun(experiment, pending.run_id) ??
        await client.createRun(experiment, run);
    }
    await client.logRun(progress.externalId, run);
    return { state: "done" };
  };
}
