import { type MlflowClient, mlflowRun } from "../telemetry/mlflow.ts";
import type { Exporter } from "./exporter.ts";

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
