import { type KeySlice, planPostgres } from "./plan.ts";
import { firstRows, readPostgres } from "./read.ts";
import { withSession } from "./session.ts";
import type { PostgresConf } from "../schema.ts";
import { asDeclared, readsFlat, withColumns } from "../local/plan_files.ts";
import type { PlanContext, RecordBatch, SourceAdapter } from "../source.ts";

/** The first rows of a table or query, without planning anything. */
async function previewPostgres(
  conf: PostgresConf,
  ctx: PlanContext,
  count: number,
): Promise<RecordBatch> {
  const rows = await withSession(conf, ctx, (client) => firstRows(client, conf, count));
  return asDeclared(rows, conf);
}

/**
 * A table or query of another database, read by key ranges. `pin.cursor_upper`
 * is the cursor's new position, as text; null when no row had a value yet.
 */
export const postgresAdapter: SourceAdapter<PostgresConf> = {
  cursor: (conf) => conf.cursor,
  connection: (conf) => conf.connection,
  everywhere: () => "there",
  first: previewPostgres,
  plan: planPostgres,
  read: (conf, slice, ctx) => {
    const own = { ...ctx, flat: readsFlat(ctx, conf) };
    return withColumns(readPostgres(conf, slice as KeySlice, own), conf);
  },
};
