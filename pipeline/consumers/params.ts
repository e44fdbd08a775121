import { z } from "zod";

/**
 * The parameters of etl_consumer, with the original's names. Values are resolved in SQL (`etl.consumer_params`):
 * variable `etl_consumer__<name>` → environment `ETL_ALERT_WINDOW`, `ETL_ALERT_RATIO_DROP`, whose defaults these are.
 */
export const consumerSchema = z.strictObject({
  trend_window: z.number().int().min(3).max(1000).default(7)
    .describe("runs of a label with whose mean a run is compared"),
  drop_threshold_pct: z.number().min(0).max(100).default(20)
    .describe("percent by which the ratio may be below that mean before trend_drop is raised"),
});
