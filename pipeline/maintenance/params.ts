import { z } from "zod";

// the database refuses what is outside of 7 to 1,095 in a conf, and takes the nearest limit of what is stored
const days = (defaultDays: number, what: string) =>
  z.number().int().min(-1).max(36_500).default(defaultDays)
    .describe(`days that ${what}: 7 to 1,095; -1: for ever`);

/**
 * The parameters of etl_maintenance, with the original's names and defaults. Values are resolved in SQL
 * (`etl.resolve_maintenance`): conf → variable `etl_maintenance__<name>` → environment
 * `ETL_MAINTENANCE__<NAME>` → default.
 */
export const maintenanceSchema = z.strictObject({
  retention_days_metrics: days(90, "rows of etl_improved_metrics are kept"),
  retention_days_audit: days(90, "rows of etl_improved_audit are kept"),
  retention_days_alerts: days(180, "rows of etl_improved_alerts are kept"),
  retention_days_events: days(
    365,
    "events are kept after they occurred, or were first seen, in etl_improved_events of every schema",
  ),
});

/** What a request of maintenance may say: any of the parameters. */
export const maintenanceConfSchema = maintenanceSchema.partial();

/** The JSON Schema of the parameters, for etl.param_schema. */
export function maintenanceJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(maintenanceSchema, { io: "input" }) as Record<string, unknown>;
}
